"""English words that WordNet gives one clear meaning, for one another. Of other languages no list is here."""

import gzip
from functools import cache
from pathlib import Path

import numpy as np

from hflm.stressing.words import bare, pieces

FILE = Path(__file__).parents[1] / "corpus" / "synonyms.en.tsv.gz"


@cache
def synonyms() -> dict[str, tuple[str, ...]]:
    """Return word -> words that WordNet 3.0 has in the same, and the only usual, meaning."""
    lines = gzip.decompress(FILE.read_bytes()).decode("utf-8").splitlines()
    return {word: tuple(others.split(",")) for word, _, others in (line.partition("\t") for line in lines)}


def replace_words(text: str, draw: np.random.Generator, language: str) -> str | None:
    """Put a synonym for one of four words that have one, at least for one; None where none has, or not in English."""
    if language != "en":
        return None
    known, parts = synonyms(), pieces(text)
    places = [place for place, part in enumerate(parts) if bare(part) in known]
    if not places:
        return None
    for place in draw.permutation(places)[: max(1, len(places) // 4)]:
        word = bare(parts[place])
        options = known[word]
        new = options[int(draw.integers(len(options)))]
        start = parts[place].lower().find(word)
        old = parts[place][start : start + len(word)]
        new = new.upper() if old.isupper() and len(old) > 1 else new.capitalize() if old[0].isupper() else new
        parts[place] = parts[place][:start] + new + parts[place][start + len(word) :]
    return "".join(parts)
