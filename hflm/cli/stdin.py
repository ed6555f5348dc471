"""What is piped into a command."""

import sys

from hflm.errors import UsageError


def read_stdin() -> str:
    """Return all of stdin, which is UTF-8; raises UsageError with the line that is not."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        return sys.stdin.read()
    raw: bytes = stream.read()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"stdin, line {line}: not UTF-8: byte 0x{raw[error.start]:02x}."
        raise UsageError(problem, fix="Convert it: ... | iconv -f CP1252 -t UTF-8 | hflm ...") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
