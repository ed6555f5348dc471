"""Hostile and broken model folders: one line, exit 2, at once; no code of theirs runs, nothing outside is read."""

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from tests.models.hostile import FOLDERS, TASK, bait_of, config, own_code, trace_of

Tiny = Callable[[str], str]
OPENED: list[str] = []
WATCHING: list[Path] = []
ROWS = "".join(json.dumps({"prompt": f"one {n}", "completion": "two"}) + "\n" for n in range(20))


def _notice(event: str, arguments: tuple[Any, ...]) -> None:
    """Write down the files that are opened in the watched folder; a hook stays for the life of the process."""
    if WATCHING and event == "open" and str(arguments[0]).startswith(str(WATCHING[0])):
        OPENED.append(str(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def hook() -> None:
    sys.addaudithook(_notice)


class NoAnswer:
    """A stdin that must not be asked."""

    def isatty(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"stdin.{name} was used")


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of a good tiny decoder that chats, which is then made bad."""
    shutil.copytree(tiny("llama"), tmp_path / "model")
    shutil.copy(tmp_path / "model" / "model.safetensors", bait_of(tmp_path / "model"))
    (tmp_path / "rows.jsonl").write_text(ROWS)
    config(task_specific_params=TASK)(tmp_path / "model")
    monkeypatch.setattr(sys, "stdin", NoAnswer())
    monkeypatch.setattr("hflm.models.chat_template.SECONDS", 0.3)
    monkeypatch.setattr("hflm.models.chat_template.MAX_GROWTH", 1 << 27)
    OPENED.clear()
    WATCHING.append(tmp_path)
    yield tmp_path / "model"
    WATCHING.clear()


def predict(folder: Path) -> int:
    rows, out = folder.parent / "rows.jsonl", folder.parent / "out.jsonl"
    return main(["predict", str(folder), "--input-file", str(rows), "--output-file", str(out), "--max-new-tokens", "2"])


def test_the_good_folder_is_taken(folder: Path) -> None:
    assert predict(folder) == 0


@pytest.mark.promise("S1")
@pytest.mark.parametrize("name", FOLDERS)
def test_a_bad_folder_costs_a_line(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, said = FOLDERS[name]
    make(folder)
    OPENED.clear()
    before = set(folder.parent.rglob("*"))
    began = time.perf_counter()
    code = predict(folder)
    assert time.perf_counter() - began < 10
    lines = capsys.readouterr().err.splitlines()
    last = lines[-1]
    assert code == 2, last
    assert last.startswith("error: ") and re.search(said, last), last
    assert len([line for line in lines if line.startswith(("error", "Traceback", "internal"))]) == 1
    assert len(last) < 500 and last.endswith((".", "`", "?"))
    assert not trace_of(folder).exists(), "code of the folder ran"
    own = (f"{folder}/", f"{folder.parent}/rows.jsonl", f"{folder.parent}/out.jsonl")
    outside = [path for path in OPENED if not path.startswith(own)]
    assert not outside, f"read outside of the folder: {outside}"
    after = set(folder.parent.rglob("*"))
    assert {path.name for path in after - before} <= {"out.jsonl"}, "something was written"


def test_a_known_architecture_with_code_beside_it_is_opened_without_the_code(folder: Path) -> None:
    own_code("config.json", auto_map={"AutoModelForCausalLM": "modeling_evil.E"})(folder)
    assert predict(folder) == 0
    assert not trace_of(folder).exists()


@pytest.mark.promise("S1")
def test_a_recipe_named_by_a_model_is_not_run(folder: Path) -> None:
    recipe = folder / "evil.py"
    recipe.write_text(f"import os\nos.mkdir({str(trace_of(folder))!r})\n")
    config(task_specific_params={str(recipe): TASK["generation"]})(folder)
    assert predict(folder) == 0
    assert not trace_of(folder).exists()


@pytest.mark.promise("S1")
@pytest.mark.parametrize("name", ["an index that climbs out", "a configuration without end", "a template of powers"])
def test_other_ways_to_the_folder_refuse_it_too(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, said = FOLDERS[name]
    make(folder)
    data, out = str(folder.parent / "rows.jsonl"), str(folder.parent / "run")
    for words in (
        ["fill-mask", str(folder), "a [MASK]"],
        ["pretrain", __file__, "--model", str(folder), "--objective", "clm", "-o", out],
        ["plan", "--task", "generation", "--model", str(folder), "--data", data],
    ):
        assert main(words) == 2, words
        assert re.search(said, capsys.readouterr().err.splitlines()[-1]), words
