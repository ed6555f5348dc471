"""What is wrong with examples before anything is trained on them, and what is worth knowing."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hflm.data.examples import Example
from hflm.data.overlap import find_overlap, folded, text_of
from hflm.data.row_problems import LEARNED, READ, SEEN, blank, silent
from hflm.data.splits import Splits
from hflm.errors import DataError


def named_labels(splits: Splits) -> Splits:
    """Call labels by the names that stand beside them, where every number has one name and every name one number."""
    pairs = {(e["label"], e.values.get("label_name")) for e in splits.train}
    numbers, names = {number for number, _ in pairs}, {name for _, name in pairs}
    if None in names or not len(pairs) == len(numbers) == len(names):
        return splits
    table = dict(pairs)

    def name(rows: Sequence[Example]) -> list[Example]:
        return [
            replace(e, values={**e.values, "label": table.get(e["label"], e["label"])}) if "label" in e.values else e
            for e in rows
        ]

    return replace(splits, train=name(splits.train), eval=name(splits.eval), test=name(splits.test))


def check_examples(splits: Splits) -> None:
    """Raise DataError where a split is missing, or a row has nothing to learn, naming the row."""
    for name, rows in (("train", splits.train), ("eval", splits.eval)):
        if not rows:
            counts = ", ".join(f"{len(part)} to {split}" for split, part in _parts(splits))
            raise DataError(
                f"There are no rows in the {name} split ({counts}).",
                fix="Give more rows, or name them: --validation-file FILE.",
            )
    for split, rows in _parts(splits):
        mute = [e for e in rows if silent(e)]
        if mute and (split != "train" or len(mute) == len(rows)):
            problem = f"{mute[0].where}: no message of the assistant, in {len(mute)} of {len(rows)} rows to {split}."
            raise DataError(problem, fix="Only what the assistant says is learned: add it, or pass --on-bad-row skip.")
        for role in (*LEARNED, *READ):
            column = splits.columns.get(role)
            empty = [e for e in rows if role in e.values and blank(e[role])]
            if column and empty and (split != "train" or len(empty) == len(rows)):
                raise DataError(
                    f"{empty[0].where}: column {column!r} is empty, in {len(empty)} of {len(rows)} rows to {split}.",
                    fix="Fill it, or leave the row out: --on-bad-row skip.",
                )


def _parts(splits: Splits) -> tuple[tuple[str, Sequence[Example]], ...]:
    return ("train", splits.train), ("eval", splits.eval), ("test", splits.test)


def usable(splits: Splits) -> tuple[Splits, int]:
    """Leave out the training rows that have nothing to read or to learn; return how many there were."""
    kept = [
        e for e in splits.train if not silent(e) and not any(blank(e.values.get(role, 0)) for role in (*READ, *LEARNED))
    ]
    return replace(splits, train=kept), len(splits.train) - len(kept)


def label_list(splits: Splits, *, known: Sequence[str] = ()) -> list[str]:
    """Return the classes of the training rows, in the order of `known` where a model has just these.

    Numbers are sorted as such. Raises DataError where there is one class only, or where another split has a
    class that training lacks.
    """
    found = {e["label"] for e in splits.train}
    if len(found) < 2:
        if splits.held_out and any(e["label"] not in found for e in (*splits.eval, *splits.test)):
            counts = ", ".join(f"{len(part)} to {split}" for split, part in _parts(splits))
            fix = "Give more rows; --test-fraction 0 holds none out to test."
            raise DataError(f"Too few rows to hold some out and train on two classes: {counts}.", fix=fix)
        raise DataError(
            f"All {len(splits.train)} training rows have the label {next(iter(found), None)!r}.",
            fix="Give rows of two classes or more; are they sorted by label and cut?",
        )
    if len(found) > MOST_NUMBERS and sum(map(_is_fraction, found)) > len(found) // 2:
        raise DataError(
            f"The labels are {len(found):,} different numbers, as {_in_order(found)[1]!r}: no classes.",
            fix="Name a column of classes with --label-column, or make classes of the numbers.",
        )
    _refuse_new(splits, "label", found)
    return list(known) if set(known) == found else _in_order(found)


def tag_list(splits: Splits, *, known: Sequence[str] = ()) -> list[str]:
    """Return the tags of the training rows, with O first where it is there; raises DataError as `label_list` does."""
    for e in (*splits.train, *splits.eval, *splits.test):
        if len(e["tokens"]) != len(e["tags"]):
            raise DataError(
                f"{e.where}: {len(e['tokens'])} words and {len(e['tags'])} tags.", fix="Give one tag for every word."
            )
    found = {tag for e in splits.train for tag in e["tags"]}
    if len(found) < 2:
        raise DataError(f"All tags are {next(iter(found), None)!r}.", fix="Give rows with two kinds of tags or more.")
    _refuse_new(splits, "tags", found)
    ordered = sorted(found, key=lambda tag: (tag != "O", tag.partition("-")[2], tag))
    return list(known) if set(known) == found else ordered


def _refuse_new(splits: Splits, role: str, found: set[str]) -> None:
    for name, rows in (("eval", splits.eval), ("test", splits.test)):
        for e in rows:
            values = {e[role]} if isinstance(e[role], str) else set(e[role])
            if new := sorted(values - found):
                raise DataError(
                    f"{e.where}: the {role.rstrip('s')} {new[0]!r} is in the {name} rows and never in training, "
                    f"which has {_in_order(found)[:8]}.",
                    fix="Correct it, or add such rows to the training data.",
                )


# Ratings in halves are classes still.
MOST_NUMBERS = 10


def _is_fraction(label: str) -> bool:
    try:
        return not float(label).is_integer()
    except (ValueError, OverflowError):
        return False


def _in_order(labels: set[str]) -> list[str]:
    try:
        numbers = {label: float(label) for label in labels}
    except (ValueError, OverflowError):
        return sorted(labels)
    if any(map(math.isnan, numbers.values())):
        return sorted(labels)
    # Two names of one number have an order too: the same in every process.
    return sorted(labels, key=lambda label: (numbers[label], label))


def findings(splits: Splits) -> dict[str, Any]:
    """Count rows, labels, duplicates and rows of test or eval that stand in training too."""
    keys = {name: [_key(e) for e in getattr(splits, name)] for name in ("train", "eval", "test")}
    train = set(keys["train"])
    found: dict[str, Any] = {
        "rows": {name: len(rows) for name, rows in keys.items()},
        "columns": dict(splits.columns),
        "held_out": list(splits.held_out),
        "duplicates": len(keys["train"]) - len(train),
        "overlap": {name: sum(key in train for key in keys[name]) for name in ("eval", "test")},
        "overlap_of_words": {name: _overlap(getattr(splits, name), splits.train) for name in ("eval", "test")},
    }
    if splits.train and "label" in splits.train[0].values:
        counts: Mapping[str, int] = Counter(e["label"] for e in splits.train)
        found["labels"] = dict(sorted(counts.items()))
    return found


def _overlap(held: Sequence[Example], train: Sequence[Example]) -> dict[str, Any]:
    found = find_overlap(*(((e.where, text_of(e.values, SEEN)) for e in rows) for rows in (held, train)))
    return found.to_json()


def _key(example: Example) -> str:
    """Return what an example reads, with case, spaces and the forms of Unicode made equal."""
    parts = (str(example[role]) for role in SEEN if role in example.values)
    return " ".join(folded(" ".join(parts)).split())
