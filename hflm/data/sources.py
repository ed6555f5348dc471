"""What the user names on the command line, as files that can be read: files, folders and globs."""

import difflib
import glob
import gzip
import hashlib
import itertools
import os
import shlex
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from hflm.errors import DataError

KINDS = {
    ".txt": "text",
    ".md": "text",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
# Parquet compresses its own columns and is read by seeking, which gzip does not allow.
NEVER_GZIPPED = {".parquet"}
SUFFIXES = KINDS | {f"{suffix}.gz": kind for suffix, kind in KINDS.items() if suffix not in NEVER_GZIPPED}
ACCEPTED = f"{', '.join(KINDS)}, each but .parquet also with .gz"
BLOCK = 1 << 20
# Files that a folder has which hflm wrote a run into.
RUN = {"config.yaml", "environment.json"}
# Longer names are shortened in messages; no system takes one file name of more than 255 bytes.
LONGEST_NAME = 300


@dataclass(frozen=True)
class Source:
    """A file to read, and how: `kind` is text, json, csv, tsv or parquet."""

    path: Path
    kind: str

    @property
    def gzipped(self) -> bool:
        """True where the name ends in .gz."""
        return self.path.name.lower().endswith(".gz")

    def open(self) -> BinaryIO:
        """Open the file for reading bytes, decompressed; an OSError on opening becomes a DataError."""
        try:
            return cast(BinaryIO, gzip.open(self.path, "rb")) if self.gzipped else self.path.open("rb")
        except OSError as error:
            raise unreadable(self.path, error) from error


def find_sources(paths: Sequence[str]) -> list[Source]:
    """Find the files behind files, folders (with all below them, sorted) and globs, in the order given.

    A file reached twice is read once. In folders and globs, hidden and empty files, unknown extensions and the folders
    of runs are passed over. Raises DataError where a path leads nowhere, or to nothing that can be read.
    """
    found: dict[Path, Source] = {}
    for path in paths:
        for source in _expand(path):
            found.setdefault(source.path.resolve(), source)
    return list(found.values())


def one_source(path: str | Path) -> Source:
    """Find the one file behind a path; raises DataError as `find_sources` does, and where there are several."""
    found = find_sources([str(path)])
    if len(found) > 1:
        raise DataError(f"{path} is {len(found)} files, and one is read here.", fix=f"Name one, as {found[0].path}.")
    return found[0]


def before_star(path: Path) -> Path:
    """Return what stands before the first star of a pattern, or the path where it has none."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))


def fingerprint(sources: Iterable[Source]) -> str:
    """Return the sha256 (hex) over kinds and contents in order: the same for the same data under other names."""
    total = hashlib.sha256()
    for source in sources:
        try:
            with source.path.open("rb") as file:
                # The digest of each file is hashed, so that a move of text from one file to the next shows.
                total.update(hashlib.file_digest(file, "sha256").digest() + source.kind.encode())
        except OSError as error:
            raise unreadable(source.path, error) from error
    return total.hexdigest()


def looks(sources: Iterable[Source]) -> list[tuple[int, int]]:
    """Return size and time of each file, in order: where they stay the same, the content hardly changes."""
    found = []
    for source in sources:
        try:
            status = source.path.stat()
        except OSError as error:
            raise unreadable(source.path, error) from error
        found.append((status.st_size, status.st_mtime_ns))
    return found


def check_same(sources: Sequence[Source], before: list[tuple[int, int]], content: str) -> None:
    """Raise DataError where files that looked as `before`, and had the fingerprint `content`, are others now."""
    now = looks(sources)
    if now == before or fingerprint(sources) == content:
        return
    path = next(source.path for source, old, new in zip(sources, before, now, strict=True) if old != new)
    raise DataError(f"{path} changed while it was read.", fix="Wait until nothing writes to it, and run this again.")


def unreadable(path: Path, error: Exception, *, after: str = "") -> DataError:
    """Say why a file cannot be read, as a DataError; `after` says how far reading had come."""
    where = f"{path}{after}"
    if isinstance(error, PermissionError):
        fix = f"Allow it: chmod +r {shlex.quote(str(path))}, and +x on the folders above."
        return DataError(f"{where} cannot be read: permission denied.", fix=fix)
    # The same error later in the file means that something else was put behind the gzip.
    if isinstance(error, gzip.BadGzipFile) and "Not a gzipped file" in str(error) and not after:
        return DataError(f"{where} is not gzip, though its name ends in .gz.", fix="Rename it without .gz.")
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        fix = f"Fetch or make it again, and test it: gzip -t {shlex.quote(str(path))}"
        return DataError(f"{where} is cut off or damaged gzip ({error}).", fix=fix)
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(
        f"{where} cannot be read: {(reason.splitlines() or ['no reason given'])[0].rstrip('.')}.", fix="Check the file."
    )


def _expand(text: str) -> list[Source]:
    if not text.strip():
        # Path("") is the working directory, which nobody means who passes an unset variable.
        raise DataError("The name of a file to read is empty.", fix="Name a file, a folder or a glob.")
    try:
        return _find(Path(text).expanduser(), text)
    except (OSError, RuntimeError) as error:
        # The system refuses even to look: a closed folder above, a name too long, ~ of an unknown user.
        named = str(getattr(error, "filename", None) or text)
        raise unreadable(Path(named if len(named) <= LONGEST_NAME else f"{named[:LONGEST_NAME]}..."), error) from error


def _find(path: Path, text: str) -> list[Source]:
    # A name that exists is taken as it is: brackets and stars are legal in file names.
    if path.is_dir():
        return _readable(sorted(_walk(path)), f"The folder {text}")
    if path.exists():
        return [_named(path)]
    if glob.has_magic(text):
        hits = [Path(hit) for hit in sorted(glob.glob(str(path), recursive=True))]
        runs = {hit for hit in hits if hit.is_dir() and all((hit / name).is_file() for name in RUN)}
        hits = [hit for hit in hits if not runs.intersection((hit, *hit.parents))]
        files = [file for hit in hits for file in (sorted(_walk(hit)) if hit.is_dir() else [hit])]
        return _readable(files, f"The pattern {text}")
    raise _missing(path)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise unreadable(Path(error.filename), error) from error

    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(root)
        # Links may lead back up: a few of them would be walked in more ways than can be counted.
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # A run beside its data is no data: what it writes would change what it was trained on.
        if Path(root) != folder and set(names) >= RUN:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _readable(files: list[Path], what: str) -> list[Source]:
    known = [Source(path, kind) for path in files if (kind := _kind(path)) and not _special(path)]
    sources = [source for source in known if not _empty(source)]
    if sources:
        return sources
    if not files:
        problem = f"{what} has no files."
    elif known:
        problem = f"{what} has only empty files: {known[0].path.name}{', ...' if known[1:] else ''}."
    else:
        counts = Counter(path.suffix or "no extension" for path in files).most_common(5)
        problem = f"{what} has nothing readable; found " + ", ".join(f"{n} x {name}" for name, n in counts) + "."
    raise DataError(problem, fix=f"Name files that end in {ACCEPTED}.")


def _named(path: Path) -> Source:
    kind = _kind(path)
    if kind is None:
        ending = f"the extension {path.suffix}" if path.suffix else "no extension"
        raise DataError(f"{path} has {ending}, which says not how to read it.", fix=f"Rename or convert to {ACCEPTED}.")
    if _special(path):
        # To open a pipe that nobody writes to would wait for ever, and data is read more than once.
        raise DataError(f"{path} is a pipe or a device.", fix="Write it to a file, and name that.")
    source = Source(path, kind)
    if _empty(source):
        raise DataError(f"{path} is empty.", fix="Name a file with text in it.")
    return source


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def _empty(source: Source) -> bool:
    try:
        with source.open() as file:
            return not file.read(1)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(source.path, error) from error


def _special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _missing(path: Path) -> DataError:
    if path.is_symlink():
        return DataError(f"{path} is a link to {os.readlink(path)}, which is not there.", fix="Mend the link.")
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:
        return DataError(f"No such file: {path}; its folder is missing too.", fix="Check the path.")
    guess = difflib.get_close_matches(path.name, names, 1)
    hint = f"Did you mean {path.parent / guess[0]}?" if guess else "Check the path."
    return DataError(f"No such file: {path}.", fix=hint)
