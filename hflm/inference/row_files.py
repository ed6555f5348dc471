"""A file of rows in, a file of rows out: in order, chunk by chunk, so that one that was stopped can go on."""

import base64
import json
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TextIO

from hflm.data.records import Record, read_records
from hflm.data.sources import Source, one_source, unreadable
from hflm.engine import ranks
from hflm.errors import DataError, UsageError
from hflm.inference.row_settings import check_settings, drop_settings, keep_settings
from hflm.lock import hold
from hflm.space import full_disk_named

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

ROOM = "Free some space, and go on with --resume: the rows that were written whole are kept."
# Bytes of a file of rows that are read at once.
BLOCK = 1 << 20
# What other tools would read in another way.
TABLES = (".csv", ".tsv", ".parquet", ".gz")
# Takes records and the number of those before them; returns what is added to each.
Add = Callable[[Sequence[Record], int], Sequence[dict[str, Any]]]
# Lines that were written whole, the last of them, and where it ends in bytes.
Written = tuple[int, str, int]


def add_to_rows(
    input_file: Path, output_file: Path, add: Add, *, resume: bool, chunk: int, watch: "Watch",
    made_with: Callable[[], Mapping[str, Any]] | None = None,
) -> int:  # fmt: skip
    """Write a line for every row of a file, its own columns and what `add` says of it; return their number.

    What is added under the name of a column of the file is called `hflm_` and that name. With `resume`, rows that stand
    in the output already are not worked on again; `made_with` returns what must be the same then as it was.
    """
    source = one_source(input_file)
    try:
        # All ranks work on each chunk, and the first writes it.
        with full_disk_named(output_file, fix=ROOM), _opened(output_file, input_file, resume=resume) as (stream, there):
            agreed: Written = ranks.agreed(there)
            done, last, end = agreed
            total, columns = _look(input_file, output_file, done, last)
            made = _told(made_with) if made_with and ranks.first() and output_file.is_file() else {}
            if done:
                check_settings(output_file, made)
            # Some mounts let a file be written and not cut.
            if ranks.first() and output_file.is_file() and output_file.stat().st_size != end:
                stream.truncate(end)
            start, counted = perf_counter(), 0
            for records in chunks(_records(source), skip=done, size=chunk):
                added = add(records, done + counted)
                if made and not counted:
                    keep_settings(output_file, made)
                for record, one in zip(records, added, strict=True):
                    stream.write(_line(record.values, one, columns) + "\n")
                stream.flush()
                counted += len(records)
                rate = counted / (perf_counter() - start)
                watch("rows", {"done": done + counted, "rows": total, "rows_per_second": rate})
            if ranks.first():
                drop_settings(output_file)
    except OSError as error:
        raise UsageError(f"Cannot write {output_file}: {error.strerror}.", fix="Name another file.") from error
    return done + counted


@contextmanager
def _opened(path: Path, input_file: Path, *, resume: bool) -> Iterator[tuple[TextIO, Written]]:
    """Open an output as it is, keep other processes out of it, and tell what is written; other ranks write nowhere."""
    if not ranks.first():
        with Path(os.devnull).open("w", encoding="utf-8") as stream:
            yield stream, (0, "", 0)
        return
    check_output(path, resume=resume, input_file=input_file)
    with path.open("a" if path.exists() else "x", encoding="utf-8") as stream:
        # Devices and pipes are nobody's own.
        if path.is_file():
            hold(stream.fileno(), path, fix="Wait for its end, or name another output.")
            # Another process may have come to its end since.
            check_output(path, resume=resume, input_file=input_file)
        yield stream, _whole_lines(path) if resume and path.is_file() else (0, "", 0)


def _records(source: Source) -> Iterator[Record]:
    """Yield the rows of a file; what the system says while they are read is of that file, not of the output."""
    try:
        yield from read_records(source)
    except OSError as error:
        raise unreadable(source.path, error) from error


def _told(made_with: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what rows are made with; what the system says meanwhile is of the files of the model."""
    try:
        return made_with()
    except OSError as error:
        raise unreadable(Path(error.filename or "The model"), error) from error


def _look(input_file: Path, output_file: Path, done: int, last: str) -> tuple[int, set[str]]:
    """Count the rows of a file and name their columns; raises UsageError where what is done is of another file."""
    total, columns = 0, set[str]()
    worked: Mapping[str, Any] = {}
    for record in _records(one_source(input_file)):
        total += 1
        columns.update(record.values)
        worked = record.values if total == done else worked
    if not total:
        raise DataError(f"{input_file} has no rows.", fix="Name a file with rows.")
    if done > total or (done and not _is_of(last, worked)):
        raise UsageError(f"{output_file} holds rows of another file than {input_file}.", fix="Name another output.")
    return total, columns


def _line(row: Mapping[str, Any], added: Mapping[str, Any], columns: Collection[str]) -> str:
    """Return a row as JSON with what is added to it; what is called as a column of the file has `hflm_` before it."""
    both = {**row, **{_free(name, columns): value for name, value in added.items()}}
    try:
        return json.dumps(both, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        # NaN is no JSON: a table writes it where nothing is.
        return json.dumps(_finite(both), ensure_ascii=False, default=_plain)


def _free(name: str, columns: Collection[str]) -> str:
    """Return a name that no column has: rows may have been predicted before."""
    while name in columns:
        name = f"hflm_{name}"
    return name


def _plain(value: Any) -> str:
    """Return what JSON has no word for, as a table may hold it: dates, exact numbers, bytes."""
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def check_row_file(path: Path) -> None:
    """Raise UsageError for a name that says something else than lines of JSON."""
    if str(path) == "-":
        raise UsageError("Rows are written to a file, and - is none.", fix="Name a .jsonl file.")
    if path.name.lower().endswith(TABLES):
        raise UsageError(f"{path} would hold JSON Lines, and its name says otherwise.", fix="Name a .jsonl file.")


def check_output(path: Path, *, resume: bool, input_file: Path) -> None:
    """Raise UsageError where rows would be lost; an empty file is left by a run whose first row was wrong."""
    if path.exists() and input_file.expanduser().exists() and path.samefile(input_file.expanduser()):
        raise UsageError(f"{path} is the input.", fix="Name another output.")
    check_row_file(path)
    if path.exists() and path.stat().st_size and not resume:
        raise UsageError(f"{path} exists.", fix="Go on with --resume, or name another.")
    if not path.exists() and not os.access(path.parent, os.W_OK):
        why = "nothing may be written there" if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise UsageError(f"{path} cannot be written: {why}.", fix="Name another output.")


def chunks(records: Iterator[Record], *, size: int, skip: int = 0) -> Iterator[list[Record]]:
    """Yield records in lists of a size, after the first ones."""
    chunk = []
    for number, record in enumerate(records):
        if number >= skip:
            chunk.append(record)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _whole_lines(path: Path) -> Written:
    """Count the lines that were written whole; return the last of them, and where it ends in bytes."""
    count = start = end = size = 0
    with path.open("rb") as stream:
        first = stream.read(1)
        stream.seek(0)
        while block := stream.read(BLOCK):
            if found := block.count(b"\n"):
                count += found
                close = block.rfind(b"\n")
                before = block.rfind(b"\n", 0, close)
                # Where the last line began: in this block, or where the one before ended.
                start = size + before + 1 if before >= 0 else end
                end = size + close + 1
            size += len(block)
        if size and not end and first != b"{":
            raise UsageError(f"{path} holds no rows.", fix="Name another output.")
        stream.seek(start)
        last = stream.read(end - start)
    return count, last.decode(errors="replace"), end


def _is_of(line: str, row: Mapping[str, Any]) -> bool:
    """Tell whether a line that was written has the columns of a row, and what stands in them."""
    try:
        written = json.loads(line)
    except ValueError:
        return False
    # What is there of a row, and something that was said of it.
    return isinstance(written, dict) and written.items() > json.loads(_line(row, {}, ())).items()
