"""Rows that cannot be used: the first one ends the job, or each of them is left out, counted and remembered."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from hflm.errors import DataError

# Hears of a row that cannot be used; where it returns, the row is left out.
OnBad = Callable[[DataError], None]
# Rows that are shown; all are counted.
MOST_SHOWN = 20
PLACE = re.compile(
    r"^.*?, (?:line|row) \d+(?:, (?:column|field) (?:'[^']*'|\"[^\"]*\"|\d+))?(?:, (?:message|triple) \d+)?: "
)
FOUND = re.compile(r"^found .*, (?:which is|in which) ")


def refuse(error: DataError) -> None:
    """End the job with the first bad row."""
    raise error


class LeftOut:
    """Counts the rows that are left out, by reason, and remembers the first of them."""

    def __init__(self, *, most: int = MOST_SHOWN) -> None:
        self.reasons: Counter[str] = Counter()
        self.first: list[DataError] = []
        self.most = most

    def __call__(self, error: DataError) -> None:
        """Take note of a row."""
        self.reasons[reason_of(error)] += 1
        if len(self.first) < self.most:
            self.first.append(error)

    @property
    def count(self) -> int:
        """How many rows were left out."""
        return self.reasons.total()

    def to_json(self) -> dict[str, Any]:
        """Return the count, the reasons, and the first rows."""
        return {"rows": self.count, "reasons": dict(self.reasons.most_common()), "first": [str(e) for e in self.first]}


def reason_of(error: DataError) -> str:
    """Return what is wrong with a row, without its place and what was found there, so that rows can be counted."""
    what = FOUND.sub("", PLACE.sub("", error.problem, count=1))
    # What follows a colon tells one row from the next: a word of the parser, or the values.
    return re.split(r": |; ", what)[0].rstrip(".")
