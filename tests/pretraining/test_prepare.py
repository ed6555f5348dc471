"""What is told of prepared text: of streams, of many files, of text too short to hold any out; and what is counted."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hflm.cache import cache_folder
from hflm.config import PretrainConfig
from hflm.data.packing import PADDING
from hflm.data.rows import Rows, open_rows
from hflm.distilling.lessons import OfText
from hflm.errors import DataError, ModelError
from hflm.models.tokenizer import load_tokenizer
from hflm.pretraining import outlook, prepare, vocabulary
from hflm.pretraining.prepare import Prepared
from hflm.pretraining.report import count_targets
from hflm.pretraining.vocabulary import vocabulary_key
from hflm.recipe_files import load_task
from hflm.settings import build
from tests.tiny import POSITIONS, tokenizer


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "cache"))


def prepared(
    *data: Path,
    say: Callable[[str], None] = lambda _: None,
    kind: type[PretrainConfig] = PretrainConfig,
    **settings: Any,
) -> Prepared:
    values = {**load_task("pretraining").defaults, "data": list(map(str, data)), "vocab_size": 500, **settings}
    config = build(kind, values, where="a test")
    return prepare.prepare(config, arch="bert", max_length=32, pack=True, say=say)


def test_of_a_stream_the_head_is_looked_at_and_nothing_is_counted(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "HEAD_CHARACTERS", 5_000)
    said: list[str] = []
    found = prepared(text_file, say=said.append, streaming=True, documents="file", eval_data=[str(text_file)])
    (folder,) = cache_folder().glob("rows-*-head")
    assert 500 < open_rows(folder).tokens < 5_000 < len(text_file.read_text(encoding="utf-8"))
    assert found.report["streaming"] and not {"rows", "tokens"} & found.report.keys()
    assert [line for line in said if line.startswith("rows: a stream of 32 tokens each to train on, ")]


def test_a_stream_has_a_tokenizer_of_its_own(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds out other documents: a vocabulary of one would have seen what the other is evaluated on."""
    monkeypatch.setattr(prepare, "STREAM_EVAL", 20)
    for streaming in (False, True, False):
        prepared(text_file, streaming=streaming, documents="line")
    assert len(list(cache_folder().glob("tokenizer-*"))) == 2


def test_a_tokenizer_from_elsewhere_reads_what_the_model_does_that_is_built(text_file: Path, tmp_path: Path) -> None:
    tokenizer("decoder").save_pretrained(tmp_path / "ids")
    found = prepared(text_file, documents="line", objective="clm", tokenizer=str(tmp_path / "ids"))
    whole = load_tokenizer(str(tmp_path / "ids"))
    assert (whole.model_max_length, found.tokenizer.model_max_length) == (POSITIONS, 32)
    # Runs that began before have it in their plan.
    assert found.inputs["tokenizer"] == vocabulary_key(whole)


def test_a_text_that_the_tokenizer_does_not_know_is_told(tmp_path: Path) -> None:
    path = tmp_path / "dna.txt"
    draw = np.random.default_rng(1)
    path.write_text("".join("".join(draw.choice(list("ACGT"), 150)) + "\n" for _ in range(400)))
    for fraction in (0.0, 0.05):
        with pytest.raises(DataError, match="every token of it is unknown"):
            prepared(path, documents="line", eval_fraction=fraction)


@pytest.mark.parametrize(
    ("kind", "line", "fix"),
    [
        (PretrainConfig, "pass --tokenizer bpe, or name another model", "Pass --tokenizer bpe"),
        (OfText, "take another teacher", "Take another teacher"),
    ],
)
def test_what_helps_where_letters_are_unknown_is_what_the_job_can_do(
    kind: type[PretrainConfig], line: str, fix: str, tiny: Callable[[str], str], tmp_path: Path
) -> None:
    draw, said = np.random.default_rng(1), list[str]()
    greek = [" ".join(draw.choice(list("ΓΔΘΛΞΠΣΦΨΩ"), 8)) for _ in range(400)]
    for name, known in (("some.txt", "a merry film, number 12. "), ("none.txt", "")):
        (tmp_path / name).write_text("".join(f"{known}{text}\n" for text in greek), encoding="utf-8")
    usual: dict[str, Any] = {"kind": kind, "say": said.append, "tokenizer": tiny("bert"), "clean": "none"}
    prepared(tmp_path / "some.txt", **usual)
    assert f"tokenizer: it does not know this script or these letters; {line}" in said
    with pytest.raises(DataError, match=f"every token of it is unknown. {fix}"):
        prepared(tmp_path / "none.txt", **usual)


def test_the_library_that_opens_a_folder_its_own_way_gets_no_vocabulary_of_ours(text_file: Path) -> None:
    values = {**load_task("pretraining").defaults, "data": [str(text_file)], "objective": "clm", "arch": "qwen2"}
    config = build(PretrainConfig, values, where="a test")
    with pytest.raises(ModelError, match="opens every qwen2 with its own"):
        prepare.prepare(config, arch="qwen2", max_length=32, pack=True, say=lambda _: None)
    config = build(PretrainConfig, {**values, "arch": "qwen3", "vocab_size": 500}, where="a test")
    assert prepare.prepare(config, arch="qwen3", max_length=32, pack=True, say=lambda _: None).tokenizer


def test_what_is_read_of_a_stream_is_new_to_the_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"unigram_loss": 6.0, "body_parameters": 3_000_000, "count_parameters": 4_000_000}
    for name, value in made.items():
        monkeypatch.setattr(outlook, name, lambda _, value=value: value)

    def of(report: dict[str, Any]) -> outlook.Outlook:
        setup: Any = SimpleNamespace(
            training=SimpleNamespace(tokens_per_step=1000), data=SimpleNamespace(report=report),
            config=PretrainConfig(data=("a.txt",)),
        )  # fmt: skip
        model: Any = None
        return outlook._outlook(setup, model, size="mini", steps=10_000, step_seconds=0.1)

    stream = of({"streaming": True})
    assert stream.passes == 0 and stream.loss == of({"tokens": 10**9}).loss < of({"tokens": 100_000}).loss


def test_a_tokenizer_is_measured_on_what_is_trained_on_where_nothing_is_held_out(text_file: Path) -> None:
    for _ in range(2):
        found = prepared(text_file, documents="line", eval_fraction=0.0)
        assert not found.sentences and found.report["tokenizer"]["characters_per_token"] > 1.5


def test_many_texts_are_told_of_in_a_line_a_kind(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("A line.\n" * 3)
    (tmp_path / "verse.txt").write_text("One.\n\nTwo.\n\nThree.\n")
    said: list[str] = []
    prepare.open_corpus(PretrainConfig(), (str(tmp_path),), say=said.append)
    why = "a line is a document, as no blank lines separate blocks of text."
    assert said == [
        f"documents: line (0.txt: {why} The same in 4 more files.)",
        "documents: paragraph (verse.txt: a paragraph is a document, as blank lines separate blocks of text.)",
    ]


def test_of_next_tokens_the_end_of_a_text_is_counted(text_file: Path) -> None:
    found = prepared(text_file, objective="clm", tokenizer="bpe", documents="line")
    assert found.rows is not None
    ids = found.rows.ids[found.rows.segments != PADDING]
    end, pad = found.tokenizer.eos_token_id, found.tokenizer.pad_token_id
    assert found.counts[end] == (ids == end).sum() > 50 and found.counts[pad] == 0


@pytest.mark.parametrize(("objective", "counts"), [("clm", [2, 1, 1, 1]), ("mlm", [0, 1, 1, 1])])
def test_padding_and_what_begins_a_text_are_not_counted(objective: str, counts: list[int]) -> None:
    class Ids:
        """The id that ends a text begins it too, and is the padding."""

        eos_token_id, unk_token_id, all_special_ids = 0, None, [0]

        def __len__(self) -> int:
            return 4

    ids, segments = np.array([[0, 1, 2, 0], [0, 3, 0, 0]], np.int32), np.zeros((2, 4), np.int16)
    segments[1, 3] = PADDING
    tokenizer: Any = Ids()
    found = count_targets(Rows(ids, segments), tokenizer, objective=objective, pad_id=0, begin=(0,))
    assert found.tolist() == counts


@pytest.mark.parametrize("streaming", [False, True])
def test_what_is_left_out_of_the_text_to_evaluate_on_is_told(text_file: Path, tmp_path: Path, streaming: bool) -> None:
    """Of a stream too: what it is evaluated on is read to its end. The second time it is told from the cache."""
    held = tmp_path / "held.jsonl"
    twice = "What this is evaluated on holds a line that stands there twice, word for word."
    texts = [json.dumps({"text": text}) for text in (twice, twice, *(f"Line {n} of some more." for n in range(40)))]
    held.write_text("\n".join([*texts, "{"]))
    for _ in range(2):
        said: list[str] = []
        found = prepared(
            text_file, say=said.append, streaming=streaming, eval_data=[str(held)], on_bad_row="skip", documents="line"
        )
        told = found.report["eval_cleaning"]
        assert (told["read"], told["kept"]) == (43, 41)
        assert told["dropped"] == {"exact: a copy of an earlier text": 1, "not JSON": 1}
        lines = [text for text in said if text.startswith("cleaning of --eval-data: ")]
        assert lines[0].startswith("cleaning of --eval-data: kept 41 of 43 documents, ") and len(lines) == 3


def test_why_nothing_is_left_to_evaluate_on_is_told_first(text_file: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.txt"
    held.write_text("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30\n")
    said: list[str] = []
    with pytest.raises(DataError, match="--eval-data holds no text"):
        prepared(text_file, say=said.append, eval_data=[str(held)], documents="line")
    assert "cleaning of --eval-data: dropped 1: quality: few letters" in said


def test_other_rules_of_quality_are_other_text(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        values = {**load_task("pretraining").defaults, "data": [str(text_file)]}
        configs = [build(PretrainConfig, {**values, "clean": clean}, where="a test") for clean in ("default", "none")]
        return [prepare.open_corpus(config, config.data, say=lambda _: None).key for config in configs]

    before = keys()
    monkeypatch.setattr(prepare, "QUALITY", 1000)
    after = keys()
    assert before[0] != after[0], "what was kept under the old rules is not taken"
    assert before[1] == after[1], "without that filter nothing is other"


@pytest.mark.promise("D3")
@pytest.mark.parametrize("name", ["rows-*-train/ids.bin", "rows-*-eval/shape.json", "tokenizer-*/tokenizer.json"])
@pytest.mark.parametrize("left", [0, -1])
def test_what_is_damaged_in_the_cache_is_made_anew(
    name: str, left: int, text_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = prepared(text_file, documents="line")
    assert found.rows is not None
    # What is mapped into memory goes with the file.
    ids, sentences = np.array(found.rows.ids), found.sentences
    (path,) = cache_folder().glob(name)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:left])
    again = prepared(text_file, documents="line")
    assert again.rows is not None and (again.rows.ids == ids).all() and again.sentences == sentences
    assert path.read_bytes() == content
    (line,) = (record.getMessage() for record in caplog.records if record.name == "hflm.cache")
    assert f"{path.parent} in hflm's cache is damaged ({path.name} is not as it was written)" in line


@pytest.mark.promise("D3")
@pytest.mark.parametrize(
    ("when", "named", "left"),
    [("train_tokenizer", "data", 0), ("encode_rows", "data", 1), ("encode_rows", "eval_data", 1)],
)
def test_a_text_that_changes_while_it_is_read_is_not_kept_as_the_old_one(
    when: str, named: str, left: int, text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {name: tmp_path / f"{name}.txt" for name in ("data", "eval_data")}
    for text in texts.values():
        text.write_bytes(text_file.read_bytes())
    module: Any = vocabulary if when == "train_tokenizer" else prepare
    real = getattr(module, when)

    def change(*words: Any, **more: Any) -> Any:
        with texts[named].open("a") as stream:
            stream.write("\nOne more line, of a program that is still writing.\n")
        return real(*words, **more)

    monkeypatch.setattr(module, when, change)
    with pytest.raises(DataError, match=f"{texts[named]} changed while it was read"):
        prepared(texts["data"], eval_data=[str(texts["eval_data"])])
    assert not list(cache_folder().glob("rows-*")) and len(list(cache_folder().glob("tokenizer-*"))) == left


def test_a_text_that_is_touched_while_it_is_read_is_the_same_text(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(text_file.read_bytes())
    real = prepare.encode_rows

    def touch(*words: Any, **more: Any) -> Any:
        os.utime(text, ns=(1, 1))
        return real(*words, **more)

    monkeypatch.setattr(prepare, "encode_rows", touch)
    assert prepared(text, documents="line").rows
