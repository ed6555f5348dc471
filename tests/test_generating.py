"""Texts are written in batches of like length."""

from hflm.inference.generating import batches_by_length


def test_batches_hold_all_rows_once_under_their_budget() -> None:
    lengths = [5, 100, 3, 7, 7, 1, 64]
    batches = list(batches_by_length(lengths, budget=64, most=3))
    assert sorted(row for batch in batches for row in batch) == list(range(7))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 64 for batch in batches)
    assert all(len(batch) <= 3 for batch in batches) and batches[0] == [1]
