"""Whether the text that a pretraining is evaluated on stands in its training text too: said before the first step."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hflm.cache import FULL_CACHE, cache_folder
from hflm.data.documents import Document
from hflm.data.overlap import find_overlap
from hflm.run import read_object, write_json
from hflm.space import full_disk_named

Texts = Callable[[], Iterator[Document]]
# Characters of the training text that are looked at, and of the evaluation text: a few seconds, some 100 MB.
MOST_TRAIN, MOST_EVAL = 50_000_000, 2_000_000


def overlap_of_words(train: Texts, held: Texts, *, key: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Count the documents to evaluate on that share thirteen words in a row with the training text, and say so.

    `key` stands for the content of both: what was found before is taken from the cache.
    """
    known = cache_folder() / f"overlap-{key}.json"
    try:
        found = read_object(known, or_else=ValueError())
    except ValueError:
        found = find_overlap(_first(held, MOST_EVAL), _first(train, MOST_TRAIN)).to_json()
        # Another process may be writing the same.
        with suppress(FileNotFoundError), full_disk_named(known.parent, fix=FULL_CACHE):
            write_json(known, found)
    if found["rows"]:
        say(_line(found))
    return found


def _line(found: dict[str, Any]) -> str:
    one, other = found["example"]
    return (
        f"overlap: {found['rows']:,} of {found['judged']:,} documents to evaluate share 13 words in a row with "
        f"training, as {one} and {other}; the evaluation loss will be too good"
    )


def _first(texts: Texts, most: int) -> Iterator[tuple[str, str]]:
    seen = 0
    for document in texts():
        yield f"{Path(document.file).name}, line {document.line}", document.text
        seen += len(document.text)
        if seen > most:
            return
