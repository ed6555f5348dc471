"""Rows of the evaluation that were trained on: those that share thirteen words in a row with a training row.

Thirteen as in GPT-3 (Brown et al. 2020, appendix C). A script that writes no spaces has a word for each character.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH = 13
# Words that stand in more held-out rows than this are a phrase of the trade, as an instruction: they tell nothing.
COMMON = 10
# Thai, Lao, Khmer, Burmese, Japanese, Chinese: no spaces between words.
ALONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{ALONE}]|[^\W{ALONE}]+")
ROUND = 4096
FACTOR = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Overlap:
    """How many rows share words with training, of how many that are long enough; and one such pair of places."""

    rows: int
    judged: int
    example: tuple[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as data."""
        return {"rows": self.rows, "judged": self.judged, "example": list(self.example or ())}


def find_overlap(held: Iterable[tuple[str, str]], train: Iterable[tuple[str, str]]) -> Overlap:
    """Return how many held-out rows share thirteen words with a training row; rows are (place, text).

    What is held out is kept as hashes; the training rows go by one round at a time.
    """
    places, owners, hashes = [], [], []
    for row, (place, text) in enumerate(held):
        grams = grams_of([text])[0]
        places.append(place)
        owners.append(np.full(len(grams), row))
        hashes.append(grams)
    judged = sum(len(grams) > 0 for grams in hashes)
    if not judged:
        return Overlap(0, 0)
    every, owner = np.concatenate(hashes), np.concatenate(owners)
    order = np.lexsort((owner, every))
    every, owner = _without_phrases(every[order], owner[order])
    if not len(every):
        return Overlap(0, judged)
    hit: set[int] = set()
    example = None
    for name, grams in _rounds(train):
        # The place of each gram among the sorted ones: where it is equal, the words are.
        at = np.searchsorted(every, grams)
        at[at == len(every)] = 0
        equal = every[at] == grams
        if equal.any():
            example = example or (places[int(owner[at[equal][0]])], name[int(np.flatnonzero(equal)[0])])
            found = np.unique(grams[equal])
            low, high = np.searchsorted(every, found), np.searchsorted(every, found, side="right")
            for start, end in zip(low, high, strict=True):
                hit.update(owner[start:end].tolist())
    return Overlap(len(hit), judged, example)


def _without_phrases(every: Hashes, owner: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
    """Drop what stands in many rows from sorted hashes and their rows."""
    first = np.ones(len(every), bool)
    first[1:] = (every[1:] != every[:-1]) | (owner[1:] != owner[:-1])
    every, owner = every[first], owner[first]
    _, group, rows = np.unique(every, return_inverse=True, return_counts=True)
    kept = rows[group] <= COMMON
    return every[kept], owner[kept]


def _rounds(rows: Iterable[tuple[str, str]]) -> Iterator[tuple["Names", Hashes]]:
    """Yield the grams of some thousand rows at a time, and what tells the place of each."""
    batch: list[tuple[str, str]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROUND:
            yield _grams(batch)
            batch = []
    if batch:
        yield _grams(batch)


@dataclass(frozen=True)
class Names:
    """The place of a gram by its number: the rows' places, and the number after the last gram of each."""

    places: Sequence[str]
    ends: NDArray[np.int64]

    def __getitem__(self, gram: int) -> str:
        return self.places[int(np.searchsorted(self.ends, gram, side="right"))]


def _grams(batch: Sequence[tuple[str, str]]) -> tuple[Names, Hashes]:
    found = grams_of([text for _, text in batch])
    ends = np.cumsum([len(grams) for grams in found])
    return Names([place for place, _ in batch], ends), np.concatenate(found)


def grams_of(texts: Sequence[str]) -> list[Hashes]:
    """Return a hash for each thirteen words in a row of each text; fewer words have none.

    Hashes are of one process: the words' own are drawn anew in each.
    """
    found = []
    for text in texts:
        words = WORD.findall(text.casefold())
        if len(words) < LENGTH:
            found.append(np.empty(0, np.uint64))
            continue
        each = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
        count = len(words) - LENGTH + 1
        mixed = np.zeros(count, np.uint64)
        for place in range(LENGTH):
            mixed = mixed * FACTOR + each[place : place + count]
        found.append(mixed)
    return found


def text_of(values: Mapping[str, Any], roles: Sequence[str]) -> str:
    """Return what an example reads, as one text."""
    parts: list[str] = []
    for role in roles:
        value = values.get(role)
        if isinstance(value, str):
            parts.append(value)
        elif isinstance(value, list):
            parts.extend(str(one["content"] if isinstance(one, Mapping) else one) for one in value)
    return " ".join(parts)
