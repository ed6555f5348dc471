"""Precision, recall and F1 of triples over all rows (micro), strict and by boundary (Taillé et al. 2020).

strict: head, relation and tail are the same to the letter, types included, where entities name them.
boundary: the relation is the same, and head and tail are the same span of text: types in brackets, capitals and
spaces do not count.
"""

from collections.abc import Sequence

import numpy as np

from hflm.errors import DataError
from hflm.metrics.result import Statistics, Vector
from hflm.triples import Triple, from_line, split_type, tidy

KINDS = ("strict", "boundary")


def triples(predictions: Sequence[str], references: Sequence[str]) -> Statistics:
    """Return statistics of triples written as lines; a prediction that is no such line has none that is right."""
    rows = np.zeros((len(predictions), 2 * 3))
    per_relation: dict[str, list[int]] = {}
    parsed = 0
    for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        wanted = from_line(reference)
        if wanted is None:
            raise DataError(f"Row {number + 1}: the reference {reference!r} is no line of triples.", fix="Mend it.")
        ours = from_line(prediction)
        parsed += ours is not None
        for kind, key in enumerate((_letters, span)):
            found, true = {key(one) for one in ours or ()}, {key(one) for one in wanted}
            rows[number, 3 * kind : 3 * kind + 3] = len(found & true), len(found), len(true)
            if kind == 0:
                _count(per_relation, (found & true, found, true))
    relations = {name: _scores(*counts) | {"triples": counts[2]} for name, counts in sorted(per_relation.items())}

    def scores(sums: Vector) -> dict[str, float]:
        return {
            f"{kind}_{name}": value
            for place, kind in enumerate(KINDS)
            for name, value in _scores(*sums[3 * place : 3 * place + 3]).items()
        }

    details = {"per_relation": relations, "parsed": parsed, "rows": len(rows)}
    return Statistics(rows, scores, details=details)


def _count(per_relation: dict[str, list[int]], groups: Sequence[set[Triple]]) -> None:
    for column, group in enumerate(groups):
        for _, relation, _ in group:
            per_relation.setdefault(relation, [0, 0, 0])[column] += 1


def _scores(right: float, ours: float, theirs: float) -> dict[str, float]:
    return {
        "f1": float(2 * right / (ours + theirs)) if ours + theirs else 0.0,
        "precision": float(right / ours) if ours else 0.0,
        "recall": float(right / theirs) if theirs else 0.0,
    }


def _letters(triple: Triple) -> Triple:
    head, relation, tail = (tidy(part) for part in triple)
    return head, relation, tail


def span(triple: Triple) -> Triple:
    head, relation, tail = triple
    # A tokenizer of words sets spaces around every hyphen, and writes no capitals.
    ends = ["".join(split_type(tidy(part))[0].casefold().split()) for part in (head, tail)]
    return ends[0], tidy(relation).casefold(), ends[1]
