"""Accuracy, macro F1 and Matthews' correlation from what each class adds, and the table of confusions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hflm.metrics.result import Statistics, Vector

# With more classes than this the confusions are listed, those that occur: a table would grow by their square.
MOST_IN_TABLE = 1000


def classification(
    predictions: Sequence[str], references: Sequence[str], *, labels: Sequence[str] | None = None
) -> Statistics:
    """Return statistics of predicted classes; `labels` fixes their order, and others follow.

    Every row counts in three cells of 3C + 1: its class as predicted, as wanted, and, where both are one, as right.
    """
    first = list(labels or ())
    names = [*first, *sorted({*predictions, *references}.difference(first))]
    numbers = {name: number for number, name in enumerate(names)}
    size = len(names)
    said = np.array([numbers[name] for name in predictions])
    wanted = np.array([numbers[name] for name in references])
    cells = np.stack([said, size + wanted, np.where(said == wanted, 2 * size + said, 3 * size)], axis=1)
    found = Statistics(cells, _scores, cells=3 * size + 1, hits={"accuracy": said == wanted})
    sums = found.total(np.ones(len(found)))
    rows = sums[size : 2 * size]
    per_class = {
        name: {"precision": p, "recall": r, "f1": f, "rows": int(n)}
        for name, p, r, f, n in zip(names, *(values.tolist() for values in _f1(sums)), rows, strict=True)
    }
    return replace(found, details={"labels": names, **_confusions(said, wanted, names), "per_class": per_class})


def _confusions(said: NDArray[Any], wanted: NDArray[Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the table [reference][prediction] of counts, or of many classes [reference, prediction, count]."""
    size = len(names)
    pairs = Counter(zip(wanted.tolist(), said.tolist(), strict=True))
    if size > MOST_IN_TABLE:
        return {"confusions": [[names[one], names[other], count] for (one, other), count in pairs.most_common()]}
    table = [[0] * size for _ in names]
    for (one, other), count in pairs.items():
        table[one][other] = count
    return {"confusion": table}


def _parts(sums: Vector) -> tuple[Vector, Vector, Vector]:
    """Return how often each class [C] was predicted, wanted and right."""
    predicted, wanted, right = sums[:-1].reshape(3, -1)
    return predicted, wanted, right


def _scores(sums: Vector) -> dict[str, float]:
    predicted, wanted, hits = _parts(sums)
    total, right = wanted.sum(), hits.sum()
    # A class that neither occurs nor is predicted says nothing (as scikit-learn counts them).
    present = (predicted + wanted) > 0
    f1 = _f1(sums)[2][present]
    spread = np.sqrt((total**2 - predicted @ predicted) * (total**2 - wanted @ wanted))
    matthews = (right * total - predicted @ wanted) / spread if spread > 0 else 0.0
    return {"accuracy": float(right / total), "macro_f1": float(f1.mean()), "matthews": float(matthews)}


def _f1(sums: Vector) -> tuple[Vector, Vector, Vector]:
    """Return precision, recall and F1 [C] of each class; 0 where nothing was predicted, or nothing is there."""
    predicted, wanted, right = _parts(sums)
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    recall = np.divide(right, wanted, out=np.zeros_like(right), where=wanted > 0)
    both = predicted + wanted
    return precision, recall, np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
