"""Rows that training gets back and can spare, however many classes there are; and columns that all splits share."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hflm.data.examples import Example, Shape
from hflm.data.splits import Splits, _classes, _give_back, _spare, read_splits
from hflm.recipe_files import load_task
from tests.tiny import write


def given_back(rows: Sequence[Example], kept: list[Example]) -> list[Example]:
    """What `_give_back` does, one row after the other."""
    known = {name for example in kept for name in _classes(example)}
    needed = []
    for example in rows:
        if new := _classes(example) - known:
            known |= new
            needed.append(example.values)
    kept.extend(example for example in rows if example.values in needed)
    return [example for example in rows if example.values not in needed]


def spared(kept: Sequence[Example]) -> list[Example]:
    """What `_spare` does, one row after the other."""
    for last in reversed(kept):
        copies = [example for example in kept if example.values == last.values]
        left = [example for example in kept if example.values != last.values]
        if left and _classes(last) <= {name for example in left for name in _classes(example)}:
            return copies
    copies = [example for example in kept if example.values == kept[-1].values]
    return copies if len(copies) < len(kept) else []


def turn(said: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": str(said), **more}


KINDS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "labels": lambda draw: {"text": str(draw.randrange(3)), "label": str(draw.randrange(4))},
    "tags": lambda draw: {"tokens": ["a", str(draw.randrange(2))], "tags": [draw.choice("abc"), draw.choice("abc")]},
    "messages": lambda draw: {
        "messages": [turn(draw.randrange(3)), turn(1, tool_calls=[{"n": draw.choice([0, 1, True])}])]
    },
    "texts": lambda draw: {"text": str(draw.randrange(3))},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_are_those_of_a_count_row_by_row(kind: str) -> None:
    draw = random.Random(1)
    for _ in range(200):
        rows = [Example(f"row {n}", KINDS[kind](draw)) for n in range(draw.randrange(1, 12))]
        at = draw.randrange(len(rows))
        held, one, two = rows[:at], list(rows[at:]), list(rows[at:])
        assert _give_back(held, one) == given_back(held, two) and one == two
        assert _spare(rows) == spared(rows)


def test_labels_that_are_all_different_take_no_time(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": n + 0.5} for n in range(20_000)]
    found = read("sentiment", write(tmp_path / "rows.jsonl", rows), fractions={"eval": 0.1, "test": 0.1})
    assert len(found.train) + len(found.eval) + len(found.test) == 20_000
    assert len(found.eval) == len(found.test) == 1, "no row can be spared, and a split needs one"


def read(task: str, data: Path, *, fractions: dict[str, float]) -> Splits:
    recipe = load_task(task)
    shape = Shape(roles=recipe.columns, shapes=recipe.complete, given={}, by_place=recipe.by_place)
    return read_splits(data=[str(data)], files={}, shape=shape, fractions=fractions, most={}, seed=1)


def test_all_splits_are_read_in_the_columns_of_training(tmp_path: Path) -> None:
    rows = [{"正文": f"a text {n}", "摘要": f"a gist {n}"} for n in range(6)]
    write(tmp_path / "train.jsonl", rows)
    # Read by itself, and it is the first by name, it would be told from its first two columns.
    write(tmp_path / "dev.jsonl", [{"备注": "a note", **row} for row in rows])
    # Of training it has the one column, and another name for the other.
    write(tmp_path / "test.jsonl", [{"summary": row["摘要"], "正文": row["正文"]} for row in rows])
    found = read("summarization", tmp_path, fractions={"eval": 0.1, "test": 0.1})
    assert found.columns == {"source": "正文", "target": "摘要"}
    for side in (found.train, found.eval, found.test):
        assert [row.values for row in side] == [{"source": row["正文"], "target": row["摘要"]} for row in rows]
