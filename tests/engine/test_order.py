"""The order of rows: every row once an epoch, a function of the seed, and no memory of what was asked before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hflm.data.packing import Row
from hflm.engine.order import Order, Placed


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
