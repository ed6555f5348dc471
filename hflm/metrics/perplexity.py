"""Perplexity from the loss of each row: exp of the mean over all its tokens, not over rows."""

import math
from collections.abc import Sequence

import numpy as np

from hflm.metrics.result import Statistics, Vector


def perplexity(predictions: Sequence[tuple[float, int]], references: Sequence[object]) -> Statistics:
    """Return statistics of rows given as (summed loss in nats, tokens); `references` only says how many there are."""
    if len(predictions) != len(references):
        raise ValueError("as many rows as references")

    def scores(sums: Vector) -> dict[str, float]:
        loss = sums[0] / max(sums[1], 1)
        return {"perplexity": math.exp(min(loss, 50.0)), "loss": float(loss)}

    return Statistics(np.asarray(predictions, dtype=np.float64).reshape(-1, 2), scores)
