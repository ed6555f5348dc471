"""hflm's own cache: where it is, and how an entry comes to be whole or not there.

Each entry holds a manifest.json with the size and sha256 of its files. One that is not as it was written is made anew.
"""

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from hflm.durable import sync, sync_all
from hflm.errors import DataError, ModelError, UsageError
from hflm.hashes import seen_sha256
from hflm.space import FULL, full_disk_named

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

# Ends the name of a folder that nobody holds yet.
FRESH = ".new"
MANIFEST = "manifest.json"
# Bytes of a file that is hashed whenever its entry is taken: a quarter of a second. Of larger ones, as the rows of a
# gigabyte of text or the weights of a model, the size alone is compared: their hash would take seconds each time.
HASHED = 1 << 28
FULL_CACHE = "Free some space, or set HFLM_CACHE to a folder with more of it."
OWN_CACHE = "Set HFLM_CACHE to a folder of your own."
# What is raised where something else stands in a file than was written, besides that it is not there.
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, ModelError, DataError)

log = logging.getLogger(__name__)


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
    Raises SpaceError, which names the cache, where its disk is full.
    """
    named: AbstractContextManager[None] = nullcontext() if option else full_disk_named(folder.parent, fix=FULL_CACHE)
    with named, _begun(folder, option=option) as staging:
        yield staging
        if not option:
            _describe(staging)
        # A power cut may lose what was written before a name, and keep the name.
        sync_all(staging)
        try:
            staging.rename(folder)
        except OSError:
            # Whether it is there is known only now: another process may put its own there at any time.
            if not folder.is_dir():
                raise
        sync(folder.parent)


@contextmanager
def _begun(folder: Path, *, option: str) -> Iterator[Path]:
    """Make a folder that this process holds, and remove it in the end where it has no other name by then."""
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
        if error.errno in FULL:
            raise
        what = "" if option else "The cache "
        raise UsageError(
            f"{what}{folder.parent} cannot be written: {error.strerror}.",
            fix=f"Choose another {option}." if option else OWN_CACHE,
        ) from error
    try:
        staging.chmod(0o755)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def in_cache(folder: Path, *, opens: Callable[[Path], object]) -> bool:
    """Tell whether an entry of the cache is there as it was written; one that is not is deleted, and a line says so.

    `opens` is tried with an entry that an earlier hflm wrote, without a manifest: an error says that it is damaged.
    Raises UsageError where it cannot be deleted, or not be read: that says nothing of what stands in it.
    """
    while folder.is_dir():
        if _problem(folder, opens) is None:
            return True
        try:
            _delete(folder, opens)
        except FileNotFoundError:
            continue  # another process has deleted it
        except OSError as error:
            raise UsageError(
                f"{folder} is damaged, and cannot be deleted: {error.strerror}.", fix=f"Delete it. Or: {OWN_CACHE}"
            ) from error
    return False


def _describe(folder: Path) -> None:
    """Write the manifest of an entry."""
    told: dict[str, dict[str, int | str]] = {}
    for path in sorted(found for found in folder.rglob("*") if found.is_file()):
        status = path.stat()
        about: dict[str, int | str] = {"size": status.st_size}
        if status.st_size <= HASHED:
            about["sha256"] = seen_sha256(path, status.st_size, status.st_mtime_ns)
        told[path.relative_to(folder).as_posix()] = about
    (folder / MANIFEST).write_text(json.dumps(told, indent=1), encoding="utf-8")


def _problem(folder: Path, opens: Callable[[Path], object]) -> str | None:
    """Say what is wrong with an entry, or None where it is as it was written; raises UsageError where it is closed."""
    try:
        if not (folder / MANIFEST).is_file():
            opens(folder)
            return None
        for name, told in json.loads((folder / MANIFEST).read_text(encoding="utf-8")).items():
            found = (folder / name).stat()
            whole = found.st_size == told["size"]
            if whole and "sha256" in told:
                whole = seen_sha256(folder / name, found.st_size, found.st_mtime_ns) == told["sha256"]
            if not whole:
                return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except OSError as error:
        raise _unreadable(folder, error) from error
    except DAMAGE as error:
        cause = error.__cause__
        # Errors of libraries about what a file holds are OSErrors too, without a number of the system.
        if isinstance(cause, OSError) and cause.errno not in (None, errno.ENOENT):
            raise _unreadable(folder, cause) from error
        return f"it cannot be read: {type(error).__name__}"
    return None


def _unreadable(folder: Path, error: OSError) -> UsageError:
    """Say that an entry is closed to this user, or cannot be read now: it may be whole."""
    where, why = error.filename or folder, error.strerror or error
    return UsageError(f"{where} in hflm's cache cannot be read: {why}.", fix=f"Mend that. Or: {OWN_CACHE}")


def _delete(folder: Path, opens: Callable[[Path], object]) -> None:
    """Delete a damaged entry; one that another process has made anew meanwhile stays.

    Who makes an entry holds it until it has its name, and who deletes it holds it too: it is judged once more then.
    """
    handle = None if fcntl is None else os.open(folder, os.O_RDONLY)
    try:
        if handle is not None:
            with suppress(OSError):  # a file system without locks has none to be taken
                fcntl.flock(handle, fcntl.LOCK_EX)
        wrong = _problem(folder, opens)
        if wrong is None or (handle is not None and not os.path.samestat(os.fstat(handle), folder.stat())):
            return
        log.warning("%s in hflm's cache is damaged (%s): it is deleted, to be made anew", folder, wrong)
        # Out of the way in one step, under a name that is swept where this process is killed over it.
        aside = folder.rename(folder.with_name(_prefix(folder) + secrets.token_hex(4)))
        shutil.rmtree(aside, ignore_errors=True)
    finally:
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
