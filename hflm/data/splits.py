"""Train, eval and test: from files that say so, from a data set's own splits, or by the content of each row."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hflm.data.bad_rows import LeftOut, OnBad, refuse
from hflm.data.columns import Mapped
from hflm.data.examples import Example, Shape, read_examples
from hflm.data.hub import looks_like_hub_id, parts, unanswered
from hflm.data.records import Record, read_records
from hflm.data.row_problems import row_problem
from hflm.data.sources import Source, before_star, find_sources
from hflm.errors import DataError

NAMES = {
    "train": ("train", "training"),
    "eval": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test",),
}
Records = dict[str, list[Record]]


@dataclass(frozen=True)
class Splits:
    """The examples of each split, and the columns that the roles were found in."""

    train: Sequence[Example]
    eval: Sequence[Example]
    test: Sequence[Example]
    columns: Mapped
    held_out: tuple[str, ...] = ()
    bad_rows: Mapping[str, Any] = field(default_factory=dict)


def read_splits(
    *, data: Sequence[str], files: Mapping[str, str | None], shape: Shape, fractions: Mapping[str, float],
    most: Mapping[str, int | None], seed: int, skip_bad: bool = False,
) -> Splits:  # fmt: skip
    """Read every split; where eval or test is not given, its fraction of the training rows is held out.

    `data` are files, a folder or a hub id; `files` name a split each; `most` bounds the rows kept of each, of training
    by the seed. Which are held out depends on their content alone: the same row never stands on both sides.
    `skip_bad` leaves out the rows that cannot be used; without it the first one is raised as a DataError.
    """
    left_out = LeftOut()
    on_bad = left_out if skip_bad else refuse
    named = {split: path for split, path in files.items() if path}
    records = _by_split(data, on_bad) if data else {}
    for split, path in named.items():
        records[split] = list(_read(find_sources([path]), on_bad))
    if not records.get("train"):
        given = [*data, *named.values()]
        where = f" in {', '.join(given[:3])}" if given else ""
        raise DataError(f"There are no rows to train on{where}.", fix="Pass --data FILE or --train-file FILE.")
    columns: Mapped = {}
    examples: dict[str, list[Example]] = {}
    # What is read of training is read of the others too, where they have it.
    for split in sorted(records, key=lambda split: split != "train"):
        examples[split] = []
        for example, found in read_examples(records[split], shape=shape, like=columns, on_bad=on_bad):
            columns = columns or found
            wrong = row_problem(example, found) if skip_bad else None
            if wrong:
                left_out(wrong)
            else:
                examples[split].append(example)
    if not examples["train"]:
        problem = f"None of the {left_out.count} rows to train on can be used."
        raise DataError(problem, fix="Mend them: `hflm data check` lists them.")
    held = tuple(split for split in ("eval", "test") if split not in examples and fractions[split] > 0)
    _hold_out(examples, {split: fractions[split] for split in held})
    # Runs that differ in their seed alone are scored on the same rows.
    held_eval, test = (_draw(examples.get(name, []), most.get(name), 0, every=False) for name in ("eval", "test"))
    train = _draw(examples["train"], most.get("train"), seed, every=True)
    return Splits(train, held_eval, test, columns, held, left_out.to_json() if skip_bad else {})


def split_named(name: str) -> str | None:
    """Tell a split by a name, as rows.validation.jsonl; None where it names none."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((split for split, known in NAMES.items() if any(word in words for word in known)), None)


def split_of(path: Path, below: Sequence[Path] = ()) -> str:
    """Tell the split of a file by its name, else by the folders above it that lie below a folder that was named.

    What names none is for training.
    """
    # The nearest of those that were named.
    above = [folder for folder in below if path.is_relative_to(folder)]
    folder = max(above, key=lambda folder: len(folder.parts), default=path.parent)
    named = (split_named(part) for part in reversed(path.relative_to(folder).parts))
    return next((split for split in named if split), "train")


def _by_split(data: Sequence[str], on_bad: OnBad) -> Records:
    if len(data) == 1 and looks_like_hub_id(data[0]):
        return _hub(data[0])
    found: Records = {}
    for split, source in named_sources(data):
        found.setdefault(split, []).extend(_read([source], on_bad))
    return found


def named_sources(data: Sequence[str]) -> list[tuple[str, Source]]:
    """Find the files behind paths, with the split of each: one alone is for training, whatever it is called."""
    sources, folders = find_sources(data), _folders([Path(path).expanduser() for path in data])
    return [(split_of(source.path, folders) if len(sources) > 1 else "train", source) for source in sources]


def _folders(paths: Sequence[Path]) -> list[Path]:
    """Return the folders that paths name: themselves, what stands before the first star of a pattern, and that in which
    all files lie that are named one by one, as by a shell that spelled a pattern out.
    """
    found, alone = [], []
    for path in paths:
        before = before_star(path)
        if path.is_dir():
            found.append(path)
        elif not path.exists() and before != path:
            found.append(before)
        else:
            alone.append(path.parent)
    if len({path.is_absolute() for path in alone}) == 1:
        found.append(Path(os.path.commonpath(alone)))
    return found


def _read(sources: Iterable[Source], on_bad: OnBad) -> Iterator[Record]:
    for source in sources:
        yield from read_records(source, on_bad=on_bad)


def _hub(name: str) -> Records:
    from datasets import load_dataset

    identifier, config, revision = parts(name)
    try:
        sets = load_dataset(identifier, config, **revision)
    except Exception as error:
        raise unanswered(name, error) from error
    kinds = {split: split_named(split) for split in sets}
    found: Records = {}
    for split, rows in sets.items():
        kind = kinds[split] or ("train" if "train" not in kinds.values() else None)
        if kind is None or (kind == "test" and _unanswered(rows)):
            # As `unsupervised`, beside a `train`; and tests whose answers are kept back.
            continue
        found.setdefault(kind, []).extend(
            Record(f"{name}, {split}", number, _named(row, rows.features), "row")
            for number, row in enumerate(rows, start=1)
        )
    return found


def _unanswered(rows: Any) -> bool:
    """Tell whether all classes of a split are -1, as in the tests of GLUE."""
    columns = [name for name, feature in rows.features.items() if _names(feature)]
    values = (value for name in columns for value in rows[name])
    return bool(columns) and all(
        one == -1 for value in values for one in (value if isinstance(value, list) else [value])
    )


def _names(feature: Any) -> Any:
    """Return the names of a column of classes, or of lists of classes; None for any other."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _named(row: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Give classes that a data set keeps as numbers their names, alone or in lists."""
    found = dict(row)
    for column, feature in features.items():
        names, value = _names(feature), found[column]
        if names:
            found[column] = [_name(one, names) for one in value] if isinstance(value, list) else _name(value, names)
    return found


def _name(number: Any, names: Sequence[str]) -> Any:
    """Return the name of a class; None below 0, as data sets have it where a class is not known."""
    if not isinstance(number, int):
        return number
    return names[number] if number >= 0 else None


def _hold_out(examples: dict[str, list[Example]], fractions: Mapping[str, float]) -> None:
    """Move rows from train to the splits that are missing, by a hash of their content."""
    if not fractions:
        return
    moved: dict[str, list[Example]] = {split: [] for split in fractions}
    kept = []
    for example in examples["train"]:
        place, edge = _unit(example), 0.0
        for split, fraction in fractions.items():
            if edge <= place < edge + fraction:
                moved[split].append(example)
                break
            edge += fraction
        else:
            kept.append(example)
    for split, rows in moved.items():
        moved[split] = _give_back(rows, kept)
    if not kept:
        kept = examples["train"]
        moved = {split: [] for split in moved}
    # Of very few rows, chance may leave a split empty: it takes the last that training can spare, with its copies.
    for rows in moved.values():
        spare = _spare(kept) if not rows else []
        if spare:
            rows.extend(spare)
            kept = [example for example in kept if example.values != spare[0].values]
    if not moved.get("eval", kept) and not _classes(kept[0]):
        # A single text, as a chat that was saved: it is learned and watched, and the report says that they are one.
        moved["eval"] = list(kept)
    examples["train"] = kept
    examples.update(moved)


def _give_back(rows: Sequence[Example], kept: list[Example]) -> list[Example]:
    """Return to training the rows whose class or tag it would lack: chance is no mistake in the data."""
    known = {name for example in kept for name in _classes(example)}
    needed: set[Any] = set()
    for example in rows:
        if new := _classes(example) - known:
            known |= new
            needed.add(_content(example.values))
    # Copies stay together.
    back = [_content(example.values) in needed for example in rows]
    kept.extend(example for example, one in zip(rows, back, strict=True) if one)
    return [example for example, one in zip(rows, back, strict=True) if not one]


def _spare(kept: Sequence[Example]) -> list[Example]:
    """Return a late row, with its copies, that training can spare: one that leaves it every class, if there is one."""
    contents = [_content(example.values) for example in kept]
    copies = Counter(contents)
    rows = Counter(name for example in kept for name in _classes(example))
    for last, chosen in zip(reversed(kept), reversed(contents), strict=True):
        if copies[chosen] < len(kept) and all(rows[name] > copies[chosen] for name in _classes(last)):
            break
    else:
        chosen = contents[-1]
    found = [example for example, content in zip(kept, contents, strict=True) if content == chosen]
    return found if len(found) < len(kept) else []


def _content(value: Any) -> Any:
    """Return a value in a form that is found in a set or a count: equal where the values are."""
    if isinstance(value, Mapping):
        return frozenset((name, _content(one)) for name, one in value.items())
    return tuple(_content(one) for one in value) if isinstance(value, (list, tuple)) else value


def _classes(example: Example) -> set[str]:
    return {example["label"]} if "label" in example.values else set(example.values.get("tags", ()))


def _unit(example: Example) -> float:
    content = json.dumps(example.values, sort_keys=True, ensure_ascii=False, default=str)
    return int.from_bytes(hashlib.sha256(content.encode("utf-8", "replace")).digest()[:8]) / 2**64


def _draw(examples: list[Example], most: int | None, seed: int, *, every: bool) -> list[Example]:
    if most is None or len(examples) <= most:
        return examples
    order = np.random.Generator(np.random.Philox(key=[seed, 23])).permutation(len(examples)).tolist()
    # Chance takes no class from training: what brings a new one comes first.
    known, first = set[str](), list[int]()
    for index in order if every else ():
        if not (found := _classes(examples[index])) <= known:
            known |= found
            first.append(index)
    chosen = list(dict.fromkeys([*first, *order]))[:most]
    return [examples[index] for index in sorted(chosen)]


def content_key(splits: Splits) -> str:
    """Hash every row of every split, in order."""
    total = hashlib.sha256()
    for rows in (splits.train, splits.eval, splits.test):
        for example in rows:
            total.update(json.dumps(example.values, sort_keys=True, default=str).encode("utf-8", "replace"))
        total.update(b"\0")
    return total.hexdigest()[:24]


def stem(paths: Sequence[str]) -> str:
    """Name data for a title: its files, without folders."""
    names = [Path(path).name for path in paths]
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
