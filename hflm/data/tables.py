"""The text column of JSON Lines, CSV, TSV and Parquet files, a row at a time, with true line numbers."""

import csv
import difflib
import json
import reprlib
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from hflm.data.lines import read_lines
from hflm.data.sources import Source, unreadable
from hflm.errors import DataError

# Column names that are taken for the text where none is named, the first that is there.
TEXT_COLUMNS = ("text", "content", "document", "sentence")
SEPARATORS = {"csv": ",", "tsv": "\t"}
# Characters in one CSV field: beyond any document, and a stop where a quote is never closed.
LARGEST_FIELD = 1 << 28
PARQUET_BATCH = 1024
# Columns named in a message.
MOST_SHOWN = 12
PARQUET_STRINGS = ("string", "large_string", "dictionary<values=string", "dictionary<values=large_string")

Texts = Iterator[tuple[int, str]]


def read_json_lines(source: Source, *, text_column: str | None = None) -> Texts:
    """Yield (line, text) of a file with one JSON object a line; null is an empty text."""
    column = None
    for number, line in read_lines(source):
        if not line or line.isspace():
            continue
        where = f"{source.path}, line {number}"
        row = _parse(line, where, source)
        if not isinstance(row, dict):
            raise DataError(f"{where}: {_show(row)} is not an object.", fix=_one_a_line(source, line))
        column = column or choose_column(list(row), text_column, where=where)
        if column not in row:
            raise DataError(
                f"{where}: no field {column!r}; it has {_columns(list(row))}.", fix="Give every row the same fields."
            )
        # Only an escape can hold half a surrogate pair, and no tokenizer takes one.
        yield number, _whole(_text(row[column], column, where), escaped="\\u" in line)


def read_separated(source: Source, *, text_column: str | None = None) -> Texts:
    """Yield (line on which the row starts, text) of a CSV or TSV file with a header; newlines may be quoted."""
    csv.field_size_limit(LARGEST_FIELD)  # a setting of the whole process; the one we found was only a safeguard
    rows = csv.reader((f"{line}\n" for _, line in read_lines(source)), delimiter=SEPARATORS[source.kind], strict=True)
    header: list[str] = []
    column, start = "", 1
    try:
        for row in rows:
            where, line, start = f"{source.path}, line {start}", start, rows.line_num + 1
            if not row:
                continue
            if not header:
                header, column = row, choose_column(row, text_column, where=where)
                continue
            yield line, _cell(row, header, column, where)
    except csv.Error as error:
        raise DataError(
            f"{source.path}, line {start}: the row that starts here is not {source.kind.upper()}: {error}.",
            fix='Close every quote, and write a quote inside a quoted field twice: "".',
        ) from error


def read_parquet(source: Source, *, text_column: str | None = None) -> Texts:
    """Yield (1-based row number, text) of a Parquet file, a batch of rows in memory at a time; null is empty."""
    # Heavy, and needed for this one format.
    import pyarrow.parquet  # type: ignore[import-untyped]

    row = 0
    try:
        with pyarrow.parquet.ParquetFile(source.path) as file:
            schema = file.schema_arrow
            column = choose_column(schema.names, text_column, where=str(source.path))
            if not str(schema.field(column).type).startswith(PARQUET_STRINGS):
                found = f"column {column!r} holds {schema.field(column).type}, not string"
                raise DataError(f"{source.path}: {found}.", fix="Pass --text-column NAME of a column of strings.")
            for batch in file.iter_batches(batch_size=PARQUET_BATCH, columns=[column]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    yield row, value or ""
    except UnicodeDecodeError as error:
        where = f"{source.path}, rows {row + 1} to {row + PARQUET_BATCH}"
        raise DataError(f"{where}: not UTF-8: {error.reason}.", fix="Write the file again from UTF-8 text.") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise unreadable(source.path, error, after=f", after row {row}") from error


def choose_column(columns: Sequence[str], requested: str | None, *, where: str) -> str:
    """Return the column that holds the text: the one requested, or the first name of TEXT_COLUMNS that is there."""
    if requested is not None:
        if requested in columns:
            return requested
        guess = difflib.get_close_matches(requested, columns, 1)
        problem = f"{where}: no column {requested!r}; it has {_columns(columns)}."
        raise DataError(problem, fix=_pass_column(guess))
    plain = {column.strip().lower(): column for column in reversed(columns)}
    for name in TEXT_COLUMNS:
        if name in plain:
            return plain[name]
    guess = [match for name in TEXT_COLUMNS for match in difflib.get_close_matches(name, columns, 1)]
    problem = f"{where}: no column is called {', '.join(TEXT_COLUMNS)}; it has {_columns(columns)}."
    raise DataError(problem, fix=_pass_column(guess))


def _pass_column(guess: list[str]) -> str:
    if not guess:
        return "Pass --text-column NAME."
    return f"Did you mean {guess[0]!r}? Pass --text-column {shlex.quote(guess[0])}."


def _columns(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - MOST_SHOWN} more" if len(columns) > MOST_SHOWN else ""
    return f"{list(columns[:MOST_SHOWN])}{more}"


def _parse(line: str, where: str, source: Source) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        problem = f"{where}, column {error.colno}: not JSON: {error.msg}."
        raise DataError(problem, fix=_one_a_line(source, line)) from error
    except (RecursionError, ValueError) as error:
        # Too deep a nesting, or a number of thousands of digits: JSON, but not rows of text.
        raise DataError(f"{where}: not a row of text: {error}.", fix=_one_a_line(source, line)) from error


def _text(value: Any, column: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        problem = f"{where}, field {column!r}: found {_show(value)}, which is not a string."
        raise DataError(problem, fix="Make it one string, or pass --text-column NAME of another field.")
    return value


def _whole(text: str, *, escaped: bool) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if escaped else text


def _cell(row: list[str], header: list[str], column: str, where: str) -> str:
    index = header.index(column)
    if index >= len(row) or any(row[len(header) :]):
        problem = f"{where}: found {len(row)} columns where the header has {len(header)}: {_show(row)}."
        raise DataError(problem, fix="Put fields that hold the separator in double quotes.")
    return row[index]


def _show(value: Any) -> str:
    shorten = reprlib.Repr()
    shorten.maxstring = shorten.maxother = 60
    return shorten.repr(value)


def _one_a_line(source: Source, line: str) -> str:
    """Say how to get one object a line; a line that opens a list or stops after its brace shows one JSON document."""
    start = line.strip()
    if start == "{" or start.startswith("["):
        program = "." if start == "{" else ".[]"
        unpack = f"gzip -dc {source.path}" if source.gzipped else f"cat {source.path}"
        return f"Write one object a line: {unpack} | jq -c '{program}' > rows.jsonl"
    return 'Write one object a line, as {"text": "..."}.'
