"""What a word is, in any script: letters with the marks that belong to them; where no spaces are set, one letter.

Python's \\w knows no marks: it would part हिन्दी into three words, and राम would be a whole word in रामायण.
"""

import itertools
import re
import unicodedata
from collections.abc import Sequence
from functools import cache

# Thai, Lao, Khmer, Burmese, Japanese, Chinese: no spaces between words.
ALONE = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
)  # fmt: skip
# The same for a class of a regular expression.
LETTERS = "".join(f"{chr(first)}-{chr(last)}" for first, last in ALONE)
UNSPACED = re.compile(f"[{LETTERS}]")
# Chinese and Japanese set no space at all, not between sentences either: their letters and full-width signs. The others
# are signs that they share with the West.
SOLID = "\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
SHARED = "“”‘’…—·"
OPENS_SOLID = re.compile(f"[{SHARED}]*[{SOLID}]")
# The marks of the scripts in use begin and end here; what joins letters, or keeps them apart, belongs to a word too.
FIRST_MARK, LAST_MARK = 0x300, 0x11500
JOINERS = "\u200c\u200d"


@cache
def marks() -> str:
    """Return the marks that belong to the letter before them, for a class of a regular expression."""
    every = map(chr, range(FIRST_MARK, LAST_MARK))
    return "".join(one for one in every if unicodedata.category(one) in ("Mn", "Mc")) + JOINERS


@cache
def word_pattern(*, signs: bool = False) -> re.Pattern[str]:
    """Return what finds words; with `signs` any other sign that is no space is found by itself too."""
    more = r"|[^\w\s]|_" if signs else ""
    # Letters, and marks with letters behind them: runs of a class each, which are matched at once.
    letter, mark = rf"[^\W{LETTERS}]", f"[{marks()}]"
    return re.compile(rf"[{LETTERS}]{mark}*|[^\W_{LETTERS}]{letter}*(?:{mark}+{letter}*)*{more}")


def count_words(text: str) -> int:
    """Count the words between spaces; where no spaces are set between words, their letters."""
    if not UNSPACED.search(text):
        return len(text.split())
    return sum(1 for _ in word_pattern().finditer(text))


def foreign(text: str) -> bool:
    """Tell whether a text has letters that English lacks."""
    return any(one.isalpha() and not one.isascii() for one in text)


def goes_on(text: str, place: int) -> bool:
    """Tell whether a letter, a digit, an underscore or a mark stands at a place."""
    if not 0 <= place < len(text):
        return False
    one = text[place]
    return one.isalnum() or one == "_" or one in JOINERS or unicodedata.category(one) in ("Mn", "Mc")


def joined(parts: Sequence[str]) -> str:
    """Join texts with spaces, where both sides are Chinese or Japanese with none."""
    text = "".join(parts[:1])
    for before, after in itertools.pairwise(parts):
        last = before.rstrip(SHARED)[-1:]
        text += after if OPENS_SOLID.match(last) and OPENS_SOLID.match(after) else f" {after}"
    return text


def plain(text: str) -> str:
    """Return a text whose words are parted by underscores, which stand for all other signs."""
    return re.sub(rf"[^\w{marks()}]+", "_", text).strip("_")
