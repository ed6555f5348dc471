"""What a vocabulary is trained on, and how large it gets."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hflm.errors import DataError

# A vocabulary gains little from more text than this.
ENOUGH_CHARACTERS = 50_000_000


@dataclass(frozen=True)
class Again:
    """Texts that can be read any number of times: `start` begins anew."""

    start: Callable[[], Iterator[str]]

    def __iter__(self) -> Iterator[str]:
        return self.start()


def enough(texts: Iterator[str]) -> Iterator[str]:
    """Stop after as much text as a vocabulary can gain from."""
    seen = 0
    for text in texts:
        if seen > ENOUGH_CHARACTERS:
            return
        seen += len(text)
        yield text


def lines(texts: Iterator[str]) -> Iterator[str]:
    """Cut long documents at line ends: trainers work on one text at a time."""
    return (line for text in texts for line in (text.splitlines() if len(text) > 10_000 else [text]) if line.strip())


def vocabulary_size(texts: Iterator[str]) -> int:
    """Choose a power of two near three times the root of the text's length, with room for its alphabet."""
    characters, alphabet = 0, set[str]()
    for text in texts:
        characters += len(text)
        alphabet.update(text)
    if not characters:
        raise DataError("The data holds no text.", fix="Check the files, and what --clean drops.")
    by_length: int = 2 ** int(math.log2(max(3 * math.sqrt(characters), 512)))
    by_alphabet: int = 2 ** math.ceil(math.log2(max(1.5 * len(alphabet), 1)))
    return max(512, min(32_768, max(by_length, by_alphabet)))
