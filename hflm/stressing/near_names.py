"""A near name for one that is not known."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the remedy for a name that is not known."""
    names = list(known)
    guess = difflib.get_close_matches(name, names, 1)
    more = " ..." if len(names) > 40 else "."
    return f"Did you mean {guess[0]!r}?" if guess else f"Choose one of {', '.join(names[:40])}{more}"
