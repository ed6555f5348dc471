"""Numbers that came before, in a fraction of the memory of a set: its objects alone take 48 bytes each."""

from array import array

import numpy as np
from numpy.typing import NDArray

# Places of a table at first, and those that are moved at once when it grows.
FIRST, BLOCK = 1 << 10, 1 << 16


class Seen:
    """A table of numbers below 2**64 that were added: 12 to 24 bytes for each, and 36 while it doubles.

    The place of a number is given by its last bits, and where that is taken it is the next free one (Knuth, The Art of
    Computer Programming, 6.4, linear probing). So numbers must be spread as those of a hash are.
    """

    def __init__(self) -> None:
        self._places = array("Q", [0]) * FIRST
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return self._places[self._place(number or 1)] != 0

    def _place(self, number: int) -> int:
        """Return where a number stands, or the free place that it would take."""
        places, last = self._places, len(self._places) - 1
        place = number & last
        while (found := places[place]) and found != number:
            place = (place + 1) & last
        return place

    def add(self, number: int) -> bool:
        """Remember a number, and say whether it is new; 0, which marks a free place, is taken for 1."""
        places, number = self._places, number or 1
        place = self._place(number)
        if places[place]:
            return False
        places[place] = number
        self._count += 1
        # Fuller than two thirds, and the way to a free place gets long.
        if 3 * self._count > 2 * len(places):
            self._double()
        return True

    def _double(self) -> None:
        places = array("Q", [0]) * (2 * len(self._places))
        old, new = np.frombuffer(self._places, np.uint64), np.frombuffer(places, np.uint64)
        for start in range(0, len(old), BLOCK):
            block = old[start : start + BLOCK]
            _fill(new, block[block != 0])
        self._places = places


def _fill(table: NDArray[np.uint64], numbers: NDArray[np.uint64]) -> None:
    """Put different numbers into a table; each round all of them try, and those whose place was taken go on by one."""
    last = len(table) - 1
    places = (numbers & np.uint64(last)).astype(np.int64)
    while len(numbers):
        free = table[places] == 0
        table[places[free]] = numbers[free]
        left = table[places] != numbers
        numbers, places = numbers[left], (places[left] + 1) & last
