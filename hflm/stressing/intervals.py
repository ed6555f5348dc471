"""A share of rows with its 95 % interval, and a near name for one that is not known."""

import difflib
import math
from collections.abc import Iterable

from hflm.metrics.result import Score

Z = 1.959964


def share(hits: int, rows: int) -> Score:
    """Return hits / rows with Wilson's interval (1927), which is right for shares near 0 and 1 and for few rows."""
    if not rows:
        return Score(0.0, 0.0, 1.0)
    part, square = hits / rows, Z * Z / rows
    middle = (part + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(part * (1 - part) / rows + square / (4 * rows))
    return Score(part, max(0.0, min(part, middle - half)), min(1.0, max(part, middle + half)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the remedy for a name that is not known."""
    names = list(known)
    guess = difflib.get_close_matches(name, names, 1)
    more = " ..." if len(names) > 40 else "."
    return f"Did you mean {guess[0]!r}?" if guess else f"Choose one of {', '.join(names[:40])}{more}"
