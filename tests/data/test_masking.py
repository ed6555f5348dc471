"""Masks are a function of (seed, epoch, row): repeatable, 80/10/10, and never on a special token."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hflm.data.masking import EVAL_PROBABILITY, Masking, mask_row
from hflm.data.packing import Row
from hflm.families.family import Item
from hflm.families.language_model import MaskedLM

VOCABULARY, SPECIALS, MASK = 200, 5, 4
SPECIAL = np.arange(VOCABULARY) < SPECIALS
# Ids of 150 and more go on with the word before them.
CONTINUATION = np.arange(VOCABULARY) >= 150
MASKING = Masking(probability=0.3, mask_id=MASK, special=SPECIAL, seed=1)
ROW = np.array([2, *range(5, 195), 3, 0, 0], dtype=np.int64)
rows = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=60).map(lambda ids: np.array(ids, np.int64))


def outcome(masking: Masking, *, epoch: int = 0, index: int = 0, row: Any = ROW) -> tuple[list[int], list[int]]:
    fed, positions = mask_row(row, masking=masking, epoch=epoch, index=index)
    return fed.tolist(), positions.tolist()


def test_the_same_for_the_same_seed_epoch_and_row_whatever_was_drawn_before() -> None:
    first = outcome(MASKING, epoch=2, index=7)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    outcome(MASKING, epoch=0, index=0)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert outcome(MASKING, epoch=2, index=7) == first
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_another_seed_epoch_or_row_is_another_mask() -> None:
    keys = [(seed, epoch, index) for seed in (1, 2) for epoch in (0, 1, 2) for index in (0, 1, 2)]
    found = [str(outcome(replace(MASKING, seed=seed), epoch=epoch, index=index)) for seed, epoch, index in keys]
    assert len(set(found)) == len(keys)


def test_the_row_given_is_not_changed() -> None:
    before = ROW.copy()
    outcome(MASKING)
    assert (before == ROW).all()


@pytest.mark.parametrize("probability", [0.15, 0.3, 0.5])
def test_shares(probability: float) -> None:
    masking = replace(MASKING, probability=probability)
    masked = kept = chosen = 0
    counts = np.zeros(VOCABULARY)
    number = 400
    for index in range(number):
        fed, positions = mask_row(ROW, masking=masking, epoch=0, index=index)
        chosen += positions.size
        masked += int((fed[positions] == MASK).sum())
        kept += int((fed[positions] == ROW[positions]).sum())
        swapped = positions[(fed[positions] != MASK) & (fed[positions] != ROW[positions])]
        counts[fed[swapped]] += 1
    tokens = 190 * number

    def near(found: float, expected: float, total: int) -> bool:
        # Five standard deviations of a binomial.
        return abs(found - expected * total) < 5 * (expected * (1 - expected) * total) ** 0.5

    assert near(chosen, probability, tokens)
    assert near(masked, 0.8, chosen) and near(kept, 0.1 + 0.1 / 195, chosen)
    # What is swapped in is any ordinary token, and each about as often.
    assert counts[:SPECIALS].sum() == 0 and (counts[SPECIALS:] > 0).mean() > 0.95
    assert counts.max() < 6 * counts[SPECIALS:].mean() + 10


@given(
    row=rows, seed=st.integers(0, 2**31), epoch=st.integers(0, 1000), index=st.integers(0, 2**39), whole=st.booleans()
)
def test_specials_stay_and_every_row_has_something_to_learn(
    row: Any, seed: int, epoch: int, index: int, whole: bool
) -> None:
    masking = replace(MASKING, seed=seed, probability=0.05, continuation=CONTINUATION if whole else None)
    fed, positions = mask_row(row, masking=masking, epoch=epoch, index=index)
    untouched = np.ones(row.size, bool)
    untouched[positions] = False
    assert (fed[untouched] == row[untouched]).all()
    assert not SPECIAL[row[positions]].any()
    assert positions.tolist() == sorted(set(positions.tolist()))
    assert len(positions) >= 1 or SPECIAL[row].all()


def words(row: Any) -> list[list[int]]:
    """The positions of each word, told the plain way."""
    found: list[list[int]] = []
    for place, token in enumerate(row.tolist()):
        if SPECIAL[token]:
            found.append([])
        elif CONTINUATION[token] and found and found[-1]:
            found[-1].append(place)
        else:
            found.append([place])
    return [word for word in found if word]


@given(row=rows, index=st.integers(0, 10_000), probability=st.sampled_from([0.02, 0.3, 0.9]))
def test_whole_words_are_masked_whole(row: Any, index: int, probability: float) -> None:
    masking = replace(MASKING, continuation=CONTINUATION, probability=probability)
    chosen = set(mask_row(row, masking=masking, epoch=0, index=index)[1].tolist())
    for word in words(row):
        assert chosen.issuperset(word) or chosen.isdisjoint(word)


def test_whole_words_are_as_often_masked_as_tokens() -> None:
    masking = replace(MASKING, continuation=CONTINUATION)
    row = np.tile(np.array([10, 160, 170, 20, 30, 151]), 30).astype(np.int64)
    share = np.mean([mask_row(row, masking=masking, epoch=0, index=n)[1].size / row.size for n in range(300)])
    assert abs(share - 0.3) < 0.02


@pytest.mark.parametrize("change", [{"seed": 9}, {"probability": 0.9}, {"continuation": CONTINUATION}])
def test_evaluation_masks_are_the_same_in_every_run(change: dict[str, Any]) -> None:
    items = [Item(Row(ROW.astype(np.int32), np.zeros(ROW.size, np.int16)), epoch=0, index=n) for n in range(40)]
    usual = MaskedLM(MASKING).collate_eval(items)
    changed = MaskedLM(replace(MASKING, **change)).collate_eval([replace(item, epoch=3) for item in items])
    assert usual.keys() == changed.keys()
    assert all(torch.equal(usual[name], changed[name]) for name in usual)
    assert abs(usual["labels"].numel() / (40 * 190) - EVAL_PROBABILITY) < 0.03
