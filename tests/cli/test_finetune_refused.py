"""What `hflm finetune` says of rows, options and models that do not go together: one line, before a model is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from tests.cli.test_finetune import RECIPE, SMALL
from tests.tiny import asked, moods, pairs, tagged, write

Tiny = Callable[[str], str]
Make = Callable[[Path], list[str]]


def rows(content: Any, *words: str) -> Make:
    """A case: these rows, and these flags."""

    def make(folder: Path) -> list[str]:
        return ["--data", str(write(folder / "rows.jsonl", content)), *words]

    return make


def held(train: Any, other: Any, *words: str) -> Make:
    """A case: rows to train on, others to test on, and these flags."""

    def make(folder: Path) -> list[str]:
        return ["--train-file", str(write(folder / "a.jsonl", train)), "--test-file",
                str(write(folder / "b.jsonl", other)), *words]  # fmt: skip

    return make


# What is wrong -> the recipe, the model, what is given, what the line must say.
def model_was_loaded(*_: object, **__: object) -> None:
    pytest.fail("the model was loaded")


BAD: dict[str, tuple[str, str, Make, tuple[str, ...]]] = {
    "missing column": ("sentiment", "bert", rows([{"txt": "a", "label": 1}]), ("Did you mean 'txt'", "--text-column")),
    "unknown column": (
        "sentiment", "bert", rows(moods(), "--label-column", "lable"), ("no column 'lable'", "Did you mean 'label'"),
    ),
    "three languages": (
        "translation", "t5", rows([{"en": "a", "fr": "b", "de": "c"}]), ("3 languages", "--source-lang"),
    ),
    "unknown language": (
        "translation", "t5", rows(pairs(source="en", target="es"), "--source-lang", "en", "--target-lang", "xx"),
        ("no column for the target", "'en', 'es'"),
    ),
    "one language": ("translation", "t5", rows(pairs(), "--source-lang", "en"), ("One language is named",)),
    "one class": (
        "sentiment", "bert", rows([{"text": str(n), "label": "x"} for n in range(20)]), ("have the label 'x'",),
    ),
    "a new label": (
        "sentiment", "bert", held(moods(), [{"text": "a", "label": "odd"}]), ("b.jsonl, line 1", "'odd'", "training"),
    ),
    "a string for a list": (
        "tagging", "bert", rows([{"tokens": "a b", "tags": ["O", "O"]}]), ("line 1", "'tokens'", "no list"),
    ),
    "a list for a string": ("sentiment", "bert", rows([{"text": ["a"], "label": 1}]), ("line 1", "not a string")),
    "tags of another length": (
        "tagging", "bert", rows([*tagged(), {"tokens": ["a", "b"], "tags": ["O"]}]), ("line 41", "2 words and 1 tags"),
    ),
    "empty targets": (
        "summarization", "t5", rows([{"document": str(n), "summary": None} for n in range(30)]), ("is empty",),
    ),
    "an empty label": ("sentiment", "bert", rows([*moods(), {"text": "a", "label": ""}]), ("line 41", "no label")),
    "no target left": (
        "generation", "gpt2",
        held([{"messages": [{"role": "user", "content": str(n)}]} for n in range(30)], asked(3)),
        ("a.jsonl, line 1", "no message of the assistant", " rows to train"),
    ),
    "an encoder that should write": ("summarization", "bert", rows(pairs()), ("is an encoder", "writes no text")),
    "an encoder-decoder for text": ("generation", "bart", rows(asked()), ("is an encoder-decoder",)),
    "rows that are all too long": (
        "summarization", "t5",
        rows([{**row, "document": row["document"] * 60} for row in pairs()], "--max-source-length", "8"),
        ("All ", "too long", "--max-source-length"),
    ),
    "no class but numbers": (
        "sentiment", "bert", rows([{"text": str(n), "label": n / 7} for n in range(40)]), ("different numbers",),
    ),
    "an empty file": ("sentiment", "bert", rows(moods(), "--validation-file", ""), ("--validation-file is empty",)),
    "an option of other tools": ("sentiment", "bert", rows(moods(), "--fp16"), ("--fp16", "--precision fp16")),
    "another one": (
        "sentiment", "bert", rows(moods(), "--load_best_model_at_end"), ("--load-best-model-at-end", "best weights"),
    ),
    "shares": (
        "sentiment", "bert", rows(moods(), "--test-fraction", "0.6", "--eval-fraction", "0.4"), ("no rows to train",),
    ),
    "no data": ("./mine.py", "bert", lambda folder: _recipe(folder), ("brings no data", "--data")),
    "no such file": ("sentiment", "bert", lambda folder: ["--data", str(folder / "no.jsonl")], ("no.jsonl",)),
    "no such model": ("sentiment", "NOWHERE", rows(moods()), ("no model folder",)),
    "no such task": ("sentimental", "bert", rows(moods()), ("Did you mean 'sentiment'",)),
    "a task of pretraining": ("classic", "bert", rows(moods()), ("recipe of pretraining", "hflm pretrain")),
    "broken JSON": (
        "sentiment", "bert", lambda folder: ["--data", _broken(folder)], ("rows.jsonl, line 2", "not JSON"),
    ),
    "an option misspelt": ("sentiment", "bert", rows(moods(), "--label-smothing", "0.1"), ("--label-smoothing",)),
}  # fmt: skip


def _recipe(folder: Path) -> list[str]:
    (folder / "mine.py").write_text(RECIPE)
    return []


def _broken(folder: Path) -> str:
    (folder / "rows.jsonl").write_text('{"text": "a", "label": 1}\n{"text": \n')
    return str(folder / "rows.jsonl")


@pytest.mark.parametrize("case", BAD)
def test_bad_input_costs_a_line(
    case: str, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, kind, make, parts = BAD[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hflm.finetuning.fitting.load_with_head", model_was_loaded)
    model = tiny(kind) if kind != "NOWHERE" else str(tmp_path / "nowhere")
    given = make(tmp_path)
    capsys.readouterr()
    assert main(["finetune", "--task", task, "--model", model, "-o", "out", *SMALL, *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and all(part in line for part in parts), line
    assert not (tmp_path / "out").exists()
