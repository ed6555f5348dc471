"""Packed rows on disk, mapped into memory: as many tokens as the disk holds, in the memory of a page."""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hflm.data.packing import PADDING, Frame, Row, pack

# Part of every cache key: raise it when the encoding of rows changes.
FORMAT = 2
BATCH = 512

Encode = Callable[[list[str]], list[list[int]]]


@dataclass(frozen=True)
class Rows:
    """Rows of token ids [N, T] and of piece numbers [N, T] (-1 is padding), read-only."""

    ids: NDArray[np.int32]
    segments: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Row:
        return Row(self.ids[index], self.segments[index])

    @property
    def tokens(self) -> int:
        """Number of tokens that are not padding."""
        return int(sum((self.segments[start : start + 4096] != PADDING).sum() for start in range(0, len(self), 4096)))


def encode_rows(texts: Iterable[str], *, encode: Encode, frame: Frame) -> Iterator[Row]:
    """Tokenize texts in batches and pack them into rows, one at a time."""
    return pack(_encoded(iter(texts), encode), frame=frame)


def _encoded(texts: Iterator[str], encode: Encode) -> Iterator[list[int]]:
    while batch := list(itertools.islice(texts, BATCH)):
        yield from encode(batch)


def write_rows(rows: Iterable[Row], folder: Path, *, max_length: int) -> Rows:
    """Write rows to `folder` and open them; the folder appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    staging.mkdir(exist_ok=True)
    count = 0
    with (staging / "ids.bin").open("wb") as ids, (staging / "segments.bin").open("wb") as segments:
        for row in rows:
            ids.write(row.ids.tobytes())
            segments.write(row.segments.tobytes())
            count += 1
    (staging / "shape.json").write_text(json.dumps({"rows": count, "max_length": max_length}))
    if not folder.exists():
        staging.rename(folder)
    return open_rows(folder)


def open_rows(folder: Path) -> Rows:
    """Map the rows of `folder` into memory."""
    shape = json.loads((folder / "shape.json").read_text())
    size = (shape["rows"], shape["max_length"])
    if not shape["rows"]:
        return Rows(np.empty(size, np.int32), np.empty(size, np.int16))
    return Rows(
        np.memmap(folder / "ids.bin", np.int32, "r", shape=size),
        np.memmap(folder / "segments.bin", np.int16, "r", shape=size),
    )


def cache_key(**parts: Any) -> str:
    """Hash everything that the cached content depends on."""
    content: Mapping[str, Any] = {"format": FORMAT, **parts}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:24]
