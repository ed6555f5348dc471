"""Where an entity stands in a passage."""

import re
import unicodedata
from functools import lru_cache

from hflm.words import goes_on, marks

Span = tuple[int, int]
# Words, and every other sign alone: what a tokenizer may set spaces around.
PIECE = re.compile(r"\w+|[^\w\s]")
# Latin, Greek, Cyrillic, Armenian, Georgian: spaces part all words. Elsewhere a name may stand inside of a longer one,
# as in Chinese, or with an article or a particle on it, as in Arabic and Korean.
PARTED = re.compile("[0-9A-Za-z\u00aa-\u058f\u10a0-\u10ff]")


def find_ends(text: str, head: str, tail: str) -> tuple[Span | None, Span | None]:
    """Return where head and tail stand, the first place of each; the tail, if it can be, not inside of the head."""
    at = next(iter(find_all(text, head)), None)
    places = find_all(text, tail)
    apart = [place for place in places if at is None or place[1] <= at[0] or place[0] >= at[1]]
    return at, next(iter(apart or places), None)


def find_all(text: str, name: str) -> list[Span]:
    """Return the places of a name as whole words, else, as in Chinese, inside of others; letters may differ in case."""
    pieces = PIECE.findall(unicodedata.normalize("NFC", name))
    if not pieces:
        return []
    text, places = _composed(text)
    pattern = r"\s*".join(map(re.escape, pieces))
    for whole in (goes_on, _is_parted):
        for flags in (re.NOFLAG, re.IGNORECASE):
            spans = (match.span() for match in re.finditer(pattern, text, flags))
            found = [(start, end) for start, end in spans if not whole(text, start - 1) and not whole(text, end)]
            if found:
                return found if places is None else [(places[start], places[end]) for start, end in found]
    return []


def _is_parted(text: str, place: int) -> bool:
    return 0 <= place < len(text) and PARTED.match(text[place]) is not None


@lru_cache(maxsize=8)
def _composed(text: str) -> tuple[str, tuple[int, ...] | None]:
    """Return a text in NFC, as names are, and where each of its places is in the text as it was, if that differs."""
    if unicodedata.is_normalized("NFC", text):
        return text, None
    parts, places = [], []
    for match in re.finditer(rf".[{marks()}\u1160-\u11ff]*", text, re.DOTALL):
        part = unicodedata.normalize("NFC", match[0])
        parts.append(part)
        # What is inside of a letter with its marks begins where the letter does.
        places += [match.start()] * len(part)
    return "".join(parts), (*places, len(text))


def overlapping(span: Span, others: list[tuple[int, int, str]]) -> tuple[int, int, str] | None:
    """Return the span of a list that shares most characters with one, if any does."""
    shared = [(min(span[1], end) - max(span[0], start), (start, end, kind)) for start, end, kind in others]
    most = max(shared, key=lambda one: one[0], default=(0, None))
    return most[1] if most[0] > 0 else None
