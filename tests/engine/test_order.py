"""The order of rows: every row once an epoch, a function of the seed, and no memory of what was asked before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hflm.data.packing import Row
from hflm.engine.order import LikeLengths, Order, Placed


@given(rows=st.integers(1, 40), total=st.integers(0, 150), seed=st.integers(0, 2**40))
def test_every_row_once_an_epoch(rows: int, total: int, seed: int) -> None:
    places = list(Order(rows, total=total, seed=seed))
    assert len(places) == total == len(Order(rows, total=total, seed=seed))
    assert [epoch for epoch, _ in places] == [n // rows for n in range(total)]
    for start in range(0, total - rows + 1, rows):
        assert sorted(row for _, row in places[start : start + rows]) == list(range(rows))


def test_the_same_each_time_and_the_start_of_any_longer_one() -> None:
    order = Order(30, total=100, seed=3)
    first = list(order)
    np.random.seed(0)  # noqa: NPY002
    assert list(order) == first == list(Order(30, total=500, seed=3))[:100]
    assert first != list(Order(30, total=100, seed=4))
    assert [row for _, row in first[:30]] != [row for _, row in first[30:60]]


def test_not_shuffled() -> None:
    assert list(Order(3, total=5, seed=1, shuffle=False)) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_placed() -> None:
    rows = [Row(np.array([n]), np.array([0])) for n in range(3)]
    item = Placed(rows)[4, 2]  # type: ignore[arg-type]
    assert (item.epoch, item.index, item.row) == (4, 2, rows[2])


def test_no_rows() -> None:
    with pytest.raises(ValueError):
        list(Order(0, total=4, seed=1))


@pytest.mark.parametrize(("rows", "batch"), [(100, 8), (37, 8), (5, 8), (64, 1), (700, 10)])
def test_rows_of_like_length_stand_together_and_none_is_lost(rows: int, batch: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 200, rows)
    places = list(LikeLengths(lengths.tolist(), total=3 * rows, seed=1, batch_size=batch))
    for epoch in range(3):
        assert sorted(row for e, row in places if e == epoch) == list(range(rows))
    assert places == list(LikeLengths(lengths.tolist(), total=3 * rows, seed=1, batch_size=batch))
    assert places[: 2 * rows] == list(LikeLengths(lengths.tolist(), total=2 * rows, seed=1, batch_size=batch))

    def padding(order: list[tuple[int, int]]) -> int:
        batches = [[lengths[row] for _, row in order[at : at + batch]] for at in range(0, len(order), batch)]
        return int(sum(max(group) * len(group) - sum(group) for group in batches))

    shuffled = list(Order(rows, total=3 * rows, seed=1))
    if rows > 4 * batch > 4:
        assert padding(places) < padding(shuffled) / 2
        longest = [max(lengths[row] for _, row in places[at : at + batch]) for at in range(0, rows, batch)]
        assert longest != sorted(longest) and longest != sorted(longest, reverse=True)


def test_a_stream_lays_out_no_numbers() -> None:
    """It counts as a billion rows, of which one after the other is read."""
    order = iter(Order(10**9, total=10**9, seed=1, shuffle=False))
    assert [next(order) for _ in range(3)] == [(0, 0), (0, 1), (0, 2)]
    assert list(Order(3, total=5, seed=1, shuffle=False)) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
