"""hflm's own cache: where it is, and how an entry comes to be whole or not there."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hflm.errors import UsageError


def cache_folder() -> Path:
    """Return where prepared data and models are kept: $HFLM_CACHE, else the user's cache folder."""
    base = os.environ.get("HFLM_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hflm"


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write into, and rename it to `folder` in the end; an error leaves nothing behind.

    Where another process was faster, its folder stays: what is kept under one name is the same.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder.parent))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(
            f"The cache {folder.parent} cannot be written: {error.strerror}.",
            fix="Set HFLM_CACHE to a folder of your own.",
        ) from error
    try:
        staging.chmod(0o755)
        yield staging
        if not folder.exists():
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
