"""Rows of the evaluation that were trained on: those that share thirteen words in a row with a training row.

Thirteen as in GPT-3 (Brown et al. 2020, appendix C). A script that writes no spaces has a word for each character.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hflm.words import ALONE, marks

LENGTH = 13
# Words that stand in more held-out rows than this are a phrase of the trade, as an instruction: they tell nothing.
COMMON = 10
# Beyond are no letters.
MOST_POINTS = 0x32400
# Rows and characters that are looked at together, and characters of one piece of a long text.
ROUND, CHARACTERS = 4096, 1_000_000
FACTOR, BASE = np.uint64(0x9E3779B97F4A7C15), 0xD1342543DE82EF95

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
    places: list[str] = []

    def numbered() -> Iterator[tuple[str, str]]:
        for place, text in held:
            places.append(place)
            yield str(len(places) - 1), text

    rounds = [(names.numbers(), grams) for names, grams in _rounds(numbered())]
    if not any(len(grams) for _, grams in rounds):
        return Overlap(0, 0)
    owner, every = (np.concatenate(parts) for parts in zip(*rounds, strict=True))
    judged = len(np.unique(owner))
    order = np.lexsort((owner, every))
    every, owner = _without_phrases(every[order], owner[order])
    if not len(every):
        return Overlap(0, judged)
    # Equal grams of several rows lie side by side: a find marks the first, and means all of them.
    first = np.searchsorted(every, every)
    found, example = np.zeros(len(every), bool), None
    for name, grams in _rounds(train):
        # The place of each gram among the sorted ones: where it is equal, the words are.
        at = np.searchsorted(every, grams)
        at[at == len(every)] = 0
        equal = every[at] == grams
        if equal.any():
            example = example or (places[int(owner[at[equal][0]])], name[int(np.flatnonzero(equal)[0])])
            found[at[equal]] = True
    return Overlap(len(np.unique(owner[found[first]])), judged, example)


def _without_phrases(every: Hashes, owner: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
    """Drop what stands in many rows from sorted hashes and their rows."""
    first = np.ones(len(every), bool)
    first[1:] = (every[1:] != every[:-1]) | (owner[1:] != owner[:-1])
    every, owner = every[first], owner[first]
    _, group, rows = np.unique(every, return_inverse=True, return_counts=True)
    kept = rows[group] <= COMMON
    return every[kept], owner[kept]


def _rounds(rows: Iterable[tuple[str, str]]) -> Iterator[tuple["Names", Hashes]]:
    """Yield the grams of some thousand rows or a million characters at a time, and what tells the place of each."""
    batch: list[tuple[str, str]] = []
    size = 0
    for place, text in rows:
        for start in range(0, len(text), CHARACTERS):
            batch.append((place, text[start : start + CHARACTERS]))
            size += len(batch[-1][1])
            if len(batch) == ROUND or size >= CHARACTERS:
                yield _grams(batch)
                batch, size = [], 0
    if batch:
        yield _grams(batch)


@dataclass(frozen=True)
class Names:
    """The place of a gram by its number: the rows' places, and the number after the last gram of each."""

    places: Sequence[str]
    ends: NDArray[np.int64]

    def __getitem__(self, gram: int) -> str:
        return self.places[int(np.searchsorted(self.ends, gram, side="right"))]

    def numbers(self) -> NDArray[np.int64]:
        """Return the place of every gram, where places are numbers."""
        return np.repeat(np.array(self.places, np.int64), np.diff(self.ends, prepend=0))


def _grams(batch: Sequence[tuple[str, str]]) -> tuple[Names, Hashes]:
    found = grams_of([text for _, text in batch])
    ends = np.cumsum([len(grams) for grams in found])
    return Names([place for place, _ in batch], ends), np.concatenate(found)


def folded(text: str) -> str:
    """Return a text as texts are held against each other: in small letters, and composed as the tokenizers do (NFC)."""
    return unicodedata.normalize("NFC", text).casefold()


def grams_of(texts: Sequence[str]) -> list[Hashes]:
    """Return a hash for each thirteen words in a row of each text; fewer words have none."""
    alike = [folded(text) for text in texts]
    points = np.frombuffer("\n".join(alike).encode("utf-32-le", "surrogatepass"), np.uint32)
    starts, ends = _words(points)
    # The text of a word: the newline between two texts is part of neither.
    last = np.cumsum([len(text) + 1 for text in alike])
    owner = np.searchsorted(last, starts, side="right")
    count = max(len(starts) - LENGTH + 1, 0)
    each, mixed = _word_hashes(points, starts, ends), np.zeros(count, np.uint64)
    for place in range(LENGTH):
        mixed = mixed * FACTOR + each[place : place + count]
    whole = owner[:count] == owner[len(owner) - count :]
    sizes = np.bincount(owner[:count][whole], minlength=len(texts))
    return np.split(mixed[whole], np.cumsum(sizes)[:-1])


def _words(points: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where words start and end in code points: runs of letters, marks and digits, or one that is a word."""
    kinds = _kinds()
    kind = kinds[np.minimum(points, len(kinds) - 1)]
    before, after = np.roll(kind, 1), np.roll(kind, -1)
    if len(kind):
        before[0] = after[-1] = 0
    starts = (kind == 2) | ((kind == 1) & (before != 1))
    ends = (kind == 2) | ((kind == 1) & (after != 1))
    return np.flatnonzero(starts), np.flatnonzero(ends) + 1


@cache
def _kinds() -> NDArray[np.uint8]:
    """Return of each code point whether it is no part of a word (0), a part of one (1) or one by itself (2)."""
    letter = re.compile(r"\w").match
    kinds = np.fromiter((letter(chr(code)) is not None for code in range(MOST_POINTS)), np.uint8, MOST_POINTS)
    kinds[[ord(mark) for mark in marks()]] = 1
    for first, last in ALONE:
        kinds[first : last + 1] = 2
    kinds[-1] = 0
    return kinds


def _word_hashes(points: NDArray[np.uint32], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Hashes:
    """Hash each word as a polynomial in its characters modulo 2 ** 64: a difference of two running sums."""
    sums = np.zeros(len(points) + 1, np.uint64)
    np.cumsum((points.astype(np.uint64) + np.uint64(1)) * _powers(BASE, len(points)), out=sums[1:])
    # The place of a word is in the powers of all its characters, and is divided out.
    mixed = (sums[ends] - sums[starts]) * _powers(pow(BASE, -1, 1 << 64), len(points))[starts]
    return mixed ^ (mixed >> np.uint64(29))


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


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
