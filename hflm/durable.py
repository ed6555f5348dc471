"""What a power cut does not take: written to the disk itself before it gets the name that it is known by."""

import errno
import os
from pathlib import Path

# What some network disks say to being asked for a folder.
UNKNOWN = {errno.EINVAL, errno.ENOTSUP}


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    if os.name == "nt":
        return  # Windows opens no folders, and syncs no file that was opened for reading
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
    finally:
        os.close(handle)


def sync_all(folder: Path) -> None:
    """Have the system write a folder, with all that is below it, to the disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)
