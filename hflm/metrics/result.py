"""What a metric says: scores with intervals, from statistics that add up over rows."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
RESAMPLES = 1000
# 95 % of a normal distribution lie within so many standard deviations.
Z = 1.959964


@dataclass(frozen=True)
class Score:
    """A value and the 95 % interval around it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """The scores of one metric by name, and what else belongs to them: a signature, counts, a table."""

    name: str
    scores: Mapping[str, Score]
    details: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for metrics.json."""
        return {"scores": {name: asdict(score) for name, score in self.scores.items()}, "details": dict(self.details)}


@dataclass(frozen=True)
class Statistics:
    """What every row adds: dense numbers [N, k], or the numbers [N, m] of the cells, of k, in which a row counts.

    `scores` turns the sums [k] over any choice of rows into scores by name. `hits` has, for scores that are a share of
    the rows, which [N] count.
    """

    rows: NDArray[Any]
    scores: Callable[[Vector], dict[str, float]]
    cells: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    hits: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def total(self, weights: Vector) -> Vector:
        """Sum the rows, each counted `weights` [N] times."""
        if self.cells is not None:
            each = np.repeat(weights, self.rows.shape[1])
            return np.bincount(self.rows.ravel(), weights=each, minlength=self.cells).astype(np.float64)
        return np.asarray(weights @ self.rows, dtype=np.float64)

    def whole(self) -> dict[str, float]:
        """Return the scores over all rows, once each."""
        return self.scores(self.total(np.ones(len(self))))


def share(hits: int, rows: int) -> Score:
    """Return hits / rows with Wilson's interval (1927), which is right for shares near 0 and 1 and for few rows."""
    if not rows:
        return Score(0.0, 0.0, 1.0)
    part, square = hits / rows, Z * Z / rows
    middle = (part + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(part * (1 - part) / rows + square / (4 * rows))
    return Score(part, max(0.0, min(part, middle - half)), min(1.0, max(part, middle + half)))


def draws(rows: int, *, seed: int = 0, resamples: int = RESAMPLES) -> Iterator[Vector]:
    """Yield how often each row is drawn in each bootstrap sample (Efron 1979); the same for the same seed."""
    draw = np.random.Generator(np.random.Philox(key=[seed, 31]))
    for _ in range(resamples):
        yield np.bincount(draw.integers(rows, size=rows), minlength=rows).astype(np.float64)


def with_intervals(name: str, statistics: Statistics, *, seed: int = 0) -> Result:
    """Score all rows, with the 2.5th and 97.5th percentile over bootstrap samples of them, and shares with Wilson's.

    Of rows that are all right, or of one row, every sample is the same, and would have an interval of no width.
    """
    whole = statistics.whole()
    samples = [statistics.scores(statistics.total(weights)) for weights in draws(len(statistics), seed=seed)]
    scores = {}
    for key, value in whole.items():
        if key in statistics.hits:
            scores[key] = share(int(statistics.hits[key].sum()), len(statistics))
            continue
        low, high = np.percentile([sample[key] for sample in samples], [2.5, 97.5])
        # On a handful of rows the percentiles may miss the value itself.
        scores[key] = Score(value, float(min(low, value)), float(max(high, value)))
    return Result(name, scores, statistics.details)
