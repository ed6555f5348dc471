"""What stands around the work of every job that trains: nothing of an old run goes before it has been read."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hflm.cli.app import main
from hflm.run import RunFolder, read_json
from hflm.signals import caught
from tests.tiny import moods, write


def test_a_recipe_of_the_run_that_is_replaced(tiny: Callable[[str], str], tmp_path: Path) -> None:
    rows, out = str(write(tmp_path / "rows.jsonl", moods())), tmp_path / "out"
    usual = ["--model", tiny("bert"), "--data", rows, "--max-steps", "1", "--batch-size", "4", "--precision", "fp32"]
    assert main(["finetune", "--task", "sentiment", *usual, "-o", str(out), "--json"]) == 0
    recipe = (out / "recipe.py").read_bytes()
    assert main(["finetune", "--task", str(out / "recipe.py"), *usual, "-o", str(out), "--overwrite", "--json"]) == 0
    assert (out / "recipe.py").read_bytes() == recipe and read_json(out / "metrics.json")["steps"] == 1


def test_signals_are_caught_on_the_main_thread_alone() -> None:
    found: list[bool] = []

    def look() -> None:
        with caught(lambda number, frame: None) as listens:
            found.append(listens)

    look()
    other = threading.Thread(target=look)
    other.start()
    other.join()
    assert found == [True, False]


def test_what_a_run_reads_is_not_emptied_by_it(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on needs the weights that it began with."""
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    text = out / "book.txt"
    text.write_text("A line of text.\n" * 200)
    for words in (["--model", str(out)], ["--model", str(out / "model")], ["--data", str(text)]):
        assert main(["pretrain", *words, "-o", str(tmp_path / "." / "out"), "--overwrite", "--max-steps", "1"]) == 2
        assert "which --overwrite empties" in capsys.readouterr().err
    assert (out / "model" / "model.safetensors").exists() and text.exists()


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_saving_is_tried_where_it_will_be(finished: Path, tmp_path: Path) -> None:
    from hflm.training.steps import _disk_of

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert _disk_of(RunFolder(closed / "run")) == Path(tempfile.gettempdir())


def test_the_disk_of_a_run_is_its_own(tmp_path: Path) -> None:
    from hflm.training.steps import _disk_of

    assert _disk_of(RunFolder(tmp_path)) == tmp_path
    assert _disk_of(RunFolder(tmp_path / "runs" / "one")) == tmp_path


def test_a_run_is_not_done_again_in_its_own_folder(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    assert main(["reproduce", str(run), "-o", str(tmp_path / "." / "run"), "--overwrite"]) == 2
    assert "in its own folder" in capsys.readouterr().err and (run / "metrics.json").exists()
