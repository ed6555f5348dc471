"""A table of numbers says what a set of them would say, and takes less memory."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hflm.data import seen as table
from hflm.data.seen import FIRST, Seen

# Numbers that fall on the same places, at the end of the table too, and any others.
numbers = st.one_of(
    st.integers(1, 2**64 - 1),
    st.builds(lambda low, high: low + (high << 32), st.sampled_from([0, 1, 2, FIRST - 1]), st.integers(1, 50)),
)


@given(added=st.lists(numbers, max_size=300))
def test_as_a_set(added: list[int]) -> None:
    seen, known = Seen(), set[int]()
    for number in added:
        assert seen.add(number) == (number not in known)
        known.add(number)
    assert len(seen) == len(known)


def test_it_grows() -> None:
    draw = random.Random(1)
    # The first fall on few places, and many more are added than there are places.
    added = [(draw.getrandbits(30) << 32) + n % 10 if n < 300 else draw.getrandbits(64) for n in range(60 * FIRST)]
    seen = Seen()
    assert sum(map(seen.add, added)) == len(seen) == len(set(added))
    assert not any(map(seen.add, added))


def test_zero_is_taken_for_one() -> None:
    seen = Seen()
    assert seen.add(0) and not seen.add(0) and not seen.add(1) and seen.add(2)


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "BLOCK", 1 << 10)
    draw, seen = random.Random(1), Seen()
    tracemalloc.start()
    try:
        # The last ones make it double: it takes most then.
        for _ in range(2 * (64 * FIRST) // 3 + 2):
            seen.add(draw.getrandbits(64))
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 24 <= held / len(seen) < 25 and 36 <= most / len(seen) < 40


def test_what_is_in_a_table_is_known() -> None:
    seen, numbers = Seen(), [hash(str(n)) & (1 << 64) - 1 for n in range(5000)]
    for number in numbers[::2]:
        seen.add(number)
    assert all(number in seen for number in numbers[::2])
    assert not any(number in seen for number in numbers[1::2]) and len(seen) == 2500
