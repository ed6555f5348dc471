"""Rows read while training, for data larger than the disk: the same order in every run and on every rank."""

from collections.abc import Callable, Iterator

from hflm.data.packing import Row
from hflm.errors import DataError


class StreamedRows:
    """Rows by a number that only grows: row k is the k-th of the stream, read again from the start when it ends.

    Asking for a row further on skips those between, which is how a resumed run finds its place and how
    each of several processes takes its share. `length` is the number of rows that the run will ask for.
    """

    def __init__(self, start: Callable[[], Iterator[Row]], *, length: int) -> None:
        self._start = start
        self._rows = iter(())  # type: Iterator[Row]
        self._next = 0
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Row:
        if index < self._next:
            raise IndexError(f"Row {index} of the stream has gone by; the next is {self._next}.")
        while True:
            row = self._following()
            self._next += 1
            if self._next > index:
                return row

    def _following(self) -> Row:
        for row in self._rows:
            return row
        self._rows = self._start()
        for row in self._rows:
            return row
        raise DataError("The stream holds no text.", fix="Check the files, and what cleaning drops.")
