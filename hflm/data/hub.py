"""Text from a data set on the hub, streamed; nothing but its files is read."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from hflm.data.documents import Document
from hflm.data.records import show
from hflm.data.sources import SUFFIXES
from hflm.data.tables import choose_column
from hflm.errors import DataError

# owner/name, with a configuration after a colon and a revision after an at.
ID = re.compile(r"([\w.-]+/[\w.-]+)(?::([\w.-]+))?(?:@([\w.-]+))?")
# A revision that stays what it is; branches move, and tags can be moved.
COMMIT = re.compile("[0-9a-f]{40}")


def looks_like_hub_id(name: str) -> bool:
    """Tell `owner/name`, with `:config` or `@revision`, from a path: no such file, and no extension of a text file."""
    known = any(name.lower().endswith(suffix) for suffix in SUFFIXES)
    folder = Path(name).parent
    return bool(ID.fullmatch(name)) and not Path(name).exists() and not known and not folder.is_dir()


def parts(name: str) -> tuple[str, str | None, dict[str, str]]:
    """Return identifier, configuration and, where one is named, the revision of a data set, for `load_dataset`."""
    match = ID.fullmatch(name)
    assert match is not None
    return match[1], match[2], {"revision": match[3]} if match[3] else {}


def pinned(names: tuple[str, ...], *, say: Callable[[str], None]) -> tuple[str, ...]:
    """Name the commit of a hub data set that is the newest now: a run that goes on, or is done again, reads the same.

    A branch or a tag gives the commit that it stands for. Offline, where none can be asked for, this is said; what does
    not exist is found when it is read.
    """
    if len(names) != 1 or not looks_like_hub_id(names[0]):
        return names
    identifier, _, asked = parts(names[0])
    if COMMIT.fullmatch(asked.get("revision", "")):
        return names
    from huggingface_hub import HfApi

    try:
        revision = HfApi().dataset_info(identifier, timeout=10, revision=asked.get("revision")).sha
    except Exception as error:
        say(f"data: the revision of {names[0]} is not known ({type(error).__name__}); a later one would not be noticed")
        return names
    say(f"data: {names[0]} at revision {revision}")
    return (f"{names[0].partition('@')[0]}@{revision}",) if revision else names


def unanswered(name: str, error: Exception) -> DataError:
    """Say why a name gives no rows: the hub's reason may be the very thing to do, as to choose a configuration."""
    return DataError(
        f"{name!r} is no file here, and no data set that the hub answers for ({_reason(error, most=300)}).",
        fix="Check the path, or name a configuration as owner/name:config; offline, name a file or a folder.",
    )


def _reason(error: Exception, *, most: int) -> str:
    """Return the kind of an error, and what it says, on one line."""
    said = " ".join(str(error).split())[:most].rstrip(". ")
    return f"{type(error).__name__}{': ' * bool(said)}{said}"


def hub_documents(name: str, *, text_column: str | None) -> Iterator[Document]:
    """Read the train split of a hub data set row by row; raises DataError where the hub does not have it or answer."""
    from datasets import load_dataset

    identifier, config, revision = parts(name)
    try:
        rows = iter(load_dataset(identifier, config, split="train", streaming=True, **revision))
        first = next(rows)
    except StopIteration:
        raise DataError(f"The data set {name!r} is empty.", fix="Name another.") from None
    except Exception as error:
        raise unanswered(name, error) from error
    column = choose_column(list(first), text_column, where=name)
    if not isinstance(first[column], str | None):
        raise DataError(
            f"{name}, column {column!r}: found {show(first[column])}, which is not a string.",
            fix="Pass --text-column NAME with a column of text.",
        )
    number = 0
    try:
        for number, row in enumerate(itertools.chain([first], rows), start=1):
            if row[column]:
                yield Document(str(row[column]), name, number)
    except Exception as error:
        # The network, a damaged file, a row of another shape: each raises something of its own.
        raise DataError(
            f"{name!r} could not be read after row {number}: {_reason(error, most=200)}.",
            fix="Try again; a run that had begun goes on with --resume.",
        ) from error
