"""Scores by group of rows, and whether the groups differ by more than chance."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hflm.data.examples import Example
from hflm.data.records import read_records
from hflm.data.sources import find_sources
from hflm.errors import DataError
from hflm.metrics.registry import score
from hflm.stressing.subject import read_text

# Groups that are shown, the rest is one; and rows that a group needs to be judged by.
MOST, FEWEST = 30, 10
REST = "(others)"
DRAWS = 2000


def read_groups(data: Sequence[str], column: str) -> list[str]:
    """Return the group of every row, from a column; raises DataError where a row lacks it."""
    found = []
    for record in (record for source in find_sources(data) for record in read_records(source)):
        value = record.values.get(column)
        if value is None or isinstance(value, (list, dict)) or not str(value).strip():
            near = difflib.get_close_matches(column, list(record.values), 1)
            fix = f"Did you mean {near[0]!r}?" if near and column not in record.values else "Give every row a group."
            raise DataError(f"{record.where}: no group in column {column!r}.", fix=fix)
        found.append(str(value))
    kept = {name for name, _ in Counter(found).most_common(MOST)}
    return [name if name in kept else REST for name in found]


def by_length(examples: Sequence[Example]) -> list[str]:
    """Put rows into four groups by the length of what is read, as even as equal lengths allow."""
    lengths = np.array([len(read_text(example) or "") for example in examples])
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="lower"))
    places = np.searchsorted(edges, lengths)
    names = {}
    for place in np.unique(places):
        own = lengths[places == place]
        names[int(place)] = f"{own.min()} to {own.max()} characters"
    return [names[int(place)] for place in places]


def by_group(
    names: Sequence[str], predictions: Sequence[Any], references: Sequence[Any], *, metric: str, primary: str,
    options: Mapping[str, Any], in_order: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return every group's scores with their intervals; of classes also how often chance makes such a gap.

    The gap is that between the best and the worst group of ten rows or more. Its p-value is the share of draws, with
    rows dealt to groups at random, in which it is as large: it takes into account that the best and the worst of many
    groups differ by chance alone.
    """
    order = list(dict.fromkeys(names)) if in_order else [name for name, _ in Counter(names).most_common()]
    groups = {}
    for name in order:
        places = [place for place, own in enumerate(names) if own == name]
        found = score(
            metric, predictions=[predictions[p] for p in places], references=[references[p] for p in places], **options
        )
        groups[name] = {"rows": len(places), "scores": found.to_json()["scores"], "few": len(places) < FEWEST}
    judged = {name: group["scores"][primary]["value"] for name, group in groups.items() if not group["few"]}
    result: dict[str, Any] = {"score": primary, "groups": groups}
    if len(judged) > 1:
        worst, best = min(judged, key=lambda n: judged[n]), max(judged, key=lambda n: judged[n])
        result |= {"lowest": worst, "highest": best, "gap": judged[best] - judged[worst]}
        if metric == "classification":
            kept = [place for place, name in enumerate(names) if name in judged]
            right = np.array([predictions[place] == references[place] for place in kept], dtype=np.float64)
            result["p_value"] = _chance_of_gap([names[place] for place in kept], right)
    return result


def _chance_of_gap(names: Sequence[str], right: Any) -> float:
    _, own = np.unique(np.array(names), return_inverse=True)
    sizes = np.bincount(own)

    def gap(values: Any) -> float:
        shares = np.bincount(own, weights=values) / sizes
        return float(shares.max() - shares.min())

    seen, draw = gap(right), np.random.Generator(np.random.Philox(key=[0, 59]))
    # A hair's breadth, for sums in another order differ in their last bits.
    hits = sum(gap(draw.permutation(right)) >= seen - 1e-12 for _ in range(DRAWS))
    return (hits + 1) / (DRAWS + 1)
