"""What is known before weights are read: what a model does, how much it reads and writes, what is wrong with rows."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.inference.trained import open_trained
from tests.tiny import moods, pairs, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]
ONE = '{"prompt": "one"}\n'
MADE: Mapping[str, tuple[str, Callable[[], list[dict[str, Any]]]]] = {
    "sentiment": ("bert", moods),
    "summarization": ("t5", pairs),
}


def model_was_loaded(*_: object, **__: object) -> None:
    pytest.fail("the model was loaded")


@pytest.fixture(scope="module")
def runs(runs_of: Callable[..., Callable[[str], str]]) -> Callable[[str], str]:
    """A function from a task to a run of it, made once."""
    return runs_of(MADE)


def test_how_much_a_model_of_the_hub_writes_is_not_how_much_it_reads(
    tiny: Tiny, tmp_path: Path, runs: Callable[[str], str]
) -> None:
    folder = tmp_path / "hub"
    shutil.copytree(tiny("t5"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["task_specific_params"] = {"summarization": {"max_length": 30, "prefix": "sum up: ", "num_beams": 4}}
    (folder / "config.json").write_text(json.dumps(config))
    trained = open_trained(str(folder), task="summarization")
    assert trained.family.max_source_length == 1024 and trained.family.prefix == "sum up: "
    assert trained.max_new_tokens == 29
    assert open_trained(runs("sentiment")).family.max_length == 32, "what hflm trained keeps how much it read"


@pytest.mark.promise("D1")
@pytest.mark.parametrize(
    ("name", "command", "row", "said"),
    [
        ("sentiment", "predict", {"text": ["a"]}, "line 2, column 'text': found ['a'], which is not a string"),
        ("summarization", "predict", {"txt": "a"}, "line 2: no column 'document'"),
        ("sentiment", "evaluate", {"text": "a", "label": "odd"}, "line 2: the model has no label 'odd'"),
        ("summarization", "evaluate", {"document": "a", "summary": " "}, "line 2: the target is empty"),
    ],
)
def test_rows_are_looked_at_before_the_model_loads(
    name: str, command: str, row: dict[str, Any], said: str, runs: Callable[[str], str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = runs(name)
    monkeypatch.setattr("hflm.inference.trained.load_with_head", model_was_loaded)
    data = write(tmp_path / "rows.jsonl", [MADE[name][1]()[0], row])
    files = ["--input-file", str(data), "-o", str(tmp_path / "out")] if command == "predict" else ["--data", str(data)]
    capsys.readouterr()
    assert main([command, run, *files]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line
    assert not (tmp_path / "out").exists()


@pytest.mark.promise("D1")
@pytest.mark.parametrize(
    ("rows", "out", "schema", "said"),
    [
        (ONE + '{"odd": "a"}', "out.jsonl", "{}", "line 2: no prompt"),
        (ONE + '{"prompt": 7}', "out.jsonl", "{}", "line 2, column 'prompt': found 7"),
        (ONE + '{"messages": [{"role": "assistant", "content": "a"}]}', "out.jsonl", "{}", "nobody asks anything"),
        (ONE, "old.jsonl", "{}", "old.jsonl exists"),
        (ONE, "out.csv", "{}", "Name a .jsonl file"),
        (ONE, "out.jsonl", "{", "schema.json is not JSON"),
    ],
)
def test_prompts_and_a_schema_are_looked_at_before_the_model_loads(
    rows: str, out: str, schema: str, said: str, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("hflm.inference.writer.load_with_head", model_was_loaded)
    for name, content in (("rows.jsonl", rows), ("old.jsonl", ONE), ("schema.json", schema)):
        (tmp_path / name).write_text(content)
    files = ["--input-file", str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / out)]
    model = tiny("llama")
    capsys.readouterr()
    assert main(["generate", "--model", model, *files, "--json-schema", str(tmp_path / "schema.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


@pytest.mark.promise("D1")
@pytest.mark.parametrize("row", [{"text": ""}, {"messages": [{"role": "assistant", "content": "a"}]}])
def test_a_row_without_a_question_is_found_before_the_model_loads(
    row: dict[str, Any], tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hflm.inference.trained.load_with_head", model_was_loaded)
    data = write(tmp_path / "rows.jsonl", [row])
    capsys.readouterr()
    assert main(["predict", tiny("gpt2"), "--input-file", str(data), "-o", str(tmp_path / "out.jsonl")]) == 2
    assert "line 1: there is nothing to go on with" in capsys.readouterr().err
