"""Long texts are encoded in parts, and their tokens are those of the whole."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from hflm.data.corpus import FOLDER
from hflm.models.cutting import cut, cuts_at_lines
from hflm.models.tokenizer import train_tokenizer

# What splitters and normalizers look at: every kind of white space, marks that join what is before them, quotation
# marks, what makes two characters of one in lower case, scripts without spaces, halves of a special token.
ATOMS = [
    "a", "A", "the", "n't", "'s", "1", ".", "...", "-", " ", "  ", "\n", "\n\n", "\r\n", "\r", "\t", "\x0b", "\x0c",
    "\x1c", "\x85", "\xa0", "\u180e", "\u200b", "\u2028", "\u3000", "\u0301", "\u0308", "é", "İ", "Σ", "ß", "字", "ไท",
    "ี", "\u1100", "\u1161", "\ufffd", "\x00", "\u200d", "👩", "[MASK]", "[MA", "<|endoftext|>", "ك", "्",
]  # fmt: skip
texts = st.lists(st.sampled_from(ATOMS), max_size=60).map("".join)
KINDS = [
    ("wordpiece", "mlm", False), ("wordpiece", "mlm", True), ("bpe", "clm", False), ("bpe", "mlm", True),
]  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> dict[tuple[str, str, bool], Any]:
    novel = gzip.decompress((FOLDER / "emma.txt.gz").read_bytes()).decode()[:100_000].splitlines()
    lines = [*novel, *["".join(ATOMS[n:] + ATOMS[:n]) for n in range(len(ATOMS))]]
    return {
        (kind, objective, lowercase): train_tokenizer(
            lines, kind=kind, vocab_size=600, arch="bert", max_length=64, objective=objective, lowercase=lowercase
        )
        for kind, objective, lowercase in [*KINDS, ("unigram", "mlm", False)]
    }


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


@given(text=texts, longest=st.integers(1, 40))
def test_parts_are_the_text(text: str, longest: int) -> None:
    parts = list(cut(text, longest=longest))
    assert "".join(parts) == text and all(len(part) >= longest for part in parts[:-1])
    for before, after in zip(parts, parts[1:], strict=False):
        assert after.startswith("\n") and before[-1].isprintable() and not before[-1].isspace()


def test_parts_end_soon() -> None:
    lines = "a line of a novel\n" * 1000
    assert {len(part) for part in list(cut(lines, longest=100))[:-1]} == {6 * 18 - 1, 6 * 18}
    assert list(cut("字" * 1000, longest=100)) == ["字" * 1000]


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, longest=st.integers(1, 12))
def test_tokens_are_those_of_the_whole(trained: Any, kind: Any, text: str, longest: int) -> None:
    tokenizer = trained[kind]
    assert cuts_at_lines(tokenizer)
    assert [id for part in cut(text, longest=longest) for id in ids(tokenizer, part)] == ids(tokenizer, text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_novel_in_parts(trained: Any, kind: Any) -> None:
    novel = gzip.decompress((FOLDER / "northanger_abbey.txt.gz").read_bytes()).decode()
    parts = list(cut(novel, longest=200))
    assert len(parts) > 500
    assert [id for part in parts for id in ids(trained[kind], part)] == ids(trained[kind], novel)


def changed(tokenizer: Any, change: Any) -> Any:
    """The same tokenizer with other JSON."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    told = json.loads(tokenizer.backend_tokenizer.to_str())
    change(told)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(told)))


OTHERS: dict[str, Any] = {
    "a prefix": lambda told: told["pre_tokenizer"]["pretokenizers"][-1].update(add_prefix_space=True),
    "no words": lambda told: told["pre_tokenizer"]["pretokenizers"].pop(0),
    "other words": lambda told: told["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "\\w+\\s*"}),
    "chance": lambda told: told["model"].update(dropout=0.5),
    "white space made one": lambda told: told.update(
        normalizer={"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}
    ),
    "lines are words": lambda told: told.update(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "[.]\\n"}, "behavior": "Isolated", "invert": False},
            *told["pre_tokenizer"]["pretokenizers"],
        ]}
    ),
    "no splitter": lambda told: told.update(pre_tokenizer=None),
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_what_may_differ_is_not_cut(trained: Any, other: str) -> None:
    assert not cuts_at_lines(changed(trained["bpe", "clm", False], OTHERS[other]))


def test_the_splitter_of_gpt2_is_known_too(trained: Any) -> None:
    splitter = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    assert cuts_at_lines(changed(trained["bpe", "clm", False], lambda told: told.update(pre_tokenizer=splitter)))


@pytest.mark.parametrize(
    "token", [AddedToken("<x>", rstrip=True), AddedToken("two words"), AddedToken("\n\n")], ids=str
)
def test_tokens_that_take_white_space_are_not_cut(trained: Any, token: AddedToken) -> None:
    tokenizer = changed(trained["bpe", "clm", False], lambda told: None)
    assert cuts_at_lines(tokenizer)
    tokenizer.add_tokens([token])
    assert not cuts_at_lines(tokenizer)


def test_unigram_is_not_cut(trained: Any) -> None:
    assert not cuts_at_lines(trained["unigram", "mlm", False])
