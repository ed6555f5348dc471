"""F1 of whole entities and accuracy of tags, as seqeval counts them (its default, lenient reading of BIO)."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from hflm.metrics.result import Statistics, Vector

Entity = tuple[str, int, int]
# BIO, BIOES, BMES and BILOU. Tags of other schemes, such as parts of speech, name single words: each is then an entity
# of its own.
SCHEME = re.compile(r"O|[BIESMLU](-.*)?", re.DOTALL)


def tagging(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Statistics:
    """Return statistics of tags: entities found, predicted and wanted, and single tags."""
    rows = np.zeros((len(predictions), 5))
    kinds: dict[str, list[int]] = {}
    spans = all(SCHEME.fullmatch(tag) for tags in (*predictions, *references) for tag in tags)
    read = entities if spans else single_tags
    for number, (predicted, wanted) in enumerate(zip(predictions, references, strict=True)):
        # A row that was cut short has fewer predictions: what is missing was not found.
        padded = [*predicted[: len(wanted)], *["O"] * (len(wanted) - len(predicted))]
        ours, theirs = set(read(padded)), set(read(wanted))
        same = sum(a == b for a, b in zip(padded, wanted, strict=True))
        rows[number] = [len(ours & theirs), len(ours), len(theirs), same, len(wanted)]
        for column, group in enumerate((ours & theirs, ours, theirs)):
            for kind, _, _ in group:
                kinds.setdefault(kind, [0, 0, 0])[column] += 1

    def scores(sums: Vector) -> dict[str, float]:
        right, ours, theirs, same, total = sums
        return {
            "f1": float(2 * right / (ours + theirs)) if ours + theirs else 0.0,
            "precision": float(right / ours) if ours else 0.0,
            "recall": float(right / theirs) if theirs else 0.0,
            "accuracy": float(same / total) if total else 0.0,
        }

    per_class = {
        kind: {"f1": 2 * right / (ours + theirs), "entities": theirs} for kind, (right, ours, theirs) in kinds.items()
    }
    return Statistics(
        rows,
        scores,
        details={"entities": "BIO" if spans else "single tags", "per_class": dict(sorted(per_class.items()))},
    )


def single_tags(tags: Sequence[str]) -> Iterator[Entity]:
    """Yield (tag, word, word) for every word that has one; O says that it has none."""
    return ((tag, place, place) for place, tag in enumerate(tags) if tag != "O")


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """Yield (kind, first word, last word); an I- that follows nothing of its kind opens an entity."""
    kind, start = "", 0
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        name = name or ("_" if mark not in ("O", "") else "")
        if mark == "O":
            name = ""
        if kind and (mark in ("B", "S", "U") or name != kind):
            yield kind, start, place - 1
            kind = ""
        if name and not kind:
            kind, start = name, place
        if kind and mark in ("E", "L", "S", "U"):
            yield kind, start, place
            kind = ""
