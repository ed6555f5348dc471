"""One process at a time writes a folder or a file: a lock of the system on it, which goes with the process.

No file is written for it. A process that was started by the one that holds the lock may write too.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hflm.errors import UsageError
from hflm.run import RunFolder

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

# Seconds to wait: helpers of a process that was killed hold its lock until they have seen that it is gone.
PATIENCE = 6.0
HELD = "HFLM_RUN_HELD"


def _take(folder: Path) -> int | None:
    """Lock an existing folder and return what holds it; None where it is held already, or cannot be locked at all.

    Raises UsageError where another process writes to it.
    """
    name = str(folder.resolve())
    if fcntl is None or os.environ.get(HELD) == name or os.environ.get("RANK", "0") != "0":
        return None
    handle, end = os.open(folder, os.O_RDONLY), time.monotonic() + PATIENCE
    while not _locked(handle):
        if time.monotonic() > end:
            os.close(handle)
            raise UsageError(
                f"Another process is at work in {folder}.", fix="Wait for its end, or choose another --output-dir."
            )
        time.sleep(0.2)
    os.environ[HELD] = name
    return handle


def _locked(handle: int) -> bool:
    """Take a lock; False where another process has it. A file system without locks has none to be taken."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def hold(handle: int, path: Path, *, fix: str) -> None:
    """Lock what a handle has open, until it is closed; raises UsageError at once where another process holds it."""
    if fcntl is not None and not _locked(handle):
        raise UsageError(f"Another process is at work in {path}.", fix=fix)


@contextmanager
def sole_worker(folder: Path, *, fix: str) -> Iterator[None]:
    """Hold the lock of a folder that is there; raises UsageError at once where another process holds it."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        hold(handle, folder, fix=fix)
        yield
    finally:
        os.close(handle)


@contextmanager
def sole_writer(run: RunFolder, *, resume: bool, overwrite: bool) -> Iterator[Callable[[], None]]:
    """Hold the lock of a run that goes on; of a new one, from the call of what is given on, which makes its folder.

    Raises UsageError where another process is at work in it, or has made it meanwhile.
    """
    handles = [_take(run.path)] if resume else []

    def create() -> None:
        with suppress(OSError):  # what cannot be made is said below
            run.path.mkdir(parents=True, exist_ok=True)
            handles.append(_take(run.path))
        RunFolder.free(run.path, overwrite=overwrite)
        run.create()

    try:
        yield create
    finally:
        for handle in handles:
            if handle is not None:
                os.environ.pop(HELD, None)
                os.close(handle)
