"""hflm's own cache: where it is, and how an entry comes to be whole or not there."""

import errno
import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hflm.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

# Ends the name of a folder that nobody holds yet.
FRESH = ".new"


def cache_folder() -> Path:
    """Return where prepared data and models are kept: $HFLM_CACHE, else the user's cache folder."""
    base = os.environ.get("HFLM_CACHE")
    if base:
        return Path(base)
    # An empty name is none; and a user without a home may name a folder.
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hflm"


@contextmanager
def staged(folder: Path, *, option: str = "") -> Iterator[Path]:
    """Give an empty folder to write into, and rename it to `folder` in the end; an error leaves nothing behind.

    Where another process was faster, its folder stays: what is kept under one name is the same. `option` is the one
    that names the folder, where it is no entry of the cache. What a killed process left half-written of an entry goes.
    """
    handle: int | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not option:
            _sweep(folder)
        fresh = Path(tempfile.mkdtemp(prefix=_prefix(folder), suffix=FRESH, dir=folder.parent))
        # It takes the name that is swept once it is held.
        handle = _held(fresh)
        staging = fresh.rename(fresh.with_suffix(""))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        what = "" if option else "The cache "
        raise UsageError(
            f"{what}{folder.parent} cannot be written: {error.strerror}.",
            fix=f"Choose another {option}." if option else "Set HFLM_CACHE to a folder of your own.",
        ) from error
    try:
        staging.chmod(0o755)
        yield staging
        try:
            staging.rename(folder)
        except OSError:
            # Whether it is there is known only now: another process may put its own there at any time.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _prefix(folder: Path) -> str:
    # A lock may be known to one machine alone, of several that share a cache: each sweeps its own. The whole name of a
    # machine tells it from the others: those of a cluster often differ in their last letters alone.
    machine = hashlib.sha256(os.fsencode(socket.gethostname())).hexdigest()[:12]
    return f".{folder.name[:40]}.{machine}."


def _sweep(folder: Path) -> None:
    """Remove what was begun of an entry and is held by nobody: a lock goes with its process."""
    begun = re.compile(re.escape(_prefix(folder)) + "[a-z0-9_]{8}")
    for found in folder.parent.iterdir():
        if begun.fullmatch(found.name) and (handle := _held(found)) is not None:
            shutil.rmtree(found, ignore_errors=True)
            os.close(handle)


def _held(folder: Path) -> int | None:
    """Lock a folder and return what holds it; None where another process does, or where the system has no locks."""
    if fcntl is None:
        return None
    handle: int | None = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle is not None:
            os.close(handle)
        return None
    return handle
