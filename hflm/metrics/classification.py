"""Accuracy, macro F1, Matthews' correlation and the table of confusions, from one table of counts."""

from collections.abc import Sequence

import numpy as np

from hflm.metrics.result import Statistics, Vector


def classification(
    predictions: Sequence[str], references: Sequence[str], *, labels: Sequence[str] | None = None
) -> Statistics:
    """Return statistics of predicted classes; `labels` fixes their order, and others follow."""
    first = list(labels or ())
    names = [*first, *sorted({*predictions, *references}.difference(first))]
    numbers = {name: number for number, name in enumerate(names)}
    size = len(names)
    cells = np.array([numbers[r] * size + numbers[p] for p, r in zip(predictions, references, strict=True)])
    table = np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.float64)  # [reference, prediction]
    per_class = {
        name: {"precision": p, "recall": r, "f1": f, "rows": int(n)}
        for name, p, r, f, n in zip(names, *(values.tolist() for values in _f1(table)), table.sum(1), strict=True)
    }
    details = {"labels": names, "confusion": table.astype(int).tolist(), "per_class": per_class}
    return Statistics(cells, lambda sums: _scores(sums.reshape(size, size)), cells=size * size, details=details)


def _scores(table: Vector) -> dict[str, float]:
    total, right = table.sum(), np.trace(table)
    predicted, wanted = table.sum(0), table.sum(1)
    # A class that neither occurs nor is predicted says nothing (as scikit-learn counts them).
    present = (predicted + wanted) > 0
    f1 = _f1(table)[2][present]
    spread = np.sqrt((total**2 - predicted @ predicted) * (total**2 - wanted @ wanted))
    matthews = (right * total - predicted @ wanted) / spread if spread > 0 else 0.0
    return {"accuracy": float(right / total), "macro_f1": float(f1.mean()), "matthews": float(matthews)}


def _f1(table: Vector) -> tuple[Vector, Vector, Vector]:
    """Return precision, recall and F1 [C] of each class; 0 where nothing was predicted, or nothing is there."""
    right = np.diag(table).astype(np.float64)
    predicted, wanted = table.sum(0), table.sum(1)
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    recall = np.divide(right, wanted, out=np.zeros_like(right), where=wanted > 0)
    both = predicted + wanted
    return precision, recall, np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
