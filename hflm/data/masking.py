"""Which tokens a masked language model must predict: a function of (seed, epoch, row), of nothing else.

No global random state is read or moved, so a resumed run, another split of the batch, or a worker
process sees exactly the masks of the straight run.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Evaluation masks do not follow the seed of the run, so that the losses of two runs compare.
EVAL_SEED = 20_260_101
EVAL_PROBABILITY = 0.15

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Masking:
    """How tokens are masked; 80 % [MASK], 10 % random, 10 % kept (Devlin et al. 2019, 3.1).

    `special` [V] marks ids that are never masked nor drawn; `continuation` [V] marks ids that go on
    with the word before them, and is given for whole-word masking only.
    """

    probability: float
    mask_id: int
    special: Flags
    continuation: Flags | None = None
    seed: int


def mask_row(row: Ids, *, masking: Masking, epoch: int, index: int) -> tuple[Ids, NDArray[np.int64]]:
    """Mask one row [T] of token ids: the ids to feed [T], and the masked positions [M] in order."""
    draw = np.random.Generator(np.random.Philox(key=[masking.seed, (epoch << 40) + index]))
    allowed = ~masking.special[row]
    chosen = _choose(row, allowed, masking=masking, draw=draw)
    positions = np.flatnonzero(chosen)
    fed = row.copy()
    fate = draw.random(positions.size)
    fed[positions[fate < 0.8]] = masking.mask_id
    swapped = positions[(fate >= 0.8) & (fate < 0.9)]
    ordinary = np.flatnonzero(~masking.special)
    fed[swapped] = ordinary[draw.integers(0, ordinary.size, swapped.size)]
    return fed, positions


def _choose(row: Ids, allowed: Flags, *, masking: Masking, draw: np.random.Generator) -> Flags:
    if masking.continuation is None:
        units = np.arange(row.size)
    else:
        # A word starts at every token that does not go on with the one before it.
        starts = ~masking.continuation[row] | ~allowed | np.roll(~allowed, 1)
        units = np.cumsum(starts) - 1
    chosen: Flags = (draw.random(row.size) < masking.probability)[units] & allowed
    if not chosen.any() and allowed.any():
        # A row always has something to learn: one unit is drawn where none was chosen.
        unit = units[draw.choice(np.flatnonzero(allowed))]
        chosen = (units == unit) & allowed
    return chosen
