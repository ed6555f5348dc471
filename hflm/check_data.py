"""Looking at data before anything is trained on it: every row that cannot be used, by file and line.

hflm data check rows.jsonl --task sentiment
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from hflm.data.bad_rows import LeftOut
from hflm.data.columns import Mapped
from hflm.data.documents import choose_unit, read_documents
from hflm.data.examples import Shape, read_examples
from hflm.data.overlap import find_overlap, text_of
from hflm.data.records import read_records
from hflm.data.row_problems import SEEN, row_problem
from hflm.data.seen import Seen as Numbers
from hflm.data.sources import Source
from hflm.data.splits import named_sources
from hflm.errors import DataError
from hflm.task import Task

Watch = Callable[[str, Mapping[str, Any]], None]
# A place and the text that is read there.
Text = tuple[str, str]
EVERY = 20_000
MOST_LABELS = 1000


@dataclass
class Seen:
    """What is counted while rows go by."""

    rows: int = 0
    characters: int = 0
    duplicates: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    # Of each split, as a job finds them.
    columns: dict[str, Mapped] = field(default_factory=dict)
    # The same text twice has the same hash.
    hashes: Numbers = field(default_factory=Numbers)
    # Of what is held out, what is found here too.
    known: Numbers | None = None
    same: set[int] = field(default_factory=set)
    # How many rows a text has beyond its first, where that is wanted.
    copies: Counter[int] | None = None

    def take(self, text: str) -> None:
        """Count a row by what is read in it."""
        self.rows += 1
        self.characters += len(text)
        # Below 2**64, whatever case and spaces are.
        key = hash(" ".join(text.casefold().split())) & (1 << 64) - 1
        if not self.hashes.add(key):
            self.duplicates += 1
            if self.copies is not None:
                self.copies[key] += 1
        if self.known is not None and key in self.known:
            self.same.add(key)


def check_data(
    paths: Sequence[str], *, task: Task | None, columns: Mapping[str, str], against: Sequence[str] = (),
    text_column: str | None = None, languages: tuple[str | None, str | None] = (None, None),
    watch: Watch = lambda kind, content: None,
) -> dict[str, Any]:  # fmt: skip
    """Read every row of files as a job would, and return what is wrong and what is worth knowing.

    Without a task the files are text to pretrain on. `against` are training files: rows that share words with them
    are counted, and those that stand there as a whole. Memory grows by 24 bytes a row, and with `against` by 16 a word.
    Raises DataError where there is no file.
    """
    copies = Counter[int]()
    seen, bad = Seen(copies=copies if against else None), LeftOut()
    began = perf_counter()
    sources = named_sources(paths)
    shape = _shape(task, columns, languages) if task else None

    def texts(files: Sequence[tuple[str, Source]], counted: Seen, bad: LeftOut) -> Iterator[Text]:
        # Jobs for a task read what they train on first: its columns are looked for in the other splits too.
        for split, source in sorted(files, key=lambda file: bool(shape) and file[0] != "train"):
            try:
                read = _examples(source, split, shape, counted, bad) if shape else _documents(source, text_column, bad)
                for place, text in read:
                    counted.take(text)
                    if counted.rows % EVERY == 0:
                        rate = counted.rows / (perf_counter() - began)
                        watch("rows", {"done": counted.rows, "rows": None, "rows_per_second": rate})
                    yield place, text
            except DataError as error:
                # The file cannot be read on; those after it can.
                bad(error)

    held, shared = texts(sources, seen, bad), dict[str, Any]()
    if against:
        lost, other = LeftOut(), Seen(known=seen.hashes)
        # What is held out is read whole before the first row of these.
        train = texts(named_sources(against), other, lost)
        overlap = find_overlap(held, train).to_json()
        deque(train, maxlen=0)
        same = sum(1 + copies[key] for key in other.same)
        shared = {"overlap": {**overlap, "same": same}, "bad_against": lost.to_json()}
    deque(held, maxlen=0)
    _whole(seen, bad, paths)
    size = sum(source.path.stat().st_size for _, source in sources)
    return _report(seen, bad, size=size, seconds=perf_counter() - began) | shared


def _shape(task: Task, columns: Mapping[str, str], languages: tuple[str | None, str | None]) -> Shape:
    return Shape(
        roles=task.columns, shapes=task.complete, given=columns, source_lang=languages[0], target_lang=languages[1],
        by_place=task.by_place, writes=task.writes,
    )  # fmt: skip


def _examples(source: Source, split: str, shape: Shape, seen: Seen, bad: LeftOut) -> Iterator[Text]:
    rows, first = read_records(source, on_bad=bad), next(iter(seen.columns.values()), None)
    for example, mapping in read_examples(rows, shape=shape, mapping=seen.columns.get(split), like=first, on_bad=bad):
        seen.columns[split] = mapping
        if wrong := row_problem(example, mapping):
            bad(wrong)
            continue
        label = example.values.get("label")
        if label is not None and (label in seen.labels or len(seen.labels) < MOST_LABELS):
            seen.labels[label] += 1
        yield example.where, text_of(example.values, SEEN)


def _documents(source: Source, text_column: str | None, bad: LeftOut) -> Iterator[Text]:
    unit, _ = choose_unit(source)
    for document in read_documents(source, unit=unit, text_column=text_column, on_bad=bad):
        yield f"{document.file}, line {document.line}", document.text


def _whole(seen: Seen, bad: LeftOut, paths: Sequence[str]) -> None:
    """Add what is wrong with the rows as a whole."""
    if not seen.rows and not bad.count:
        bad(DataError(f"{paths[0]} holds no row.", fix="Name a file with rows."))
    if len(seen.labels) == 1 and not bad.count:
        problem = f"{paths[0]}: all {seen.rows:,} rows have the label {next(iter(seen.labels))!r}."
        bad(DataError(problem, fix="Give rows of two classes or more; are they sorted by label and cut?"))


def _report(seen: Seen, bad: LeftOut, *, size: int, seconds: float) -> dict[str, Any]:
    return {
        "rows": seen.rows,
        "bad": bad.to_json(),
        "columns": next(iter(seen.columns.values()), {}),
        "labels": dict(seen.labels.most_common()),
        "duplicates": seen.duplicates,
        "characters": seen.characters,
        "bytes": size,
        "seconds": round(seconds, 3),
    }
