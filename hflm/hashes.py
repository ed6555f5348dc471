"""The hash of a file, by which hflm tells that it is still what was written."""

from functools import lru_cache
from hashlib import file_digest
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=1024)
def seen_sha256(path: Path, size: int, changed: int) -> str:
    """Hash a file once a process, as long as its size and the time of its last change stay what they are."""
    return file_sha256(path)
