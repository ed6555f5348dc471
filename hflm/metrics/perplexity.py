"""Perplexity from the loss of each row: exp of the mean over all its tokens, not over rows."""

import math
from collections.abc import Sequence

import numpy as np

from hflm.errors import DataError, NumericsError
from hflm.metrics.result import Statistics, Vector


def perplexity(predictions: Sequence[tuple[float, int]], references: Sequence[object]) -> Statistics:
    """Return statistics of rows given as (summed loss in nats, tokens); `references` only says how many there are."""
    if len(predictions) != len(references):
        raise ValueError("as many rows as references")
    rows = np.asarray(predictions, dtype=np.float64).reshape(-1, 2)
    broken = np.flatnonzero(~np.isfinite(rows[:, 0]))
    if len(broken):
        raise NumericsError(
            f"The loss of row {broken[0] + 1} is {rows[broken[0], 0]}.", fix="Train at a lower rate, or in fp32."
        )
    if not rows[:, 1].sum():
        raise DataError("No row has a token to predict.", fix="Give longer rows.")

    def scores(sums: Vector) -> dict[str, float]:
        loss = sums[0] / max(sums[1], 1)
        return {"perplexity": math.exp(min(loss, 50.0)), "loss": float(loss)}

    return Statistics(rows, scores)
