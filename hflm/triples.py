"""Facts as text: `head | relation | tail`, one after the other on one line, and back.

One mark does for everything, so that any tokenizer can write it: each third part ends a triple. A text that says
nothing of the kind is `none`. Entities may name their type behind them, in brackets: `Ada Lovelace (person)`, or in
full-width ones: `爱因斯坦（人物）`.
"""

import re
import unicodedata
from collections.abc import Iterable

Triple = tuple[str, str, str]
MARK = "|"
NONE = "none"
TYPED = re.compile(r"(.*\S)\s*[(（]([^()（）]+)[)）]", re.DOTALL)


def to_line(triples: Iterable[Triple]) -> str:
    """Write triples on a line, each once; a mark inside a part, which would end it, becomes a slash."""
    parts = [tidy(part).replace(MARK, "/") for triple in dict.fromkeys(triples) for part in triple]
    return f" {MARK} ".join(parts) or NONE


def from_line(line: str) -> list[Triple] | None:
    """Read triples back; None where the line is not of this kind, as an unfinished triple is not."""
    parts = [tidy(part) for part in line.split(MARK)]
    if parts == [NONE]:
        return []
    if len(parts) % 3 or not all(parts):
        return None
    return [(parts[at], parts[at + 1], parts[at + 2]) for at in range(0, len(parts), 3)]


def whole_part(line: str) -> str:
    """Cut an unfinished triple off the end of a line."""
    parts = line.split(MARK)
    kept = MARK.join(parts[: len(parts) // 3 * 3])
    return kept if from_line(kept) is not None else NONE


def tidy(text: str) -> str:
    """Make letters and spaces equal: one form of every letter, one space for many."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def split_type(entity: str) -> tuple[str, str]:
    """Return an entity's name and its type, "" where it has none."""
    found = TYPED.fullmatch(entity)
    return (found[1], found[2].strip()) if found else (entity, "")
