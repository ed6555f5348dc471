"""Slips of the keyboard, in any script that is written in letters or characters."""

import numpy as np

from hflm.stressing.words import letters, pieces
from hflm.words import UNSPACED

# Rows of keyboards: a letter's neighbours are hit in its place.
ROWS = (
    "qwertyuiop", "asdfghjklñ", "zxcvbnm", "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю", "ضصثقفغعهخحجد",
    "شسيبلاتنمكط", "ئءؤرىةوزظ", "ςερτυθιοπ", "ασδφγηξκλ", "ζχψωβνμ", "קראטוןםפ", "שדגכעיחלךף", "זסבהנמצתץ",
)  # fmt: skip
NEIGHBOURS = {
    row[place]: row[max(place - 1, 0) : place] + row[place + 1 : place + 2] for row in ROWS for place in range(len(row))
}
# Letters that Arabic writers take for one another: hamza and dots are left out in haste.
ALIKE = {"أ": "ا", "إ": "ا", "آ": "ا", "ة": "ه", "ه": "ة", "ى": "ي", "ي": "ى", "ؤ": "و", "ئ": "ي"}
# One of these gone or moved turns a sentence round: a typo that says that it keeps the label leaves them alone. Of Thai
# these are the letters of its "not", which bear its marks.
TURNING = set("不没沒無无非未别別勿莫ไม่")
# A shorter word is most of a language's small words, "not" and "لا" among them.
SHORTEST = 4


def one_typo(text: str, draw: np.random.Generator) -> str | None:
    """Make one slip in a text; None where it has no word to make it in."""
    return _slips(text, draw, share=0.0)


def many_typos(text: str, draw: np.random.Generator) -> str | None:
    """Make a slip in one of five words, at least in one."""
    return _slips(text, draw, share=0.2)


def _slips(text: str, draw: np.random.Generator, *, share: float) -> str | None:
    parts = pieces(text)
    places = [place for place, part in enumerate(parts) if _may_slip(part)]
    if not places:
        return None
    # Of a script without spaces a piece is a clause: it has more than one word's slips.
    weights = np.array([len(parts[p]) / 2 if UNSPACED.search(parts[p]) else 1.0 for p in places])
    count = max(1, round(share * float(weights.sum())))
    for chosen in draw.choice(len(places), size=count, p=weights / weights.sum(), replace=True):
        parts[places[chosen]] = _slip(parts[places[chosen]], draw)
    return "".join(parts)


def _may_slip(part: str) -> bool:
    if "/" in part or "@" in part:
        return False
    found = [one for one in letters(part) if one[0].isalpha()]
    if UNSPACED.search(part):
        return sum(one[0] not in TURNING for one in found) >= 2
    # Indian and Tibetan scripts write a vowel as a mark: three letters are a word of six signs.
    return len(found) >= SHORTEST - any("\u0900" <= one[0] <= "\u0fff" for one in found)


def _slip(word: str, draw: np.random.Generator) -> str:
    """Swap, leave out, double or mistake one letter: never the first of a word, which readers go by."""
    parts = letters(word)
    spaced = not UNSPACED.search(word)
    free = [
        place for place, one in enumerate(parts)
        if one[0].isalpha() and one[0] not in TURNING and (place > _first(parts) or not spaced)
    ]  # fmt: skip
    if not free:
        return word
    place = int(draw.choice(free))
    kind = ("swap", "drop", "double", "mistake")[int(draw.integers(4))]
    after = place + 1
    if kind == "swap" and after < len(parts) and parts[after] != parts[place] and after in free:
        parts[place], parts[after] = parts[after], parts[place]
    elif kind == "mistake" and _mistaken(parts[place]):
        options = _mistaken(parts[place])
        parts[place] = options[int(draw.integers(len(options)))]
    elif kind == "drop":
        parts[place] = ""
    else:
        parts[place] *= 2
    return "".join(parts)


def _first(parts: list[str]) -> int:
    return next(place for place, one in enumerate(parts) if one[0].isalpha())


def _mistaken(letter: str) -> str:
    small = letter.lower()
    found = ALIKE.get(letter, "") + NEIGHBOURS.get(small, "")
    return found.upper() if letter != small else found
