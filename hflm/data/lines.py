"""Lines of UTF-8 with their true numbers, one at a time, from plain and gzipped files."""

import shlex
import zlib
from collections.abc import Iterator

from hflm.data.bad_rows import OnBad, refuse
from hflm.data.sources import BLOCK, Source, unreadable
from hflm.errors import DataError

BOM = b"\xef\xbb\xbf"
# First bytes of UTF-16 and UTF-32, which begins with the mark of UTF-16.
ENCODINGS = ((b"\xff\xfe\x00\x00", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
# First bytes that are no text at all: what the file is, and what to do with it.
FORMATS = (
    (b"\x1f\x8b", "gzip, under a name without .gz", "mv {path} {path}.gz"),
    (b"PK\x03\x04", "a zip archive", "unzip {path}"),
    (b"PAR1", "parquet", "mv {path} {stem}.parquet"),
)
FORMATS_IN_GZIP = (
    (b"\x1f\x8b", "gzip inside gzip", "gzip -dc {path} > {new}"),
    (b"PK\x03\x04", "a zip archive inside gzip", "gzip -dc {path} > {stem}.zip && unzip {stem}.zip"),
    (b"PAR1", "parquet inside gzip", "gzip -dc {path} > {stem}.parquet"),
)


def read_lines(source: Source, *, on_bad: OnBad = refuse) -> Iterator[tuple[int, str]]:
    r"""Yield (1-based number, text without its line ending); \n, \r\n and \r end a line, a BOM is dropped.

    Memory is one line. `on_bad` hears of a line that is not UTF-8; raises DataError on damaged gzip, naming the line.
    """
    for number, raw in _raw_lines(source):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            on_bad(_not_utf8(source, number, raw, error))
            continue
        yield number, line


def _not_utf8(source: Source, number: int, raw: bytes, error: UnicodeDecodeError) -> DataError:
    byte = f"byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"
    return DataError(
        f"{source.path}, line {number}: not UTF-8: {byte}.", fix=f"If it is Latin-1: {_iconv(source, 'LATIN1')}"
    )


def read_head(source: Source, *, size: int = BLOCK) -> str:
    """Return about the first `size` bytes as text, with U+FFFD for what is not UTF-8."""
    try:
        with source.open() as file:
            return file.read(size).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(source.path, error) from error


def _raw_lines(source: Source) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with source.open() as file:
            for raw in file:
                if number == 0:
                    _refuse_signatures(source, raw)
                    raw = raw.removeprefix(BOM)
                raw = raw.removesuffix(b"\n").removesuffix(b"\r")
                # Files of the old Mac end lines with \r alone.
                for part in raw.split(b"\r") if b"\r" in raw else (raw,):
                    number += 1
                    yield number, part
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(source.path, error, after=f", after line {number}" if number else "") from error


def _refuse_signatures(source: Source, raw: bytes) -> None:
    where = f"{source.path}, line 1: the file is"
    for mark, encoding in ENCODINGS:
        if raw.startswith(mark):
            raise DataError(f"{where} {encoding}, not UTF-8.", fix=f"Run: {_iconv(source, encoding)}")
    for signature, what, command in FORMATS_IN_GZIP if source.gzipped else FORMATS:
        if raw.startswith(signature):
            raise DataError(f"{where} {what}.", fix=f"Run: {_command(source, command)}")


def _iconv(source: Source, encoding: str) -> str:
    convert = f"iconv -f {encoding} -t UTF-8"
    command = f"gzip -dc {{path}} | {convert} | gzip > {{new}}" if source.gzipped else f"{convert} {{path}} > {{new}}"
    return _command(source, command)


def _command(source: Source, command: str) -> str:
    path = source.path
    stem, _, rest = path.name.partition(".")
    names = {"path": path, "new": path.with_name(f"{stem}.utf8.{rest}"), "stem": path.with_name(stem or "data")}
    return command.format_map({key: shlex.quote(str(value)) for key, value in names.items()})
