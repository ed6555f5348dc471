"""The samples in the package: every task has one, the script that made two of them still makes them, splits differ."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bench.samples import main
from hflm.data.corpus import FOLDER
from hflm.data.samples import sample_files
from hflm.finetune_config import resolve_finetune
from hflm.finetuning.fitting import read_data
from hflm.recipe_files import load_task, recipe_paths

TASKS = [name for name in recipe_paths() if load_task(name).family != "masked_lm"]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_runs_on_its_sample(name: str) -> None:
    task = load_task(name)
    assert sample_files(task)
    splits = read_data(resolve_finetune(task, name=name, file={}, flags={}, where="a test"), task)
    assert len(splits.train) >= 100 and splits.eval and splits.test


def test_the_script_makes_what_is_there(tmp_path: Path) -> None:
    main(tmp_path)
    made = sorted(tmp_path.iterdir())
    assert len(made) == 6
    for path in made:
        assert rows(path) == rows(FOLDER / path.name), path.name


def test_no_opinion_stands_in_two_splits() -> None:
    texts = [{row["text"] for row in rows(path)} for path in FOLDER.glob("sentiment.*.gz")]
    assert len(texts) == 3 and not texts[0] & texts[1] and not texts[1] & texts[2] and not texts[0] & texts[2]


def test_names_are_tagged_and_titles_are_not() -> None:
    found = [
        pair for row in rows(FOLDER / "tagging.test.jsonl.gz") for pair in zip(row["tokens"], row["tags"], strict=True)
    ]
    tags = {word: {tag for each, tag in found if each == word} for word in ("Catherine", "Mrs.", "Bath", "Miss", "the")}
    assert tags == {"Catherine": {"B-PER"}, "Mrs.": {"O"}, "Bath": {"B-LOC"}, "Miss": {"O"}, "the": {"O"}}
