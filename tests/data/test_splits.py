"""Train, eval and test: never the same row on two sides, about the shares asked for, and files taken at their names."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hflm.data import splits
from hflm.data.examples import Example, Shape
from hflm.data.splits import Splits, content_key, read_splits, split_of, stem
from hflm.errors import DataError
from hflm.recipe_files import load_task
from tests.tiny import moods, write

TASK = load_task("sentiment")
SHAPE = Shape(roles=TASK.columns, shapes=TASK.complete, given={})


def read(
    *data: Path, train: Path | None = None, validation: Path | None = None, test: Path | None = None,
    fractions: tuple[float, float] = (0.1, 0.1), most: int | None = None, seed: int = 1,
) -> Splits:  # fmt: skip
    files = {"train": train, "eval": validation, "test": test}
    return read_splits(
        data=[str(path) for path in data], files={name: str(path) if path else None for name, path in files.items()},
        shape=SHAPE, fractions=dict(zip(("eval", "test"), fractions, strict=True)),
        most={"train": most, "eval": most, "test": None}, seed=seed,
    )  # fmt: skip


def texts(rows: Sequence[Example]) -> list[str]:
    return [row["text"] for row in rows]


def contents(rows: Sequence[Example]) -> set[str]:
    return {json.dumps(row.values, sort_keys=True) for row in rows}


def many(count: int) -> list[dict[str, Any]]:
    """Rows sorted by label, of which each third stands there twice."""
    rows = [{"text": f"نص {n} 文", "label": n * 2 // count} for n in range(count)]
    return [row for n, row in enumerate(rows) for _ in range(2 if n % 3 == 0 else 1)]


def test_no_row_on_two_sides_and_about_the_shares(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.jsonl", many(1500)))
    sides = [contents(rows) for rows in (found.train, found.eval, found.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sum(len(side) for side in sides) == 1500
    total = len(found.train) + len(found.eval) + len(found.test)
    assert total == 2000 and all(0.08 < len(rows) / total < 0.12 for rows in (found.eval, found.test))
    assert found.held_out == ("eval", "test")
    # A file sorted by label gives every side both.
    assert all({row["label"] for row in rows} == {"0", "1"} for rows in (found.train, found.eval, found.test))


@pytest.mark.parametrize("count", range(1, 13))
@pytest.mark.parametrize("copies", [1, 2, 3])
def test_few_rows_with_copies_stay_apart(count: int, copies: int, tmp_path: Path) -> None:
    rows = [{"text": str(n), "label": n % 2} for n in range(count) for _ in range(copies)]
    found = read(write(tmp_path / "a.jsonl", rows))
    sides = [contents(side) for side in (found.train, found.eval, found.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sides[0] and sum(len(side) for side in (found.train, found.eval, found.test)) == count * copies
    assert count < 3 or all(sides), "three different rows are enough for three splits"


def test_more_rows_do_not_move_those_before(tmp_path: Path) -> None:
    few, more = (read(write(tmp_path / f"{n}.jsonl", many(n)[:n])) for n in (600, 900))
    wanted = set(texts(few.train)) | set(texts(few.eval)) | set(texts(few.test))
    assert wanted
    unlike = [row for row in more.test if row["text"] in wanted and row["text"] in set(texts(few.train))]
    assert not [row for row in unlike if contents([row]) <= contents(few.train)]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"), ("rows.train.jsonl.gz", "train"), ("training-2.csv", "train"),
        ("validation.csv", "eval"), ("rows.validation.jsonl", "eval"), ("DEV.tsv", "eval"), ("val_3.json", "eval"),
        ("valid.parquet", "eval"), ("eval.json", "eval"), ("test.parquet", "test"), ("my-test.jsonl", "test"),
        ("contest.jsonl", "train"), ("values.csv", "train"), ("latest.csv", "train"), ("devices.csv", "train"),
    ],
)  # fmt: skip
def test_a_split_is_told_by_a_name(name: str, split: str) -> None:
    assert split_of(Path(name)) == split


def test_a_folder_with_a_file_for_each_split(tmp_path: Path) -> None:
    for name, start in (("train", 0), ("validation", 20), ("test", 30)):
        write(tmp_path / f"{name}.jsonl", moods()[start : start + 10])
    found = read(tmp_path)
    assert texts(found.train) == [row["text"] for row in moods()[:10]]
    assert texts(found.eval) == [row["text"] for row in moods()[20:30]]
    assert texts(found.test) == [row["text"] for row in moods()[30:]]
    assert found.held_out == ()
    (tmp_path / "test.jsonl").unlink()
    again = read(tmp_path)
    assert again.held_out == ("test",) and texts(again.eval) == texts(found.eval) and again.test


def test_files_by_option(tmp_path: Path) -> None:
    train, held = write(tmp_path / "a.jsonl", moods(30)), write(tmp_path / "b.jsonl", moods()[30:])
    found = read(train=train, validation=held, test=held)
    assert (len(found.train), len(found.eval), len(found.test), found.held_out) == (30, 10, 10, ())
    assert found.columns == {"text": "text", "label": "label"}
    # One file is for training, whatever it is called.
    alone = read(write(tmp_path / "test.jsonl", moods()), validation=held)
    assert alone.held_out == ("test",) and len(alone.train) + len(alone.test) == 40
    none = read(train=train, fractions=(0.2, 0.0))
    assert none.held_out == ("eval",) and not none.test


def test_each_file_has_columns_of_its_own(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", moods(30))
    held = write(tmp_path / "b.csv.jsonl", [{"review": row["text"], "sentiment": row["label"]} for row in moods()])
    assert len(read(train=train, validation=held).eval) == 40


def test_fewer_rows_are_drawn_by_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", many(300))
    found, same, other = (read(path, most=20, seed=seed) for seed in (1, 1, 2))
    assert len(found.train) == len(found.eval) == 20
    assert texts(found.train) == texts(same.train) != texts(other.train)
    assert {row["label"] for row in found.train} == {"0", "1"}
    # Which rows are held out does not hang on the seed.
    assert texts(found.test) == texts(other.test)


def test_a_draw_takes_no_class_from_training(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": "rare" if n % 200 == 7 else "usual"} for n in range(1000)]
    path = write(tmp_path / "rows.jsonl", rows)
    for seed in range(1, 6):
        found = read(path, most=10, seed=seed)
        assert len(found.train) == 10 and len(found.eval) == 10
        assert {example["label"] for example in found.train} == {"rare", "usual"}


def test_nothing_to_train_on(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", moods())
    write(tmp_path / "validation.jsonl", moods())
    with pytest.raises(DataError, match="no rows to train on.*--train-file"):
        read(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no rows to train on"):
        read(tmp_path / "empty.jsonl")


@pytest.mark.promise("D3")
def test_the_key_is_that_of_the_content(tmp_path: Path) -> None:
    one = read(write(tmp_path / "a.jsonl", moods()))
    two = read(write(tmp_path / "b.jsonl", moods()))
    other = read(write(tmp_path / "c.jsonl", [*moods()[:-1], {"text": "else", "label": "bad"}]))
    assert content_key(one) == content_key(two) != content_key(other)


def test_a_title_for_files() -> None:
    assert stem(["/x/a.jsonl", "b.csv"]) == "a.jsonl, b.csv" and stem(list("abcd")) == "a, b, c ..."


@pytest.mark.parametrize("labels", ["aabb", "abab", "abb", "bba"])
def test_few_rows_leave_every_class_to_training(labels: str, tmp_path: Path) -> None:
    rows = write(tmp_path / "a.jsonl", [{"text": str(n), "label": label} for n, label in enumerate(labels)])
    found = read(rows, fractions=(0.1, 0.0))
    assert {row["label"] for row in found.train} == {"a", "b"} and found.eval and not found.test


def test_a_file_without_rows_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(DataError, match=r"no rows to train on in .*a\.csv"):
        read(tmp_path / "a.csv")


def test_a_split_is_told_by_a_folder_below_the_one_that_is_named(tmp_path: Path) -> None:
    """Rows to test in `test/part-0.jsonl` are no rows to train on; what stands above the named folder says nothing."""
    top = tmp_path / "test data" / "reviews"
    for split, count in (("train", 20), ("test", 6)):
        (top / split).mkdir(parents=True)
        write(top / split / "part-0.jsonl", [{**row, "text": f"{split} {row['text']}"} for row in moods(count)])
    spelled = sorted(top.glob("*/part-*.jsonl"))
    for named in ([top], [top / "*" / "part-*.jsonl"], spelled, spelled[::-1]):
        found = read(*named)
        assert len(found.test) == 6 and all(row["text"].startswith("test") for row in found.test)
        assert len(found.train) + len(found.eval) == 20 and found.held_out == ("eval",)


class Rows(list[dict[str, Any]]):
    """A split as the library of data sets gives it: rows, and columns by name."""

    class Classes:
        names = ("bad", "good")

    features: dict[str, Any] = {"text": None, "label": Classes}

    def __getitem__(self, name: Any) -> Any:
        return [row[name] for row in self] if isinstance(name, str) else super().__getitem__(name)


def classes(count: int, label: int | None = None) -> Rows:
    return Rows({"text": f"row {n} {label}", "label": n % 2 if label is None else label} for n in range(count))


def test_splits_of_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """`unsupervised` does not take the place of `train`, two validations are one, a test without answers is none."""
    sets = {
        "train": classes(40), "validation_matched": classes(6), "validation_mismatched": classes(4),
        "unsupervised": classes(90, -1), "test": classes(8, -1),
    }  # fmt: skip
    monkeypatch.setattr("datasets.load_dataset", lambda *words, **more: sets)
    found = read(Path("owner/set"))
    assert len(found.eval) == 10 and found.held_out == ("test",) and len(found.train) + len(found.test) == 40
    assert {row["label"] for row in found.train} == {"bad", "good"}
    sets.clear()
    sets.update(train_sft=classes(30), test_sft=classes(5))
    assert len(read(Path("owner/set")).test) == 5


def test_classes_that_are_not_known_are_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """-1 is what data sets write for them, alone and in lists."""
    import datasets

    names = datasets.ClassLabel(names=["O", "B-PER"])
    features = datasets.Features({"label": names, "tags": datasets.List(names)})
    rows = {"label": [1, -1], "tags": [[0, 1], [-1, 0]]}
    hidden = {"label": [0, 0], "tags": [[-1, -1], [-1]]}
    sets = {name: datasets.Dataset.from_dict(values, features=features)
            for name, values in (("train", rows), ("test", hidden))}  # fmt: skip
    monkeypatch.setattr("datasets.load_dataset", lambda *words, **more: sets)
    found = splits._hub("owner/name")
    assert [record.values for record in found["train"]] == [
        {"label": "B-PER", "tags": ["O", "B-PER"]}, {"label": None, "tags": [None, "O"]}
    ]  # fmt: skip
    assert "test" in found, "its labels are known"
    sets["test"] = sets["test"].remove_columns("label")
    assert "test" not in splits._hub("owner/name")


def test_runs_of_other_seeds_are_scored_on_the_same_rows(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", many(300))
    one, two = (read(data, most=9, seed=seed) for seed in (1, 2))
    assert one.eval == two.eval and one.test == two.test and one.train != two.train
