"""Whole rows of JSON Lines, JSON, CSV, TSV and Parquet files, one at a time, with true line numbers."""

import csv
import itertools
import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hflm.data.bad_rows import OnBad, refuse
from hflm.data.lines import command_for, escaped, not_utf8, read_lines
from hflm.data.sources import Source, unreadable
from hflm.data.tabs import tab_rows
from hflm.errors import DataError

SEPARATORS = {"csv": ",", "tsv": "\t"}
# What spreadsheets write in their place, a semicolon or a tab, and the line with which some say what it is.
SPREADSHEETS = (";", "\t")
SAID = re.compile(r'"?sep=([^\w\s"]|\t)"?', re.IGNORECASE)
# A mark within quotes belongs to a cell.
QUOTED = re.compile(r'(?:^|(?<=[,;\t]))"(?:[^"]|"")*(?:"|$)')
# Characters in one CSV field: beyond any document, and a stop where a quote is never closed.
LARGEST_FIELD = 1 << 28
PARQUET_BATCH = 1024

Rows = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Record:
    """A row as it was read, and where it stands: a line of text formats, else the number of the row.

    `header` is the place of the columns' names, where they have one of their own.
    """

    path: str
    number: int
    values: dict[str, Any]
    unit: str = "line"
    header: str = ""

    @property
    def where(self) -> str:
        """Name the place for messages."""
        return f"{self.path}, {self.unit} {self.number}"

    @property
    def columns_where(self) -> str:
        """Name the place of the columns' names: the header of a table, else the row itself."""
        return self.header or self.where


def read_records(source: Source, *, on_bad: OnBad = refuse) -> Iterator[Record]:
    """Yield the rows of a table or JSON file; a .txt file gives each line that is not blank as {"text": line}.

    `on_bad` hears of a row that cannot be read, with its line; raises DataError where the file cannot be read on.
    """
    unit, header = "line", ""

    def keep(_: list[str], where: str) -> None:
        nonlocal header
        header = where

    if source.kind == "text":
        lines = read_lines(source, on_bad=on_bad)
        rows: Rows = ((number, {"text": line}) for number, line in lines if line.strip())
    elif source.kind == "parquet":
        rows, unit = parquet_rows(source), "row"
    elif source.kind == "json" and _is_array(source):
        rows, unit = _json_array(source, on_bad=on_bad), "row"
    elif source.kind == "json":
        rows = json_rows(source, on_bad=on_bad)
    else:
        rows = separated_rows(source, on_header=keep, on_bad=on_bad)
    for number, values in rows:
        yield Record(str(source.path), number, values, unit, header)


def json_rows(source: Source, *, on_bad: OnBad = refuse) -> Rows:
    """Yield (line, object) of a file with one JSON object a line."""
    first = True
    for number, line in read_lines(source, on_bad=on_bad):
        if not line or line.isspace():
            continue
        try:
            row = _parse(line, f"{source.path}, line {number}", source)
        except DataError as error:
            if first and line.strip()[0] in "{[" and "jq" in error.fix:
                # One document over many lines, or in one: no line of it is a row.
                raise
            on_bad(error)
            continue
        finally:
            first = False
        yield number, row


def _is_array(source: Source) -> bool:
    # `[{...}, {...}]` on one line or over many; in other files, a line that is a whole list is refused by json_rows.
    if not source.path.name.lower().removesuffix(".gz").endswith(".json"):
        return False
    first = next((line for _, line in read_lines(source, on_bad=lambda error: None) if line.strip()), "")
    return first.lstrip().startswith("[")


def _json_array(source: Source, *, on_bad: OnBad) -> Rows:
    text = "\n".join(line for _, line in read_lines(source))
    try:
        rows = json.loads(text, object_pairs_hook=_names_once)
        rows = whole(rows) if "\\u" in text else rows
    except json.JSONDecodeError as error:
        raise DataError(
            f"{source.path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}.",
            fix="Mend the file, or write one object a line.",
        ) from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{source.path}: no rows: {error}.", fix="Write one object a line.") from error
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield number, row
        else:
            on_bad(DataError(f"{source.path}, row {number}: {show(row)} is not an object.", fix="Make it one."))


def separated_rows(
    source: Source, *, on_header: Callable[[list[str], str], None] | None = None, on_bad: OnBad = refuse
) -> Rows:
    """Yield (line on which the row starts, cells by column) of a CSV or TSV file with a header.

    Newlines may be quoted. A row that is too short lacks its last columns; of one that is too long `on_bad` hears.
    `on_header` hears the header and where it stands before any row is read.
    """
    header: list[str] = []
    for line, row in _cells(source):
        if not row:
            continue
        where = f"{source.path}, line {line}"
        if not header:
            header = row
            if byte := escaped("".join(row)):
                raise not_utf8(source, line, byte)
            twice = next((name for name, count in Counter(header).items() if name and count > 1), None)
            if twice:
                raise DataError(f"{where}: two columns are called {show(twice)}.", fix="Give each its own name.")
            if on_header:
                on_header(header, where)
        elif escaped("".join(row)):
            column, byte = next((at, found) for at, cell in enumerate(row) if (found := escaped(cell)))
            named = repr(header[column]) if column < len(header) else column + 1
            on_bad(not_utf8(source, line, f"{byte} in column {named}"))
        elif any(row[len(header) :]):
            on_bad(wrong_width(where, row, header))
        else:
            yield line, dict(zip(header, row, strict=False))


def _cells(source: Source) -> Iterator[tuple[int, list[str]]]:
    """Yield (line on which a row starts, its cells); bytes that are not UTF-8 are escaped."""
    csv.field_size_limit(LARGEST_FIELD)  # a setting of the whole process; the one we found was only a safeguard
    separator, first = _separator(source)
    lines = itertools.islice(read_lines(source, errors="surrogateescape"), first - 1, None)
    if source.kind == "tsv" and separator == SEPARATORS["tsv"]:
        yield from tab_rows(lines)
        return
    rows = csv.reader((f"{line}\n" for _, line in lines), delimiter=separator, strict=True)
    start = first
    try:
        for row in rows:
            line, start = start, rows.line_num + first
            yield line, row
    except csv.Error as error:
        raise DataError(
            f"{source.path}, line {start}: the row that starts here is not {source.kind.upper()}: {error}.",
            fix='Close every quote, and write a quote inside a quoted field twice: "".',
        ) from error


def _separator(source: Source) -> tuple[str, int]:
    """Return what parts the columns, and the line from which on they stand: behind a line like sep=; in its own.

    Where no line says so it is a comma, or the semicolon of spreadsheets of many countries, or a tab; of several in the
    header the one that the next line has as often, or else the usual one. In a TSV it is a tab wherever there is one.
    """
    usual, lines = SEPARATORS[source.kind], read_lines(source, on_bad=lambda error: None)
    filled = ((number, line) for number, line in lines if line.strip())
    number, header = next(filled, (1, ""))
    if said := SAID.fullmatch(header):
        return said[1], number + 1
    if source.kind == "tsv" and usual in header:
        return usual, 1
    names, row = (QUOTED.sub("", line) for line in (header, next(filled, (0, ""))[1]))
    found = [mark for mark in (usual, *SPREADSHEETS) if mark in names] or [usual]
    agree = [mark for mark in found if names.count(mark) == row.count(mark)]
    return max(agree or found[:1], key=names.count), 1


def wrong_width(where: str, row: list[str], header: list[str]) -> DataError:
    """Say that a row has other columns than the header."""
    return DataError(
        f"{where}: found {len(row)} columns where the header has {len(header)}: {show(row)}.",
        fix="Put fields that hold the separator in double quotes.",
    )


def parquet_rows(source: Source) -> Rows:
    """Yield (1-based row number, values) of a Parquet file, a batch of rows in memory at a time."""
    # Heavy, and needed for this one format.
    import pyarrow.parquet  # type: ignore[import-untyped]

    row = 0
    try:
        with pyarrow.parquet.ParquetFile(source.path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH):
                for values in batch.to_pylist():
                    row += 1
                    yield row, values
    except UnicodeDecodeError as error:
        where = f"{source.path}, rows {row + 1} to {row + PARQUET_BATCH}"
        raise DataError(f"{where}: not UTF-8: {error.reason}.", fix="Write the file again from UTF-8 text.") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise unreadable(source.path, error, after=f", after row {row}") from error
    except (OverflowError, ValueError) as error:
        # A date beyond the year 9999, or a time finer than a microsecond: Parquet has them, Python does not.
        where = f"{source.path}, rows {row + 1} to {row + PARQUET_BATCH}"
        problem = f"{where}: a date or a time that cannot be read: {str(error).split('. ')[0]}."
        raise DataError(problem, fix="Leave its column out, or write it as text.") from error


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of pairs; raises ValueError where a name stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {show(twice)} stands twice in one object")
    return found


def whole(value: Any) -> Any:
    """Mend half surrogate pairs, which only an escape in JSON can hold and no tokenizer takes."""
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {key: whole(one) for key, one in value.items()}
    return value


def _parse(line: str, where: str, source: Source) -> Any:
    try:
        row = json.loads(line)
        # The last of two would be taken without a word.
        if isinstance(row, dict) and any(line.count(f'"{name}"') > 1 for name in row):
            json.loads(line, object_pairs_hook=_names_once)
    except json.JSONDecodeError as error:
        problem = f"{where}, column {error.colno}: not JSON: {error.msg}."
        raise DataError(problem, fix=_one_a_line(source, line)) from error
    except (RecursionError, ValueError) as error:
        # Too deep a nesting, or a number of thousands of digits: JSON, but not rows of text.
        raise DataError(f"{where}: not a row of text: {error}.", fix=_one_a_line(source, line)) from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: {show(row)} is not an object.", fix=_one_a_line(source, line))
    return whole(row) if "\\u" in line else row


def show(value: Any) -> str:
    """Return a value short enough for a message."""
    shorten = reprlib.Repr()
    shorten.maxstring = shorten.maxother = 60
    return shorten.repr(value)


def _one_a_line(source: Source, line: str) -> str:
    """Say how to get one object a line; a line that opens a list or stops after its brace shows one JSON document."""
    start = line.strip()
    if start == "{" or start.startswith("["):
        program = "." if start == "{" else ".[]"
        read = f"gzip -dc {{path}} | jq -c '{program}'" if source.gzipped else f"jq -c '{program}' {{path}}"
        return f"Write one object a line: {command_for(source.path, f'{read} > {{stem}}.rows.jsonl')}"
    return 'Write one object a line, as {"text": "..."}.'
