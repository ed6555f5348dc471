"""Triples of passages, by a trained model, with their places; in this process or in several."""

import os
import re
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from hflm.data.examples import Example
from hflm.errors import Interrupted, ModelError
from hflm.graphs.passages import Passage
from hflm.graphs.spans import Span, find_ends, overlapping
from hflm.inference.predicting import classify_rows, write_rows
from hflm.inference.trained import describe, open_trained
from hflm.metrics.tagging import SCHEME
from hflm.metrics.tagging import entities as tagged_spans
from hflm.triples import tidy
from hflm.words import word_pattern

Record = dict[str, Any]
Tags = list[tuple[int, int, str]]


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """What extracts: a model that writes triples, and perhaps one that tags entities."""

    model: str
    entities: str | None = None
    max_new_tokens: int | None = None


def check_extractor(extractor: Extractor) -> list[str]:
    """Return the relations that the model knows; raises ModelError where a model is of the wrong kind."""
    known = describe(extractor.model, kinds=("seq2seq", "completion"))
    if known.relations is None:
        raise ModelError(
            f"{extractor.model} was not trained to write triples.", fix="Run `hflm finetune --task knowledge-graph`."
        )
    if extractor.entities:
        describe(extractor.entities, kinds=("tagging",))
    return known.relations


class Opened:
    """An extractor with its models loaded."""

    def __init__(self, extractor: Extractor) -> None:
        self.writer = open_trained(extractor.model, max_new_tokens=extractor.max_new_tokens)
        self.tagger = open_trained(extractor.entities, kinds=("tagging",)) if extractor.entities else None

    def extract(self, passages: Sequence[Passage]) -> list[Record]:
        """Return a record for each passage: itself, and its triples with the places of their ends in it."""
        writer = self.writer
        # A broken line is a space to the model; places stay the same.
        examples = [Example("", {"source": re.sub(r"[\r\n\t]", " ", passage.text)}) for passage in passages]
        rows, _ = write_rows(
            writer.model, writer.family, examples, device=writer.device, max_new_tokens=writer.max_new_tokens,
            num_beams=1,
        )  # fmt: skip
        return [
            {**asdict(passage), "triples": _placed(passage.text, row, tags), "entities": tags}
            for passage, row, tags in zip(passages, rows, self._tag(passages), strict=True)
        ]

    def _tag(self, passages: Sequence[Passage]) -> list[Tags]:
        """Return (start, end, type) of the entities of each passage."""
        if self.tagger is None:
            return [[] for _ in passages]
        find = word_pattern(signs=True).finditer
        words = [[match.span() for match in find(passage.text)] for passage in passages]
        examples = [
            Example("", {"tokens": [passage.text[start:end] for start, end in spans]})
            for passage, spans in zip(passages, words, strict=True)
        ]
        rows = classify_rows(self.tagger.model, self.tagger.family, examples, device=self.tagger.device)
        # Of tags that say no beginning, neighbours of one type are one entity.
        begun = all(SCHEME.fullmatch(label) for label in self.tagger.labels)
        tags = [[tag if begun or tag == "O" else f"I-{tag}" for tag in row["prediction"]] for row in rows]
        return [
            [(spans[first][0], spans[last][1], kind) for kind, first, last in tagged_spans(own)]
            for own, spans in zip(tags, words, strict=True)
        ]


def _placed(text: str, row: dict[str, Any], tags: Tags) -> list[Record]:
    found = []
    for (head, relation, tail), confidence in zip(row["triples"], row["confidence"], strict=True):
        ends = []
        places = find_ends(text, head, tail)
        for name, at, tag in zip((head, tail), places, _tags_at(places, tags), strict=True):
            # Where the tagger knows the place, its whole span is the entity.
            ends.append({"name": tidy(text[tag[0] : tag[1]]), "at": tag[:2], "type": tag[2]} if tag else
                        {"name": name, "at": at})  # fmt: skip
        found.append({"head": ends[0], "relation": relation, "tail": ends[1], "confidence": confidence})
    return found


def _tags_at(places: tuple[Span | None, Span | None], tags: Tags) -> list[tuple[int, int, str] | None]:
    """Return the tag on which each end of a triple lies, or None.

    Of two ends on one tag an end has it that is all of it, or holds the other: else both would be one entity.
    """
    found = [overlapping(at, tags) if at else None for at in places]
    one, two = places
    if one is None or two is None or found[0] != found[1]:
        return found
    pairs = zip((one, two), (two, one), found, strict=True)
    return [
        tag if tag and (at == tag[:2] or (at[0] <= other[0] and other[1] <= at[1])) else None
        for at, other, tag in pairs
    ]


def extract_all(
    extractor: Extractor, chunks: Iterator[list[Passage]], *, processes: int, threads: int
) -> Iterator[list[Record]]:
    """Yield the records of each chunk, in order; a few chunks are in work at once.

    Raises Interrupted where a process died: what was yielded before stays good.
    """
    if processes == 1:
        opened = Opened(extractor)
        yield from (opened.extract(chunk) for chunk in chunks)
        return
    # Spawned: a fork of a process that has threads of torch may hang.
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_open, initargs=(extractor, threads)
    )  # fmt: skip
    waiting: deque[Future[list[Record]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_extract, chunk))
            if len(waiting) >= 2 * processes:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    except BrokenProcessPool as error:
        raise Interrupted(
            "A process that read passages died, perhaps for lack of memory.",
            fix="Run the command again, with fewer --processes: it goes on where it was.",
        ) from error
    finally:
        # What the others are at is not waited for: a chunk may take minutes, and is read again by the next build.
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=not waiting, cancel_futures=True)
        for worker in workers if waiting else ():
            worker.terminate()


def _first(waiting: deque[Future[list[Record]]]) -> list[Record]:
    """Wait for the first chunk, which counts as waited for until it is there."""
    found = waiting[0].result()
    waiting.popleft()
    return found


_opened: Opened | Exception | None = None


def _open(extractor: Extractor, threads: int) -> None:
    import torch

    from hflm.engine.trainer import quiet_libraries

    global _opened
    # Ctrl-C comes to all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    quiet_libraries()
    torch.set_num_threads(threads)
    try:
        _opened = Opened(extractor)
    except Exception as error:
        # Raised again where it is waited for: here it would only be printed.
        _opened = error


def _end_with_parent() -> None:
    """Leave no process behind where the first one was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _extract(passages: list[Passage]) -> list[Record]:
    if isinstance(_opened, Exception):
        raise _opened
    assert _opened is not None
    return _opened.extract(passages)
