"""Text prepared for a pretraining: the second time it is taken from the cache, and what is told of it is the same."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hflm.config import PretrainConfig
from hflm.data import rows
from hflm.data.rows import Rows
from hflm.data.sources import fingerprint
from hflm.models.cutting import cut
from hflm.models.tokenizer import load_tokenizer, special_flags
from hflm.pretraining import encoding, prepare
from hflm.pretraining.encoding import encoder
from hflm.pretraining.prepare import Corpus, Prepared
from hflm.recipe_files import load_task
from hflm.settings import build


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "cache"))


def prepared(*data: Path, **settings: Any) -> Prepared:
    values = {**load_task("pretraining").defaults, "data": list(map(str, data)), "vocab_size": 500, **settings}
    config = build(PretrainConfig, values, where="a test")
    return prepare.prepare(config, arch="bert", max_length=32, pack=True, say=lambda _: None)


def told(found: Prepared) -> list[Any]:
    both = [found.eval_rows, *([found.rows] if found.rows else [])]
    arrays = [part.tolist() for each in both for part in (each.ids, each.segments)]
    return [arrays, found.counts.tolist(), found.sentences, found.report, found.key, found.inputs]


# Whole documents held out, the end of a long one, nothing at all, a text of its own, a stream.
CASES: dict[str, dict[str, Any]] = {
    "lines": {"documents": "line"}, "a file": {"documents": "file"},
    "rows": {"documents": "line", "eval_fraction": 0.0},
    "a text": {"eval_data": ["TEXT"]}, "a stream": {"streaming": True, "eval_data": ["TEXT"]},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_second_time_no_text_is_read(case: str, text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**CASES[case], **({"eval_data": [str(text_file)]} if "eval_data" in CASES[case] else {})}
    first = prepared(text_file, **settings)

    def read(corpus: Corpus) -> Iterator[Any]:
        pytest.fail("the text was read again")

    def count(*arrays: Any) -> Any:
        pytest.fail("the rows were counted again")

    monkeypatch.setattr(Corpus, "documents", read)
    if case != "rows":
        # The twentieth that is held out there is counted, and taken from the whole.
        monkeypatch.setattr(rows, "count", count)
    assert told(prepared(text_file, **settings)) == told(first)
    assert first.report["cleaning"] or case == "a stream"
    assert ("eval_cleaning" in first.report) == ("eval_data" in settings)


@pytest.mark.parametrize("case", CASES)
def test_what_is_kept_of_the_rows_is_what_is_in_them(case: str, text_file: Path) -> None:
    settings = {**CASES[case], **({"eval_data": [str(text_file)]} if "eval_data" in CASES[case] else {})}
    for _ in range(2):
        found = prepared(text_file, **settings)
        assert found.eval_rows.tokens == Rows(found.eval_rows.ids, found.eval_rows.segments).tokens
        if found.rows is None:
            continue
        assert found.rows.known is not None and (found.eval_rows.known is None) == (case == "rows")
        assert found.report["tokens"] == found.rows.tokens == Rows(found.rows.ids, found.rows.segments).tokens
        expected = np.bincount(found.rows.ids.ravel(), minlength=len(found.tokenizer))
        expected[special_flags(found.tokenizer)] = 0
        assert found.counts.tolist() == expected.tolist() and expected.sum() > 1000


def test_files_are_hashed_once(text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(text_file.read_bytes()[:20_000].rpartition(b"\n")[0])
    hashed: list[Any] = []

    def noting(sources: Any) -> str:
        hashed.append([source.path for source in sources])
        return fingerprint(sources)

    monkeypatch.setattr(prepare, "fingerprint", noting)
    prepared(text_file, eval_data=[str(other)])
    assert sorted(hashed) == sorted([[text_file], [other]])


def test_of_a_long_text_no_more_is_kept_than_is_shown(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "SHOWN", 100)
    for _ in range(2):
        (sentence,) = prepared(text_file, documents="file").sentences
        assert len(sentence) == 100 and sentence in text_file.read_text(encoding="utf-8")


@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_a_long_document_is_encoded_in_parts(
    objective: str, text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = text_file.read_text(encoding="utf-8")
    kind = {"mlm": "wordpiece", "clm": "bpe"}[objective]
    tokenizer = prepared(text_file, objective=objective, tokenizer=kind).tokenizer
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded: Any = load_tokenizer(str(tmp_path / "saved"))
    given: list[int] = []

    class Noting:
        def __call__(self, texts: list[str], **options: Any) -> Any:
            given.extend(map(len, texts))
            return loaded(texts, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(loaded, name)

    monkeypatch.setattr(encoding, "LONGEST", 1000)
    monkeypatch.setattr(encoding, "cut", partial(cut, longest=1000))
    documents = ["Short.", text, "", "Short too.", text[:1500]]
    found = encoder(Noting(), end=objective == "clm")(documents)  # type: ignore[arg-type]
    end = [loaded.eos_token_id] if objective == "clm" else []
    assert found == [[*loaded(one, add_special_tokens=False)["input_ids"], *end] for one in documents]
    assert len(given) > 20 and max(given) < 5000
    assert encoder(loaded, end=False)([]) == []
