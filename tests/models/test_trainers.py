"""What a vocabulary keeps of a text: the joiners that words are spelled with, but WordPiece; and no white space."""

from pathlib import Path
from typing import Any

import pytest

from hflm.errors import DataError
from hflm.models.tokenizer import KINDS, continuation_flags, load_tokenizer, train_tokenizer

PERSIAN = "می\u200cخواهم بروم و نمی\u200cدانم"
HINDI = "क्\u200dष नहीं"
# Hindi, Bengali, Tamil, Burmese, Thai, and Arabic with its vowels.
MARKED = [
    "हिन्दी में लिखी हुई किताब", "বাংলা ভাষার শিশু", "தமிழ் மொழி", "မြန်မာ စာ",
    "ภาษาไทยมีวรรณยุกต์ ที่นี่", "اللُغَةُ العَرَبِيَةُ",
]  # fmt: skip


def train(kind: str, texts: list[str]) -> Any:
    return train_tokenizer(iter(texts * 10), kind=kind, vocab_size=600, arch="bert", max_length=64)


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"wordpiece"}))
def test_joiners_are_kept(kind: str, tmp_path: Path) -> None:
    tokenizer = train(kind, [PERSIAN, HINDI])
    tokenizer.save_pretrained(tmp_path)
    # As a model's folder is opened, whose kind has a tokenizer of its own.
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for each in (tokenizer, load_tokenizer(str(tmp_path))):
        for text in (PERSIAN, HINDI):
            ids = each(text, add_special_tokens=False)["input_ids"]
            assert each.unk_token_id not in ids and "".join(each.decode(ids).split()) == "".join(text.split())
            assert ids != each(text.replace("\u200c", "").replace("\u200d", ""), add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", MARKED)
def test_bpe_learns_words_with_their_vowel_signs(text: str) -> None:
    """Each word became one piece, its marks inside it: fewer pieces than letters."""
    tokenizer = train("bpe", [text])
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [tokenizer.decode([one]).strip() for one in ids] == text.split()


@pytest.mark.parametrize(
    "text", [*MARKED, "  two spaces\n\n\tand a tab \n", "👩\u200d👩\u200d👧 ❤\ufe0f!", "\u0301 1\u0301 a\u200d"]
)
def test_bpe_gives_the_text_back(text: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = train("bpe", [*MARKED, "a single man"])
    tokenizer.save_pretrained(tmp_path)
    # As the folder of a model whose kind has a byte-level splitter of its own.
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    for each in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        ids = each(text, add_special_tokens=False)["input_ids"]
        assert each.decode(ids) == text and ids == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    "text",
    ["I'll say: it isn't 3.50 €!\n\n  Yes, we've  it.", "¿Qué tal, niño?\t¡Adiós! 1 2", "他說:「你好」123。\n 再見"],
)
def test_where_there_are_no_marks_bpe_cuts_as_gpt2_does(text: str) -> None:
    from tokenizers import pre_tokenizers

    ours = train("bpe", [text]).backend_tokenizer.pre_tokenizer
    one, other = (each.pre_tokenize_str(text) for each in (ours, pre_tokenizers.ByteLevel(add_prefix_space=False)))
    assert [piece for piece, _ in one] == [piece for piece, _ in other]


def test_a_unigram_vocabulary_below_the_alphabet_is_told() -> None:
    every = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))
    with pytest.raises(DataError, match="A vocabulary of 100 pieces is smaller than the alphabet of the text"):
        train_tokenizer(iter([every] * 3), kind="unigram", vocab_size=100, arch="bert", max_length=64)


@pytest.mark.parametrize("text", ["བོད་སྐད་ཡིན།", "ꦲꦏ꧀ꦱꦫꦗꦮ", "ᬅᬓ᭄ᬱᬭᬩᬮᬶ", "ภาษาไทย"])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_where_no_spaces_are_set_every_piece_is_a_word(kind: str, text: str) -> None:
    tokenizer = train(kind, [text, "a single man"])
    flags = continuation_flags(tokenizer)
    # A piece of a letter's bytes shows no letter.
    whole = [n for n in tokenizer(text, add_special_tokens=False)["input_ids"] if "\ufffd" not in tokenizer.decode([n])]
    assert whole and not any(flags[number] for number in whole)


def test_wordpiece_splits_at_all_white_space() -> None:
    tokenizer = train("wordpiece", ["a single man in want of a wife"])
    plain, other = (tokenizer(text)["input_ids"] for text in ("single man of a wife", "single\tman\nof\r\na\u2028wife"))
    assert plain == other and tokenizer.unk_token_id not in plain


def test_unigram_reads_line_ends_as_spaces_and_masks_as_they_stand() -> None:
    """An end of a line is no unknown letter, and no space stands behind a mask that none had in training."""
    from hflm.models.trainers import train_unigram

    texts = ["她很好。他也很好。" * 20, "A line\nand another\tone.\n\nA third line of words.\n" * 400]
    tokenizer = train_unigram(iter(texts), size=80, special=["[UNK]", "[MASK]"], unk="[UNK]", lowercase=False)
    found = tokenizer.encode("A line\nand another")
    assert "[UNK]" not in found.tokens and tokenizer.decode(found.ids) == "A line and another"
    masked = tokenizer.encode("她很[MASK]。").tokens
    assert masked[masked.index("[MASK]") + 1] == "。"
