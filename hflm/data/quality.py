"""Is it text in some language? Four measures that hold for every script and need no word list."""

import re
import unicodedata
from collections import Counter

# Counts up when other texts are dropped.
QUALITY = 2
# Letters and marks among characters that are not space. Prose has 0.75 to 0.98 in any script, source code 0.6.
FEWEST_LETTERS = 0.4
# U+FFFD stands where a decoder met bytes it could not read.
MOST_BROKEN = 0.02
# A long run of one character. The borders of tables and dotted lines are such runs too: their share of a text counts.
LONGEST_RUN = 100
# One line, this often and most of the text: a menu or a log, and beyond the refrain of a song.
FEWEST_REPEATS = 10
# A share of a text: more of one line, or of long runs of one character, and little else is said.
MOST_REPEATED = 0.5
# The rules and borders of tables repeat too, and are made of fewer different characters than this.
FEWEST_DIFFERENT = 7

_ASCII_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ASCII_SPACE = b" \t\n\r\x0b\x0c"
_RUN = re.compile(rf"(\S)\1{{{LONGEST_RUN - 1},}}")
# A run of 100 shows as four equal characters in a row where every 25th is taken, and prose hardly ever does.
_STRIDE = LONGEST_RUN // 4
_RUN_IN_SAMPLE = re.compile(r"(\S)\1{3}")


class _Classes(dict[int, str | None]):
    """Code point -> L letter or mark, B broken, O other, None space; a table for str.translate that fills itself."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        if character.isspace():
            found = None
        elif unicodedata.category(character)[0] in "LM":
            found = "L"
        else:
            found = "B" if character == "\ufffd" else "O"
        self[code] = found
        return found


_CLASSES = _Classes()


def judge_quality(text: str) -> str | None:
    """Return what is wrong with a text, or None."""
    letters, broken, solid = _count(text)
    if letters < FEWEST_LETTERS * solid:
        return "few letters"
    if broken > MOST_BROKEN * solid:
        return "broken characters"
    if _repeated(text) > MOST_REPEATED * solid:
        return "one character repeated"
    if _repeats_a_line(text):
        return "one line repeated"
    return None


def _repeated(text: str) -> int:
    """Count the characters that stand in long runs of one."""
    if len(text) < LONGEST_RUN or not _RUN_IN_SAMPLE.search(text[::_STRIDE]):
        return 0
    return sum(len(run[0]) for run in _RUN.finditer(text))


def _repeats_a_line(text: str) -> bool:
    if text.count("\n") < FEWEST_REPEATS - 1:
        return False
    lines = Counter(line.strip() for line in text.split("\n"))
    most = MOST_REPEATED * sum(len(line) * count for line, count in lines.items())
    often = (line for line, count in lines.items() if count >= FEWEST_REPEATS and len(line) * count > most)
    return any(len(set(line)) >= FEWEST_DIFFERENT for line in often)


def _count(text: str) -> tuple[int, int, int]:
    """Count letters and marks, broken characters, and characters that are not space."""
    if text.isascii():
        raw = text.encode("ascii").translate(None, _ASCII_SPACE)
        return len(raw) - len(raw.translate(None, _ASCII_LETTERS)), 0, len(raw)
    classes = text.translate(_CLASSES)
    return classes.count("L"), classes.count("B"), len(classes)
