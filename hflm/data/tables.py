"""The text column of JSON Lines, CSV, TSV and Parquet files, a row at a time, with true line numbers."""

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hflm.data.bad_rows import OnBad, refuse
from hflm.data.columns import named
from hflm.data.records import PARQUET_BATCH, json_rows, separated_rows, show, wrong_width
from hflm.data.sources import Source, unreadable
from hflm.errors import DataError

# Column names that are taken for the text where none is named, the first that is there.
TEXT_COLUMNS = ("text", "content", "document", "sentence")
# Columns named in a message.
MOST_SHOWN = 12
PARQUET_STRINGS = ("string", "large_string", "dictionary<values=string", "dictionary<values=large_string")

Texts = Iterator[tuple[int, str]]


def read_json_lines(source: Source, *, text_column: str | None = None, on_bad: OnBad = refuse) -> Texts:
    """Yield (line, text) of a file with one JSON object a line; null is an empty text."""
    column = None
    for number, row in json_rows(source, on_bad=on_bad):
        where = f"{source.path}, line {number}"
        column = column or choose_column(list(row), text_column, where=where)
        try:
            text = _text(row, column, where)
        except DataError as error:
            on_bad(error)
            continue
        yield number, text


def read_separated(source: Source, *, text_column: str | None = None, on_bad: OnBad = refuse) -> Texts:
    """Yield (line on which the row starts, text) of a CSV or TSV file with a header; newlines may be quoted."""
    column, header = "", list[str]()

    def choose(columns: list[str], where: str) -> None:
        nonlocal column, header
        column, header = choose_column(columns, text_column, where=where), columns

    for number, row in separated_rows(source, on_header=choose, on_bad=on_bad):
        if column in row:
            yield number, row[column]
        else:
            on_bad(wrong_width(f"{source.path}, line {number}", list(row.values()), header))


def read_parquet(source: Source, *, text_column: str | None = None, on_bad: OnBad = refuse) -> Texts:
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
    if found := named(columns, {"text": TEXT_COLUMNS}):
        return found["text"]
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


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    if column not in row:
        problem = f"{where}: no field {column!r}; it has {_columns(list(row))}."
        raise DataError(problem, fix="Give every row the same fields.")
    value = row[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        problem = f"{where}, field {column!r}: found {show(value)}, which is not a string."
        raise DataError(problem, fix="Make it one string, or pass --text-column NAME of another field.")
    return value
