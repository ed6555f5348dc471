"""Packing loses nothing, mixes nothing, and makes no row longer than asked."""

from collections.abc import Iterator
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hflm.data.packing import PADDING, Frame, Row, pack

PAD = 0
documents = st.lists(st.lists(st.integers(10, 99), max_size=40), max_size=30)
frames = st.builds(
    Frame,
    before=st.sampled_from([(), (1,), (1, 2)]),
    after=st.sampled_from([(), (3,)]),
    pad_id=st.just(PAD),
    max_length=st.integers(4, 24),
    pack=st.booleans(),
)


def frame(**values: Any) -> Frame:
    return Frame(**{"before": (1,), "after": (3,), "pad_id": PAD, "max_length": 8, **values})


def pieces(rows: list[Row], frame: Frame) -> list[list[int]]:
    """The pieces of all rows in order, without their special tokens."""
    found = []
    for row in rows:
        for number in range(row.segments.max() + 1):
            ids = row.ids[row.segments == number].tolist()
            assert tuple(ids[: len(frame.before)]) == frame.before
            assert tuple(ids[len(ids) - len(frame.after) :]) == frame.after
            found.append(ids[len(frame.before) : len(ids) - len(frame.after)])
    return found


@given(documents=documents, frame=frames)
def test_nothing_is_lost_and_nothing_is_mixed(documents: list[list[int]], frame: Frame) -> None:
    # No more rows than tokens: an endless loop fails here and does not hang.
    rows = list(islice(pack(documents, frame=frame), 2000))
    assert len(rows) < 2000
    found = pieces(rows, frame)
    assert [token for piece in found for token in piece] == [token for text in documents for token in text]
    # Every document starts a piece of its own: put together, pieces give back the documents.
    left = iter(found)
    for document in filter(None, documents):
        together: list[int] = []
        while len(together) < len(document):
            together += next(left)
        assert together == document
    assert next(left, None) is None


@given(documents=documents, frame=frames)
def test_rows_are_full_but_for_their_end(documents: list[list[int]], frame: Frame) -> None:
    for row in pack(documents, frame=frame):
        assert row.ids.shape == row.segments.shape == (frame.max_length,)
        used = int((row.segments != PADDING).sum())
        assert used >= 1 and (row.segments[used:] == PADDING).all() and (row.ids[used:] == PAD).all()
        steps = np.diff(row.segments[:used])
        assert row.segments[0] == 0 and set(steps.tolist()) <= {0, 1}
        assert frame.pack or row.segments.max() == 0


@given(documents=documents)
def test_little_padding(documents: list[list[int]]) -> None:
    wide = frame(max_length=64)
    rows = list(pack(documents, frame=wide))
    # All but the last row lack at most seven tokens and their frame.
    assert all((row.segments == PADDING).sum() < 7 + 3 for row in rows[:-1])


def with_copies(documents: list[list[int]], frame: Frame) -> Iterator[list[list[int]]]:
    """The pieces of each row as they were packed at first: the rest of a document copied for every row."""
    row: list[list[int]] = []
    for document in documents:
        rest = document
        while rest:
            room = frame.max_length - sum(map(len, row)) - len(frame.before) - len(frame.after)
            room = room if frame.pack or not row else 0
            if row and room < min(len(rest), 8):
                yield row
                row = []
                continue
            row.append([*frame.before, *rest[:room], *frame.after])
            rest = rest[room:]
    if row:
        yield row


@given(documents=documents, frame=frames)
def test_rows_are_those_that_runs_began_with(documents: list[list[int]], frame: Frame) -> None:
    for row, expected in zip(pack(documents, frame=frame), with_copies(documents, frame), strict=True):
        numbers = [number for number, piece in enumerate(expected) for _ in piece]
        padding = frame.max_length - len(numbers)
        assert row.ids.tolist() == [*(token for piece in expected for token in piece), *[PAD] * padding]
        assert row.segments.tolist() == [*numbers, *[PADDING] * padding]


def test_the_time_is_that_of_the_tokens_however_long_a_document() -> None:
    document, seconds = list(range(800_000)), []
    for _ in range(3):
        began = perf_counter()
        rows = sum(1 for _ in pack([document], frame=frame(max_length=128)))
        seconds.append(perf_counter() - began)
    # Copying the rest for every row takes some seconds.
    assert rows == -(-800_000 // 126) and min(seconds) < 1


def test_an_example() -> None:
    first, second = pack([[10, 11, 12], [], [20], [30, 31]], frame=frame(max_length=8))
    assert first.ids.tolist() == [1, 10, 11, 12, 3, 1, 20, 3]
    assert first.segments.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert second.ids.tolist() == [1, 30, 31, 3, 0, 0, 0, 0]
    assert second.segments.tolist() == [0, 0, 0, 0, -1, -1, -1, -1]


def test_a_long_document_is_cut_and_its_tail_kept() -> None:
    rows = list(pack([list(range(10, 27))], frame=frame(max_length=8)))
    assert [row.ids.tolist() for row in rows] == [
        [1, *range(10, 16), 3],
        [1, *range(16, 22), 3],
        [1, *range(22, 27), 3, 0],
    ]


def test_one_piece_a_row() -> None:
    rows = list(pack([[10, 11], [12], list(range(20, 27))], frame=frame(max_length=8, pack=False)))
    assert [int((row.segments == 0).sum()) for row in rows] == [4, 3, 8, 3]
    assert all(row.segments.max() == 0 for row in rows)


@pytest.mark.parametrize("documents", [[], [[]], [[], [], []]])
@pytest.mark.parametrize("together", [True, False])
def test_nothing_makes_no_rows(documents: list[list[int]], together: bool) -> None:
    assert list(pack(documents, frame=frame(pack=together))) == []


def test_one_token_of_room_is_enough() -> None:
    rows = list(islice(pack([[10, 11, 12]], frame=frame(max_length=3)), 10))
    assert [row.ids.tolist() for row in rows] == [[1, 10, 3], [1, 11, 3], [1, 12, 3]]


@pytest.mark.parametrize("length", [0, 1, 2])
def test_no_room_is_refused_and_no_endless_loop(length: int) -> None:
    with pytest.raises(ValueError, match="no room"):
        list(islice(pack([[10, 11]], frame=frame(max_length=length)), 10))
