"""Is an attribution right? Take the tokens away that it names, and look whether the answer suffers.

The comprehensiveness of DeYoung et al. 2020 (ERASER), against random tokens: if tokens that matter were named, losing
them must cost more than losing as many at random. Tokens are removed, not blanked, so that the check does not share
the baseline of the attribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hflm.explaining.opened import Opened
from hflm.explaining.pieces import Piece
from hflm.explaining.questions import Question
from hflm.explaining.reading import Reading

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
# Logits that are held at once.
AT_ONCE = 2**26


@dataclass(frozen=True)
class Deletion:
    """How far the score falls when tokens go: `removed` of them, those named first, or random ones (mean of orders).

    A fall is in the unit of the question. `top_mean` and `random_mean` are means over `removed`.
    """

    removed: list[int]
    top: list[float]
    random: list[float]
    orders: int

    @property
    def top_mean(self) -> float:
        """The mean fall without the tokens that were named."""
        return sum(self.top) / len(self.top)

    @property
    def random_mean(self) -> float:
        """The mean fall without random tokens."""
        return sum(self.random) / len(self.random)


def delete(
    opened: Opened, pieces: Sequence[Piece], reading: Reading, question: Question, values: Sequence[float], *,
    orders: int = 10, seed: int = 1,
) -> Deletion | None:  # fmt: skip
    """Remove a tenth to half of the text's tokens, by `values` [T] from above and by `orders` random orders.

    Returns None where there are fewer than four tokens to remove from.
    """
    free = [place for place, piece in enumerate(pieces) if not piece.special and place != question.place]
    if len(free) < 4:
        return None
    draw = np.random.default_rng(seed)
    ranked = sorted(free, key=lambda place: -values[place])
    shuffled = [[int(place) for place in draw.permutation(free)] for _ in range(orders)]
    counts = sorted({max(1, round(share * len(free))) for share in SHARES})
    whole = _scores(opened, pieces, reading, question, [[]])[0]
    top, random = [], []
    for count in counts:
        gone = [order[:count] for order in (ranked, *shuffled)]
        first, *others = _scores(opened, pieces, reading, question, gone)
        top.append(whole - first)
        random.append(whole - sum(others) / len(others))
    return Deletion(counts, top, random, orders)


@torch.no_grad()
def _scores(
    opened: Opened, pieces: Sequence[Piece], reading: Reading, question: Question, gone: Sequence[Sequence[int]]
) -> list[float]:  # fmt: skip
    """Return the score without each set of places; the sets are of one size, so that nothing is padded."""
    kept = [[place for place in range(len(pieces)) if place not in set(without)] for without in gone]
    size = int(getattr(opened.model.config, "vocab_size", 1) or 1) if question.place is not None else 1
    at_once = max(1, AT_ONCE // (size * len(kept[0])))
    found: list[float] = []
    for start in range(0, len(kept), at_once):
        rows = kept[start : start + at_once]
        ids = torch.tensor([[pieces[place].id for place in row] for row in rows], device=opened.device)
        more: dict[str, Any] = {}
        if opened.kind == "seq2seq":
            more["decoder_input_ids"] = torch.tensor([reading.written] * len(rows), device=opened.device)
        logits = opened.model(input_ids=ids, attention_mask=torch.ones_like(ids), **more).logits.float()
        for number, row in enumerate(rows):
            moved = None if question.place is None else row.index(question.place)
            found.append(float(question.score(logits[number : number + 1], moved)))
    return found
