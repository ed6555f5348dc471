"""Room on a disk: what is free, and a full disk as one error with an exit code of its own."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hflm.errors import SpaceError, UsageError

FULL = {errno.ENOSPC, errno.EDQUOT}
# What torch and safetensors say of a disk on which a write came to nothing; they keep no error number.
SIGNS = (
    "No space left on device", "os error 28", "Disk quota exceeded", "PytorchStreamWriter failed writing",
    "iostream error",
)  # fmt: skip
FIX = "Free some space and go on with `hflm resume`; what was saved before is whole."


def free_bytes(path: Path) -> int:
    """Return the bytes that are free where `path` stands, or is to stand."""
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(place).free


def check_room(path: Path, *, need: int, what: str, fix: str = FIX) -> None:
    """Raise SpaceError where fewer than `need` bytes are free at `path`."""
    free = free_bytes(path)
    if free < need:
        raise SpaceError(f"{what} needs {megabytes(need)} in {path}, and {megabytes(free)} are free.", fix=fix)


def megabytes(count: int) -> str:
    """Write a number of bytes for people."""
    return f"{count / 1e6:,.1f} MB"


def is_full(error: BaseException) -> bool:
    """Tell whether an error, or what it arose from, comes from a full disk."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    if any(sign in str(error) for sign in SIGNS):
        return True
    before = error.__cause__ or error.__context__
    return before is not None and is_full(before)


def check_writable(path: Path) -> None:
    """Raise UsageError where a file cannot be written, before the work that is to fill it."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", fix="Choose another.") from error


@contextmanager
def full_disk_named(path: Path, *, fix: str = FIX) -> Iterator[None]:
    """Turn the errors of a full disk into a SpaceError; `path` is named where the error names no file."""
    try:
        yield
    except SpaceError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        where = Path(str(getattr(error, "filename", None) or path))
        free = megabytes(free_bytes(where))
        raise SpaceError(f"The disk is full: {where} could not be written, {free} are free.", fix=fix) from error
