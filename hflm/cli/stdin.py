"""What is piped into a command."""

import sys
from collections.abc import Iterable

from hflm.data.lines import conversion, marked_encoding
from hflm.data.sources import BLOCK
from hflm.errors import UsageError


def check_words(texts: Iterable[str]) -> None:
    """Raise UsageError where a text of the command line is not UTF-8: such bytes come as halves of signs."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            shown = text.encode(errors="surrogateescape").decode(errors="replace")
            raise UsageError(
                f"The text {shown[:60]!r} is not UTF-8: byte 0x{ord(text[error.start]) & 0xFF:02x}.",
                fix="Send it in UTF-8: does the terminal?",
            ) from error


def read_line() -> str:
    """Return the next line of stdin, "" at its end; UnicodeDecodeError for one that is not UTF-8 loses no other."""
    stream = getattr(sys.stdin, "buffer", None)
    return sys.stdin.readline() if stream is None else str(stream.readline().decode("utf-8-sig"))


def read_stdin() -> str:
    """Return all of stdin, which is UTF-8; raises UsageError with the line that is not."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        return sys.stdin.read()
    raw: bytes = stream.read()
    if marked := marked_encoding(raw):
        raise UsageError(f"stdin is {marked}, not UTF-8.", fix=f"Convert it: {_iconv(marked)}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"stdin, line {line}: not UTF-8: byte 0x{raw[error.start]:02x}."
        raise UsageError(problem, fix=conversion(raw[:BLOCK], _iconv)) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _iconv(encoding: str) -> str:
    return f"... | iconv -f {encoding} -t UTF-8 | hflm ..."
