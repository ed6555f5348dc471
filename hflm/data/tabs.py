"""Rows of a TSV file: a quote is a quote only where it holds a whole cell, or a tab or a line end in one."""

import csv
from collections import deque
from collections.abc import Iterator

Line = tuple[int, str]
# Lines that one quoted cell may run over: beyond that, the quote that opened it was only a character.
MOST_LINES = 1000


def tab_rows(lines: Iterator[Line]) -> Iterator[tuple[int, list[str]]]:
    r"""Yield (number of the first line, cells) of each row; the first row says how many cells a row has.

    Most programs write a quote into a TSV as it is (`"Hi," he said`), some quote cells as in CSV. A line with as many
    cells as the header is a row, unless a quote opens in its last cell and closes further down, before a line that is
    a row by itself. A line with fewer cells, in which a quote opens, goes on until they are as many.
    """
    waiting: deque[Line] = deque()
    width = 0
    while line := waiting.popleft() if waiting else next(lines, None):
        number, text = line
        if not text:
            continue
        cells = text.split("\t")
        quoted = _quoted(text, width) if len(cells) != width else None
        if quoted is None and (len(cells) < width or _opens(cells[-1])) and any(map(_opens, cells)):
            quoted = _joined(text, waiting, lines, width)
        width = width or len(quoted or cells)
        yield number, quoted or [_bare(cell) for cell in cells]


def _joined(text: str, waiting: deque[Line], lines: Iterator[Line], width: int) -> list[str] | None:
    """Return the cells of a row that runs over several lines; what was read in vain waits to be read again."""
    read: list[Line] = []
    while len(read) < MOST_LINES and (line := waiting.popleft() if waiting else next(lines, None)):
        read.append(line)
        own = width > 1 and len(line[1].split("\t")) == width
        if own and text.count("\t") == width - 1:
            break
        # Only where a quote may close is the whole looked at.
        if line[1].count('"') % 2:
            cells = _quoted("\n".join([text, *(each for _, each in read)]), width)
            if cells:
                return cells
            if width == 1:
                break
        if own:
            break
    waiting.extendleft(reversed(read))
    return None


def _quoted(text: str, width: int) -> list[str] | None:
    """Return the cells as CSV would have them, where they are well formed and as many as they should be."""
    try:
        rows = list(csv.reader((f"{part}\n" for part in text.split("\n")), delimiter="\t", strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 and (not width or len(rows[0]) == width) else None


def _opens(cell: str) -> bool:
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _bare(cell: str) -> str:
    """Take the quotes from a cell that is whole between them."""
    inner = cell[1:-1]
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell
