"""Text in passages of whole sentences, each with its place in characters: text[start:end] of the file is the passage.

Of .txt and .md files the characters are those of the file, line ends included; of rows those of the row's text.
"""

import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hflm.data.columns import match_columns
from hflm.data.examples import text as as_text
from hflm.data.lines import read_lines
from hflm.data.records import read_records
from hflm.data.sources import Source, unreadable
from hflm.errors import DataError

# A sentence ends here, whatever the script, before a space or, in Chinese and Japanese, without one.
END = re.compile(r"(?<=[.!?؟।۔])[\"'”’»)\]]*\s+|(?<=[。！？])[”’」』）]*\s*|\s*\n\s*\n\s*")
COLUMNS = {"text": ("text", "content", "document", "body", "sentence", "passage", "source")}
# Passages that are read before a paragraph is cut where it has not ended.
ROUND = 16


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text: its file, the line that it or its row begins on, the characters before it, and the text."""

    file: str
    line: int
    start: int
    text: str


def read_passages(sources: Sequence[Source], *, size: int, text_column: str | None = None) -> Iterator[Passage]:
    """Yield passages of at most `size` characters; memory is some of them. Raises DataError for what is no text."""
    for source in sources:
        if source.kind == "text":
            yield from _of_text(source, size)
        else:
            yield from _of_rows(source, size, text_column)


def _of_rows(source: Source, size: int, text_column: str | None) -> Iterator[Passage]:
    column = None
    for record in read_records(source):
        if column is None:
            given = {"text": text_column} if text_column else {}
            mapped = match_columns(
                list(record.values), roles=COLUMNS, shapes=(("text",),), given=given, where=record.columns_where
            )
            column = mapped["text"]
        text = as_text(record.values.get(column), f"{record.where}, column {column!r}")
        if not text.strip():
            raise DataError(f"{record.where}, column {column!r}: it is empty.", fix="Fill it, or leave the row out.")
        for start, end in cut(text, size):
            yield Passage(str(source.path), record.number, start, text[start:end])


def _of_text(source: Source, size: int) -> Iterator[Passage]:
    held, before, line = "", 0, 1
    for piece in _pieces(source):
        held += piece
        # Between blank lines, text is one paragraph, however its lines are broken.
        ended = not piece.strip()
        if not ended and len(held) < ROUND * size:
            continue
        spans = cut(held, size)
        # The last passage may go on in the next line.
        done = spans if ended else spans[:-1]
        for start, end in done:
            yield Passage(str(source.path), line + held.count("\n", 0, start), before + start, held[start:end])
        kept = len(held) if ended else spans[-1][0] if spans else 0
        line, before, held = line + held.count("\n", 0, kept), before + kept, held[kept:]
    for start, end in cut(held, size):
        yield Passage(str(source.path), line + held.count("\n", 0, start), before + start, held[start:end])


def _pieces(source: Source) -> Iterator[str]:
    """Yield the lines of a file with their ends, as Python reads them where it changes nothing."""
    next(read_lines(source), None)  # what is no text at all is refused here
    try:
        with source.open() as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as stream:
            yield from stream
    except UnicodeDecodeError as error:
        for _ in read_lines(source):  # raises the same, and names the line
            pass
        raise DataError(f"{source.path} is not UTF-8.", fix="Convert it.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(source.path, error) from error


def cut(text: str, size: int) -> list[tuple[int, int]]:
    """Return (start, end) of passages of whole sentences; a sentence that is longer is cut between words."""
    spans: list[tuple[int, int]] = []
    for start, end in _sentences(text):
        while end - start > size:
            space = text.rfind(" ", start + 1, start + size)
            at = space if space > start else start + size
            spans.append((start, at))
            start = at
        fits = spans and end - spans[-1][0] <= size and "\n\n" not in text[spans[-1][1] : start].replace("\r", "")
        if fits:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    trimmed = [_trim(text, start, end) for start, end in spans]
    return [span for span in trimmed if span[0] < span[1]]


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for found in END.finditer(text):
        if found.end() > start:
            yield start, found.end()
            start = found.end()
    if start < len(text):
        yield start, len(text)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))
