"""Pretraining that goes on from a model: what is read as it was, and what is refused because it would do nothing."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.config import PretrainConfig, resolve
from hflm.data.corpus import embedded_corpus
from hflm.errors import DataError, ModelError
from hflm.models.cutting import cuts_at_lines
from hflm.models.tokenizer import continuation_flags, train_tokenizer
from hflm.pretraining.assemble import without_effect
from hflm.pretraining.encoding import beginning, encoder
from hflm.pretraining.prepare import Prepared, prepare

Tiny = Callable[[str], str]


@pytest.mark.parametrize(
    "given", [{"layers": 3}, {"size": "base"}, {"dropout": 0.1}, {"vocab_size": 500}, {"lowercase": True}]
)
def test_a_model_is_as_it_is(given: dict[str, Any]) -> None:
    name = next(iter(given)).replace("_", "-")
    found = resolve(recipe={}, flags={"model": "out", **given})
    assert without_effect(found) == [f"--{name}: without effect, as out is as it is"]
    assert without_effect(resolve(recipe={}, flags=given)) == []
    # A recipe's numbers for a model from scratch give way.
    assert resolve(recipe={"arch": "bert", "dropout": 0.1}, flags={"model": "out"}).dropout == 0.0


@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_an_encoder_decoder_is_not_gone_on_with(
    objective: str, tiny: Tiny, text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", tiny("bart"), "--objective", objective, "--max-steps", "1", "-o", str(tmp_path / "out")]
    assert main(["pretrain", str(text_file), *words]) == 2
    assert "is an encoder-decoder (bart)" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_numbers_that_do_nothing_are_named() -> None:
    def said(**flags: Any) -> list[str]:
        return without_effect(resolve(recipe={}, flags=flags))

    assert said(eval_fraction=0.2) == said(decay=0.2) == said(mlm_probability=0.2) == []
    (line,) = said(eval_fraction=0.2, eval_data=["b.txt"])
    assert line == "--eval-fraction: without effect, as --eval-data is evaluated on"
    assert said(decay=0.2, schedule="linear")[0].startswith("--decay: without effect")
    assert said(mlm_probability=0.2, objective="clm")[0].startswith("--mlm-probability: without effect")


def test_how_files_of_another_kind_are_read_does_nothing(tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl"):
        (tmp_path / name).write_text('{"body": "one"}\n')

    def said(*names: str, **flags: Any) -> list[str]:
        return without_effect(resolve(recipe={}, flags={"data": [str(tmp_path / name) for name in names], **flags}))

    column, unit = {"text_column": "body"}, {"documents": "file"}
    no_column = ["--text-column: without effect, as text files have no columns"]
    no_unit = ["--documents: without effect, as a row of a table is a document"]
    assert said("a.txt", **column) == no_column and said("b.jsonl", **unit) == no_unit
    assert said("a.txt", **unit) == said("b.jsonl", **column) == said("a.txt", "b.jsonl", **unit, **column) == []
    assert said("a.txt", **column, eval_data=[str(tmp_path / "b.jsonl")]) == []
    assert said(**column) == no_column and said(**unit) == [], "the sample is text"
    assert said(**unit, data=["owner/name"]) == no_unit and said(**column, data=["owner/name"]) == []


def test_a_tokenizer_has_its_vocabulary() -> None:
    (line,) = without_effect(resolve(recipe={}, flags={"tokenizer": "out", "vocab_size": 500}))
    assert line == "--vocab-size: without effect, as out is as it is"
    assert without_effect(resolve(recipe={}, flags={"tokenizer": "bpe", "vocab_size": 500})) == []


def test_a_document_begins_as_texts_do(tiny: Tiny, tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    plain = AutoTokenizer.from_pretrained(tiny("gpt2"))
    assert beginning(plain, objective="clm") == ()
    told = AutoTokenizer.from_pretrained(shutil.copytree(tiny("gpt2"), tmp_path / "gpt2"))
    start = told.convert_tokens_to_ids("one") or 5
    name = told.convert_ids_to_tokens(start)
    told.backend_tokenizer.post_processor = TemplateProcessing(single=f"{name} $A", special_tokens=[(name, start)])
    assert beginning(told, objective="clm") == (start,) and beginning(told, objective="mlm") == ()
    (ids,) = encoder(told, end=True, begin=beginning(told, objective="clm"))(["two three"])
    assert ids == [*told("two three")["input_ids"], told.eos_token_id]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_a_blank_takes_the_space_before_it(kind: str, tmp_path: Path) -> None:
    texts = ["She was very good .", "He is very tall ."] * 50
    made = train_tokenizer(iter(texts), kind=kind, vocab_size=300, arch="modernbert", max_length=64)
    made.save_pretrained(tmp_path)
    from transformers import AutoTokenizer

    for tokenizer in (made, AutoTokenizer.from_pretrained(tmp_path)):
        blank = tokenizer("She was very [MASK] .", add_special_tokens=False)["input_ids"]
        whole = tokenizer("She was very good .", add_special_tokens=False)["input_ids"]
        at = blank.index(tokenizer.mask_token_id)
        tail = len(blank) - at - 1
        assert blank[:at] == whole[:at] and blank[at + 1 :] == whole[len(whole) - tail :]
        assert blank.count(tokenizer.mask_token_id) == 1


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_whole_words_of_a_script_without_spaces_are_no_sentences(kind: str) -> None:
    texts = ["他们在北京吃饭。", "我们在上海喝茶。", "This is a sentence of words."] * 60
    made = train_tokenizer(iter(texts), kind=kind, vocab_size=400, arch="modernbert", max_length=64)
    flags = continuation_flags(made)
    chinese = made("我们在北京喝茶。", add_special_tokens=False)["input_ids"]
    assert sum(not flags[one] for one in chinese) >= 2, "several units"
    english = made("sentence", add_special_tokens=False)["input_ids"]
    assert all(flags[one] for one in english[1:])


def test_a_tokenizer_in_python_is_read_whole_and_knows_no_words() -> None:
    class Python:
        name_or_path = "phobert"

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return [str(one) for one in ids]

        def __len__(self) -> int:
            return 3

    assert cuts_at_lines(Python()) is False  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="phobert: where its words begin is not known of a Python"):
        continuation_flags(Python())  # type: ignore[arg-type]


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Prepared:
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "cache"))
    config = PretrainConfig(clean="none", **settings)
    return prepare(config, arch="bert", max_length=16, pack=True, say=lambda _: None)


def test_what_to_evaluate_on_may_hold_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, blank, other = (tmp_path / name for name in ("text.txt", "blank.txt", "other.txt"))
    text.write_text("The quick brown fox jumps over the lazy dog.\n" * 50)
    blank.write_text("\n \n\n")
    other.write_text("他们在北京吃饭他们在北京吃饭\n" * 20)
    with pytest.raises(DataError, match=r"--eval-data.* no text|holds no text"):
        prepared(tmp_path, monkeypatch, data=(str(text),), eval_data=(str(blank),))
    with pytest.raises(DataError, match="knows nothing of the text to evaluate on"):
        prepared(tmp_path, monkeypatch, data=(str(text),), eval_data=(str(other),))


def test_one_short_document_is_not_evaluated_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.txt"
    # Of such documents every second one would be held out whole.
    for number in range(8):
        text.write_text(f"{number} The quick brown fox jumps over the lazy dog. " * 40)
        found = prepared(tmp_path, monkeypatch, data=(str(text),), documents="file", eval_fraction=0.5)
        assert found.rows is not None and len(found.rows) and len(found.eval_rows)


def test_a_full_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hflm.data import rows
    from hflm.errors import SpaceError

    def full(*words: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows, "_write", full)
    with pytest.raises(SpaceError, match=rf"{tmp_path / 'cache'} could not be written.*HFLM_CACHE"):
        prepared(tmp_path, monkeypatch, data=(str(embedded_corpus()[1][0]),))
    assert not list((tmp_path / "cache").glob(".rows*")), "what was half written goes"


@pytest.mark.parametrize(
    "words", [["generate"], ["fill-mask", "{model}"], ["classify", "{model}"], ["explain", "{model}"]]
)
def test_words_that_are_no_utf8(words: list[str], tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*(word.format(model=tiny("bert")) for word in words), "caf\udce9"]) == 2
    said = capsys.readouterr().err
    assert "is not UTF-8: byte 0xe9" in said and "internal" not in said


def test_a_line_that_is_no_utf8_loses_no_other(tiny: Tiny) -> None:
    words = [sys.executable, "-m", "hflm", "chat", "--model", tiny("llama"), "--max-new-tokens", "2", "--json"]
    piped = "\ufeff!help\nhi\n".encode() + b"caf\xe9\n" + "bye ü\n".encode()
    done = subprocess.run(words, input=piped, capture_output=True, timeout=120, check=False)
    said = done.stderr.decode()
    assert done.returncode == 0 and "That line is not UTF-8" in said and "!exit" in said
    assert len(done.stdout.splitlines()) == 2
