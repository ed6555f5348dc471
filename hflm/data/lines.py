"""Lines of UTF-8 with their true numbers, one at a time, from plain and gzipped files."""

import codecs
import re
import shlex
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from hflm.data.bad_rows import OnBad, refuse
from hflm.data.sources import BLOCK, Source, unreadable
from hflm.errors import DataError

BOM = b"\xef\xbb\xbf"
# The commonest letters of Chinese, every tenth or so of a text.
COMMON = "的一是不了在人有我他这"
ESCAPED = re.compile("[\udc80-\udcff]")
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


def read_lines(source: Source, *, on_bad: OnBad = refuse, errors: str = "strict") -> Iterator[tuple[int, str]]:
    r"""Yield (1-based number, text without its line ending); \n, \r\n and \r end a line, a BOM is dropped.

    Memory is one line. `on_bad` hears of a line that is not UTF-8, unless `errors` is another handler of Python's, as
    surrogateescape; raises DataError on damaged gzip, naming the line.
    """
    for number, raw in _raw_lines(source):
        try:
            line = raw.decode("utf-8", errors)
        except UnicodeDecodeError as error:
            on_bad(not_utf8(source, number, f"byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"))
            continue
        yield number, line


def not_utf8(source: Source, number: int, byte: str) -> DataError:
    """Say which byte of a line is not UTF-8, and how to convert the file."""
    try:
        with source.open() as file:
            head = file.read(BLOCK)
    except (OSError, EOFError, zlib.error):
        head = b""
    problem = f"{source.path}, line {number}: not UTF-8: {byte}."
    return DataError(problem, fix=conversion(head, lambda encoding: _iconv(source, encoding)))


def conversion(head: bytes, command: Callable[[str], str]) -> str:
    """Say how a text that begins with `head` becomes UTF-8: `command` returns what converts it from an encoding."""
    if _looks_chinese(head):
        return f"It looks like Chinese in GB18030: {command('GB18030')}"
    return (
        f"If it is of the West: {command('CP1252')}; Chinese is often GB18030, traditional Chinese BIG5, Japanese "
        "CP932, Korean CP949, Russian CP1251, Arabic CP1256."
    )


def marked_encoding(head: bytes) -> str:
    """Return the encoding whose mark a text begins with, UTF-16 or UTF-32; "" where it has none of these."""
    return next((encoding for mark, encoding in ENCODINGS if head.startswith(mark)), "")


def _looks_chinese(head: bytes) -> bool:
    """Tell whether a text is Chinese in GB18030: in other texts that pass for it such letters are rare."""
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(head)
    except UnicodeDecodeError:
        return False
    letters = sum(not one.isascii() for one in text)
    return letters > 0 and sum(text.count(one) for one in COMMON) > 0.03 * letters


def escaped(text: str) -> str:
    """Name the first byte of a text that was not UTF-8 and is escaped in it (surrogateescape); "" where none is."""
    found = None if text.isascii() else ESCAPED.search(text)
    return f"byte 0x{ord(found[0]) - 0xDC00:02x}" if found else ""


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
    if marked := marked_encoding(raw):
        raise DataError(f"{where} {marked}, not UTF-8.", fix=f"Run: {_iconv(source, marked)}")
    for signature, what, command in FORMATS_IN_GZIP if source.gzipped else FORMATS:
        if raw.startswith(signature):
            raise DataError(f"{where} {what}.", fix=f"Run: {command_for(source.path, command)}")
    first, second = raw[::2].count(0), raw[1::2].count(0)
    if abs(first - second) > max(4, len(raw) / 4):
        # Of text of the West every other byte is a NUL.
        encoding = "UTF-16LE" if second > first else "UTF-16BE"
        raise DataError(f"{where} {encoding} without its mark, not UTF-8.", fix=f"Run: {_iconv(source, encoding)}")


def _iconv(source: Source, encoding: str) -> str:
    convert = f"iconv -f {encoding} -t UTF-8"
    command = f"gzip -dc {{path}} | {convert} | gzip > {{new}}" if source.gzipped else f"{convert} {{path}} > {{new}}"
    return command_for(source.path, command)


def command_for(path: Path, command: str) -> str:
    """Return a command of the shell with the names of a file, {path}, of a {new} one beside it, and of its {stem}."""
    stem, _, rest = path.name.partition(".")
    names = {"path": path, "new": path.with_name(f"{stem}.utf8.{rest}"), "stem": path.with_name(stem or "data")}
    return command.format_map({key: shlex.quote(str(value)) for key, value in names.items()})
