"""The triples of a row, in the shapes that people keep them in."""

import contextlib
import json
from typing import Any

from hflm.data.records import show
from hflm.errors import DataError
from hflm.triples import Triple, tidy, to_line

FIX = 'Write [["Ada", "born in", "London"]], or [] where the text says nothing.'
NAMES = (("head", "relation", "tail"), ("subject", "predicate", "object"), ("subject", "relation", "object"))


def triples_line(value: Any, where: str) -> str:
    """Return the triples of a row as the line that a model learns; raises DataError for what is no list of them."""
    return to_line(read_triples(value, where))


def read_triples(value: Any, where: str) -> list[Triple]:
    """Read a list of [head, relation, tail], or of objects with these names; tables hold it as JSON in a cell."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if not isinstance(value, list):
        raise DataError(f"{where}: found {show(value)}, which is no list of triples.", fix=FIX)
    return [_triple(one, f"{where}, triple {number}") for number, one in enumerate(value, start=1)]


def _triple(value: Any, where: str) -> Triple:
    if isinstance(value, dict):
        names = next((names for names in NAMES if all(name in value for name in names)), ())
        parts: Any = [value[name] for name in names]
    else:
        parts = value
    if not isinstance(parts, (list, tuple)) or len(parts) != 3 or not all(isinstance(part, str) for part in parts):
        raise DataError(f"{where}: found {show(value)}, which is no [head, relation, tail].", fix=FIX)
    if not all(tidy(part) for part in parts):
        raise DataError(f"{where}: found {show(value)}, in which a part is empty.", fix=FIX)
    return (parts[0], parts[1], parts[2])
