"""How results look: rich on a terminal, plain aligned text on a pipe, JSON on demand."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from hflm.text_width import columns as width


def is_terminal(stream: TextIO | None = None) -> bool:
    """Say whether a person is likely to read a stream, stdout by default."""
    return (stream or sys.stdout).isatty()


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows under the named columns; a value that is None or missing is left empty."""
    cells = [["" if row.get(name) is None else str(row[name]) for name in columns] for row in rows]
    lines = [list(columns), *cells]
    # Drawn only where no word is cut or broken: a name that is not whole cannot be copied.
    words = [
        max(width(word) for line in lines for word in line[place].split() or [""]) for place in range(len(columns))
    ]
    if is_terminal() and sum(words) + 3 * len(columns) + 1 <= _drawn_width():
        _rich(cells, columns)
        return
    widths = [max(width(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        print("  ".join(text + " " * (most - width(text)) for text, most in zip(line, widths, strict=True)).rstrip())


def print_json(content: Any) -> None:
    """Print JSON for another program to read: indented, nothing around it."""
    print(as_json(content, indent=2))


def as_json(content: Any, *, indent: int | None = None) -> str:
    """Return JSON to print: in UTF-8 letters as they are, in other encodings as JSON escapes those beyond ASCII."""
    # Where the encoding lacks a letter Python would write \xe9, which is no JSON. A stream in memory has none.
    whole = (sys.stdout.encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8")
    return json.dumps(content, indent=indent, ensure_ascii=not whole, default=str)


def _drawn_width() -> int:
    """Return the columns that rich draws in: on a terminal that knows little 80, however wide it is."""
    from rich.console import Console

    return Console().width


def _rich(cells: list[list[str]], columns: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    drawn = Table(*(Column(name, overflow="fold") for name in columns), box=SIMPLE_HEAD)
    for line in cells:
        drawn.add_row(*(Text(text) for text in line))  # Text: a `[` in a value is no markup
    Console().print(drawn)
