"""Documents into rows of equal length: no padding but at the very end, nothing lost, nothing mixed.

A document longer than a row is cut into pieces, each with its own special tokens. Pieces of several
documents share a row, and `segments` tells them apart, so that attention never crosses from one to
another. The tail is kept: a last row may be shorter than the others and is padded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PADDING = -1


@dataclass(frozen=True)
class Row:
    """One row: token ids [T] and the number of the piece each belongs to [T], -1 for padding."""

    ids: NDArray[np.int32]
    segments: NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How a piece is wrapped: the ids before and after it, the padding id, and the length of a row."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    pad_id: int
    max_length: int
    pack: bool = True

    @property
    def room(self) -> int:
        """Tokens of text that fit in a row."""
        return self.max_length - len(self.before) - len(self.after)


def pack(documents: Iterable[list[int]], *, frame: Frame) -> Iterator[Row]:
    """Fill rows with documents [n] of token ids in their order; with `frame.pack` off, one piece a row.

    Raises ValueError where a row has no room for a token of text.
    """
    if frame.room < 1:
        raise ValueError(f"A row of {frame.max_length} has no room beside {frame.before + frame.after}.")
    open_row: list[list[int]] = []
    used = 0
    for piece in _pieces(documents, frame):
        start = 0
        while start < len(piece):
            room = frame.max_length - used - len(frame.before) - len(frame.after)
            # A few tokens of a document at the end of a row teach little and cost a cut.
            if open_row and (room < min(len(piece) - start, 8) or not frame.pack):
                yield _row(open_row, frame)
                open_row, used = [], 0
                continue
            open_row.append([*frame.before, *piece[start : start + room], *frame.after])
            start += room
            used += len(open_row[-1])
    if open_row:
        yield _row(open_row, frame)


def _pieces(documents: Iterable[list[int]], frame: Frame) -> Iterator[list[int]]:
    for document in documents:
        if frame.pack:
            yield document
        else:
            yield from (document[start : start + frame.room] for start in range(0, len(document), frame.room))


def _row(pieces: list[list[int]], frame: Frame) -> Row:
    ids = np.full(frame.max_length, frame.pad_id, dtype=np.int32)
    segments = np.full(frame.max_length, PADDING, dtype=np.int16)
    start = 0
    for number, piece in enumerate(pieces):
        ids[start : start + len(piece)] = piece
        segments[start : start + len(piece)] = number
        start += len(piece)
    return Row(ids, segments)
