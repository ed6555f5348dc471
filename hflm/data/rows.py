"""Packed rows on disk, mapped into memory: as many tokens as the disk holds, in the memory of a page."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hflm.cache import staged
from hflm.data.packing import PADDING, Frame, Row, pack

# Part of every cache key: raise it when the encoding of rows changes.
FORMAT = 2
# Part of the name of every folder of rows, and of no key, which runs are resumed by: raise it when the files change.
LAYOUT = 4
# Texts that are encoded at once, and their characters: one alone may have more.
BATCH, CHARACTERS = 512, 1_000_000
# Ids that are written, and counted, at once.
BLOCK = 1 << 18

Encode = Callable[[list[str]], list[list[int]]]
Notes = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Tally:
    """How many tokens some rows hold, padding left out, and how often each id stands in them, padding included [V]."""

    tokens: int
    ids: NDArray[np.int64]

    def plus(self, other: "Tally") -> "Tally":
        """Return the tally of these rows and of others."""
        ids = np.zeros(max(len(self.ids), len(other.ids)), np.int64)
        ids[: len(self.ids)] = self.ids
        ids[: len(other.ids)] += other.ids
        return Tally(self.tokens + other.tokens, ids)

    def minus(self, part: "Tally") -> "Tally":
        """Return the tally of these rows without a part of them."""
        ids = self.ids.copy()
        ids[: len(part.ids)] -= part.ids
        return Tally(self.tokens - part.tokens, ids)


NOTHING = Tally(0, np.zeros(0, np.int64))


def count(ids: NDArray[np.int32], segments: NDArray[np.int16]) -> Tally:
    """Count rows of token ids and of piece numbers [N, T]."""
    return Tally(int((segments != PADDING).sum()), np.bincount(ids.ravel()))


@dataclass(frozen=True)
class Rows:
    """Rows of token ids [N, T] and of piece numbers [N, T] (-1 is padding), read-only.

    `known` is what was counted when they were written. To count them again reads all of them, and a page that was
    read counts as memory of the process.
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.int16]
    known: Tally | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Row:
        return Row(self.ids[index], self.segments[index])

    @cached_property
    def tally(self) -> Tally:
        """What they hold, counted now where it is not known."""
        if self.known is not None:
            return self.known
        tally = NOTHING
        for start in range(0, len(self), 4096):
            tally = tally.plus(count(self.ids[start : start + 4096], self.segments[start : start + 4096]))
        return tally

    @property
    def tokens(self) -> int:
        """Number of tokens that are not padding."""
        return self.tally.tokens


def encode_rows(texts: Iterable[str], *, encode: Encode, frame: Frame) -> Iterator[Row]:
    """Tokenize texts in batches and pack them into rows, one at a time."""
    return pack(_encoded(texts, encode), frame=frame)


def _encoded(texts: Iterable[str], encode: Encode) -> Iterator[list[int]]:
    for batch in batches(texts):
        yield from encode(batch)


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Put texts together as far as a batch for encoding may go."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) == BATCH or characters + len(text) > CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch


def write_rows(rows: Iterable[Row], folder: Path, *, max_length: int, notes: Notes = dict) -> Rows:
    """Write rows to `folder` and open them; the folder appears whole or not at all.

    `notes` is called once all rows have come, and what it returns is kept beside them for `read_notes`.
    """
    with staged(folder) as staging:
        _write(rows, staging, max_length=max_length, notes=notes)
    return open_rows(folder)


def _write(rows: Iterable[Row], staging: Path, *, max_length: int, notes: Notes) -> None:
    number, tally, rest = 0, NOTHING, iter(rows)
    with (staging / "ids.bin").open("wb") as ids, (staging / "segments.bin").open("wb") as segments:
        while block := list(itertools.islice(rest, max(1, BLOCK // max_length))):
            joined = np.stack([row.ids for row in block]), np.stack([row.segments for row in block])  # [N, T] each
            ids.write(joined[0].tobytes())
            segments.write(joined[1].tobytes())
            number, tally = number + len(block), tally.plus(count(*joined))
    # `tofile` loses the reason of what it cannot write, and up to a buffer of it is lost without a word.
    (staging / "counts.bin").write_bytes(tally.ids.tobytes())
    shape = {"rows": number, "max_length": max_length, "tokens": tally.tokens}
    (staging / "shape.json").write_text(json.dumps(shape))
    (staging / "notes.json").write_text(json.dumps(notes()))


def open_rows(folder: Path) -> Rows:
    """Map the rows of `folder` into memory."""
    shape = json.loads((folder / "shape.json").read_text())
    size = (shape["rows"], shape["max_length"])
    known = Tally(shape["tokens"], np.fromfile(folder / "counts.bin", np.int64))
    if not shape["rows"]:
        return Rows(np.empty(size, np.int32), np.empty(size, np.int16), known)
    return Rows(
        np.memmap(folder / "ids.bin", np.int32, "r", shape=size),
        np.memmap(folder / "segments.bin", np.int16, "r", shape=size),
        known,
    )


def check_rows(folder: Path) -> None:
    """Raise an error where the rows of a folder do not open, or its files are not as long as they should be."""
    rows, _ = open_rows(folder), read_notes(folder)
    if rows.known is None or rows.known.ids.sum() != rows.ids.size:
        raise ValueError("counts.bin counts other rows")
    for name, array in (("ids.bin", rows.ids), ("segments.bin", rows.segments)):
        if (folder / name).stat().st_size != array.nbytes:
            raise ValueError(f"{name} does not hold {array.nbytes:,} bytes")


def read_notes(folder: Path) -> dict[str, Any]:
    """Read what was noted when the rows of `folder` were written."""
    notes: dict[str, Any] = json.loads((folder / "notes.json").read_text())
    return notes


def cache_key(**parts: Any) -> str:
    """Hash everything that the cached content depends on."""
    content: Mapping[str, Any] = {"format": FORMAT, **parts}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:24]
