"""Two models on the same rows: is the difference more than chance? A paired bootstrap (Koehn 2004)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hflm.metrics.registry import statistics
from hflm.metrics.result import Statistics, draws


@dataclass(frozen=True)
class Paired:
    """One score of both, a - b with its 95 % interval, and the two-sided p-value of no difference."""

    score: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float

    @property
    def significant(self) -> bool:
        """True where chance alone gives such a difference in fewer than one of twenty cases."""
        return self.p_value < 0.05


def compare(
    name: str, *, a: Sequence[Any], b: Sequence[Any], references: Sequence[Any], **options: Any
) -> list[Paired]:
    """Compare the predictions of two models; both are scored on the same draws of the rows."""
    ours = statistics(name, predictions=a, references=references, **options)
    theirs = statistics(name, predictions=b, references=references, **options)
    # The numbers of classes hang on which were predicted.
    differ = None if ours.cells is None else sum(one != other for one, other in zip(a, b, strict=True))
    return compare_statistics(ours, theirs, differ=differ)


def compare_statistics(ours: Statistics, theirs: Statistics, *, differ: int | None = None) -> list[Paired]:
    """Compare two models by what each row adds to their scores; both are scored on the same draws of the rows.

    `differ` is the number of rows of which the models say other things; where it is not given, of which they score
    otherwise, as both count scores in one way. For a share of the rows it is those of which one alone is right.
    """
    samples = [(ours.scores(ours.total(w)), theirs.scores(theirs.total(w))) for w in draws(len(ours))]
    whole_a, whole_b = ours.whole(), theirs.whole()
    # Draws of few rows all look alike: no p-value is below that of a sign test on the rows that differ.
    if differ is None:
        differ = int((ours.rows != theirs.rows).reshape(len(ours), -1).any(axis=1).sum())
    found = []
    for key in whole_a:
        apart = int((ours.hits[key] != theirs.hits[key]).sum()) if key in ours.hits else differ
        least = 2.0 ** (1 - apart)
        gaps = np.array([one[key] - two[key] for one, two in samples])
        # A tie speaks for neither side, and so for both: equal predictions are never told apart.
        # The draw that was seen counts as one more: no finite number of draws proves a p-value of 0.
        fewer = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
        p_value = min(1.0, max(least, 2 * (fewer + 1) / (len(gaps) + 1)))
        low, high = np.percentile(gaps, [2.5, 97.5])
        gap = whole_a[key] - whole_b[key]
        found.append(Paired(key, whole_a[key], whole_b[key], gap, float(low), float(high), p_value))
    return found
