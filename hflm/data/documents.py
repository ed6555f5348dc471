"""Documents from any source: one at a time, each with the file and the line it comes from."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hflm.data.bad_rows import OnBad, refuse
from hflm.data.lines import read_head, read_lines
from hflm.data.sources import Source
from hflm.data.tables import Texts, read_json_lines, read_parquet, read_separated
from hflm.errors import UsageError

# More lines than this between blank ones, on average, and the blank lines are chance, not structure.
LONGEST_PARAGRAPH = 100


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it starts: `line` counts from 1 (for parquet, the row)."""

    text: str
    file: str
    line: int


def choose_unit(source: Source, requested: str = "auto") -> tuple[str, str]:
    """Choose what a document is in this source, and say why in a sentence for the user.

    The unit is `line`, `paragraph` (a block between blank lines) or `file`. `auto` reads the first 1 MB of a text:
    `paragraph` where blank lines separate blocks of at most 100 lines on average, else `line`. In a table a
    document is a row, which is called `line` here.
    """
    name = source.path.name
    if requested not in ("auto", *UNITS):
        guess = difflib.get_close_matches(requested, ("auto", *UNITS), 1)
        hint = f"Did you mean {guess[0]!r}?" if guess else f"Choose one of auto, {', '.join(UNITS)}."
        raise UsageError(f"--documents {requested} is not known.", fix=hint)
    if source.kind != "text":
        return "line", f"{name}: a row is a document."
    if requested != "auto":
        return requested, f"{name}: a {requested} is a document, as asked."
    blocks, lines = _blocks_and_lines(read_head(source))
    if blocks > 1 and lines <= blocks * LONGEST_PARAGRAPH:
        return "paragraph", f"{name}: a paragraph is a document, as blank lines separate blocks of text."
    return "line", f"{name}: a line is a document, as no blank lines separate blocks of text."


def read_documents(
    source: Source, *, unit: str, text_column: str | None = None, on_bad: OnBad = refuse
) -> Iterator[Document]:
    """Yield the documents of a source in order, in the memory of one document; blank texts are passed over.

    `unit` is what `choose_unit` returned; `text_column` names the column of a table. `on_bad` hears of a line or a
    row that cannot be read; raises DataError on a file that cannot be read on.
    """
    file = str(source.path)
    if source.kind == "text":
        texts = UNITS[unit](source, on_bad=on_bad)
    else:
        texts = TABLES[source.kind](source, text_column=text_column, on_bad=on_bad)
    for line, text in texts:
        if text and not text.isspace():
            yield Document(text, file, line)


def _read_paragraphs(source: Source, *, on_bad: OnBad) -> Texts:
    block: list[str] = []
    start = 0
    for number, line in read_lines(source, on_bad=on_bad):
        if line and not line.isspace():
            start = start if block else number
            block.append(line)
        elif block:
            yield start, "\n".join(block)
            block = []
    if block:
        yield start, "\n".join(block)


def _read_file(source: Source, *, on_bad: OnBad) -> Texts:
    block: list[str] = []
    start = 0
    for number, line in read_lines(source, on_bad=on_bad):
        # Blank lines at the top are no text, and the line named is where the text starts.
        if block or (line and not line.isspace()):
            start = start or number
            block.append(line)
    yield start, "\n".join(block).rstrip()


def _blocks_and_lines(text: str) -> tuple[int, int]:
    blocks = lines = 0
    inside = False
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        filled = bool(line) and not line.isspace()
        blocks += filled and not inside
        lines += filled
        inside = filled
    return blocks, lines


UNITS: dict[str, Callable[..., Texts]] = {
    "line": read_lines,
    "paragraph": _read_paragraphs,
    "file": _read_file,
}
TABLES: dict[str, Callable[..., Texts]] = {
    "json": read_json_lines,
    "csv": read_separated,
    "tsv": read_separated,
    "parquet": read_parquet,
}
