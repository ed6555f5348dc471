"""A stream read by numbers that only grow."""

from collections.abc import Iterator

import numpy as np
import pytest

from hflm.data.packing import Row
from hflm.data.stream import StreamedRows
from hflm.errors import DataError


def start() -> Iterator[Row]:
    return iter([Row(np.array([n]), np.array([0])) for n in range(3)])


def number(row: Row) -> int:
    return int(row.ids[0])


def test_it_begins_again_where_it_ends() -> None:
    rows = StreamedRows(start, length=8)
    assert len(rows) == 8
    assert [number(rows[n]) for n in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_rows_between_are_skipped() -> None:
    rows = StreamedRows(start, length=100)
    assert [number(rows[n]) for n in (1, 5, 6, 99)] == [1, 2, 0, 0]


def test_no_way_back() -> None:
    rows = StreamedRows(start, length=8)
    rows[4]
    with pytest.raises(IndexError, match="Row 4 .* the next is 5"):
        rows[4]


def test_an_empty_stream() -> None:
    with pytest.raises(DataError, match="holds no text"):
        StreamedRows(lambda: iter(()), length=8)[0]
