"""What is kept aside to evaluate on: a function of the text alone, so that it is the same in every run."""

import hashlib
import re
from collections.abc import Iterable, Iterator

import numpy as np

from hflm.data.documents import Document
from hflm.data.rows import Rows

# Counts up when other text is held out of the same.
HOLD_OUT = 2
# A document of this many characters gives its own end to the evaluation; a shorter one goes whole to one side.
LONG = 20_000
# Characters of a text that sentences to show are chosen from.
SHOWN = 100_000
# Where a sentence ends: before a space, so that 3.5 stays whole; Chinese and Japanese write none.
SENTENCE_END = re.compile(r"(?<=[.!?؟।॥۔။።])\s+|(?<=[。！？])\s*")


def hold_out(documents: Iterable[Document], fraction: float) -> Iterator[tuple[str, str]]:
    """Divide each document into what is trained and what is evaluated on; a function of its text alone."""
    for document in documents:
        text = document.text
        if len(text) >= LONG and fraction:
            # At the end of a line, where one is near: no more than half as much again may go for it.
            exact = int(len(text) * (1 - fraction))
            cut = text.rfind("\n", max(0, int(len(text) * (1 - 1.5 * fraction))), exact)
            cut = cut if cut > 0 else exact
            yield text[:cut], text[cut:]
        else:
            digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
            share = int.from_bytes(digest, "big") / 2**32
            yield ("", text) if share < fraction else (text, "")


def split_rows(rows: Rows) -> tuple[Rows, Rows]:
    """Hold out the last rows where no document could be held out."""
    count = len(rows) - max(1, len(rows) // 20)
    held = Rows(rows.ids[count:], rows.segments[count:])
    return Rows(rows.ids[:count], rows.segments[:count], rows.tally.minus(held.tally)), held


def sample_sentences(texts: tuple[str, ...], *, count: int, seed: int) -> list[str]:
    """Choose short sentences of the evaluation text, the same for the same text."""
    found = [
        sentence.strip()
        for text in texts
        for sentence in SENTENCE_END.split(text[:SHOWN])
        if 30 <= len(sentence.strip()) <= 90 and "\n" not in sentence.strip()
    ]
    draw = np.random.Generator(np.random.Philox(key=[seed, 7]))
    return [found[n] for n in sorted(draw.permutation(len(found))[:count])]
