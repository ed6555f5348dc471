"""Text from a data set on the hub, streamed; nothing but its files is read."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from hflm.data.documents import Document
from hflm.data.sources import SUFFIXES
from hflm.data.tables import choose_column
from hflm.errors import DataError

ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def looks_like_hub_id(name: str) -> bool:
    """Tell `owner/name` or `owner/name:config` from a path: no such file, and no extension of a text file."""
    known = any(name.lower().endswith(suffix) for suffix in SUFFIXES)
    folder = Path(name).parent
    return bool(ID.fullmatch(name)) and not Path(name).exists() and not known and not folder.is_dir()


def hub_documents(name: str, *, text_column: str | None) -> Iterator[Document]:
    """Read the train split of a hub data set row by row; raises DataError where the hub does not have it or answer."""
    from datasets import load_dataset

    identifier, _, config = name.partition(":")
    try:
        rows = iter(load_dataset(identifier, config or None, split="train", streaming=True))
        first = next(rows)
    except StopIteration:
        raise DataError(f"The data set {name!r} is empty.", fix="Name another.") from None
    except Exception as error:
        raise DataError(
            f"{name!r} is no file here, and no data set that the hub answers for ({type(error).__name__}).",
            fix="Check the path; offline, name a file or a folder.",
        ) from error
    column = choose_column(list(first), text_column, where=name)
    number = 0
    try:
        for number, row in enumerate(itertools.chain([first], rows), start=1):
            if row[column]:
                yield Document(str(row[column]), name, number)
    except Exception as error:
        # The network, a damaged file, a row of another shape: each raises something of its own.
        reason = next(iter(str(error).strip().splitlines()), "")[:200].rstrip(".")
        raise DataError(
            f"{name!r} could not be read after row {number}: {type(error).__name__}{': ' * bool(reason)}{reason}.",
            fix="Try again; a run that had begun goes on with --resume.",
        ) from error
