"""What stands around the work of every job that trains: nothing of an old run goes before it has been read."""

import threading
from collections.abc import Callable
from pathlib import Path

from hflm.cli.app import main
from hflm.run import read_json
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
