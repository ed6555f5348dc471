"""From text to a knowledge graph, by a model that was trained on triples; a build that was stopped goes on.

hflm graph build book.txt --model RUN -o graph.jsonl
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from hflm.data.sources import Source, find_sources, fingerprint
from hflm.errors import DataError, UsageError
from hflm.graphs.entities import read_aliases
from hflm.graphs.extraction import Extractor, check_extractor, extract_all
from hflm.graphs.files import check_output, write_graph
from hflm.graphs.graph import Graph
from hflm.graphs.merging import merge
from hflm.graphs.passages import Passage, read_passages
from hflm.graphs.workfile import WorkFile
from hflm.models.fingerprints import model_key
from hflm.models.load import model_folder
from hflm.space import full_disk_named

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# Passages that are read together; what a build loses at most when it is killed.
CHUNK = 64
# What to do where the disk is full: `hflm resume` knows no graphs.
ROOM = "Free some space and give the same command again: it goes on from what was saved."


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """How a graph is built; `threads` are those of all processes together."""

    passage_length: int = 280
    text_column: str | None = None
    aliases: Path | None = None
    similar: float | None = None
    embedder: str = "minilm"
    min_confidence: float = 0.0
    processes: int = 1
    threads: int | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for numbers that say nothing."""
        for name in ("passage_length", "processes"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}.", fix="Give 1 or more.")
        for name in ("similar", "min_confidence"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"--{name.replace('_', '-')} is {value}.", fix="Give a number from 0 to 1.")
        if self.similar == 0:
            raise UsageError("--similar is 0.0: all names would be one.", fix="Give a number above 0, such as 0.9.")


def build_graph(
    paths: Sequence[str], output: Path, extractor: Extractor, options: GraphOptions, *, overwrite: bool,
    watch: "Watch",
) -> Graph:  # fmt: skip
    """Build a graph, write it to `output` and return it; `watch` hears of the passages that are done.

    What was extracted is kept beside `output` until the graph is written: the same call goes on from there. With
    `overwrite`, work of other inputs is removed too.
    Raises an HflmError for anything a user can mend.
    """

    def say(text: str) -> None:
        watch("note", {"text": text})

    check_output(output, overwrite=overwrite)
    sources = find_sources(paths)
    read = [*(source.path for source in sources), *([options.aliases] if options.aliases else [])]
    if output.exists() and any(path.exists() and output.samefile(path) for path in read):
        raise UsageError(f"{output} is read for the graph.", fix="Name another output.")
    aliases = read_aliases(options.aliases) if options.aliases else {}
    relations = check_extractor(extractor)
    if options.similar is not None:
        model_folder(options.embedder)
    total = sum(1 for _ in _passages(sources, options))
    if not total:
        raise DataError(f"{paths[0]} holds no text.", fix="Name a file with text in it.")
    work = WorkFile.beside(output)
    with full_disk_named(output.parent, fix=ROOM), work.held():
        done = work.open(_inputs(sources, extractor, options), anew=overwrite, chunk=CHUNK, say=say)
        if done:
            say(f"going on after {min(done, total):,} of {total:,} passages")
        _extract(sources, extractor, options, work, done=done, total=total, watch=watch)
        graph = merge(
            work.read, aliases=aliases, similar=options.similar, embedder=options.embedder,
            least=options.min_confidence,
        )  # fmt: skip
        graph.about = {"model": extractor.model, "files": [str(source.path) for source in sources],
                       "passages": total, "relations": relations}  # fmt: skip
        write_graph(graph, output)
        work.remove()
    return graph


def _extract(
    sources: Sequence[Source], extractor: Extractor, options: GraphOptions, work: WorkFile, *, done: int, total: int,
    watch: "Watch",
) -> None:  # fmt: skip
    import torch

    if done >= total:
        return
    threads = options.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    passages = islice(_passages(sources, options), done, None)
    chunks = iter(lambda: list(islice(passages, CHUNK)), [])
    records = extract_all(
        extractor, chunks, processes=options.processes, threads=max(threads // options.processes, 1)
    )  # fmt: skip
    began, counted = perf_counter(), 0
    for count in work.add(records):
        counted += count
        rate = counted / (perf_counter() - began)
        watch("rows", {"done": done + counted, "rows": total, "rows_per_second": rate})


def _passages(sources: Sequence[Source], options: GraphOptions) -> Iterator[Passage]:
    return read_passages(sources, size=options.passage_length, text_column=options.text_column)


def _inputs(sources: Sequence[Source], extractor: Extractor, options: GraphOptions) -> dict[str, Any]:
    """Return what the extraction hangs on; the rest is done anew each time."""
    tagger = model_key(extractor.entities) if extractor.entities else None
    return {
        "text": fingerprint(sources), "files": [str(source.path) for source in sources],
        "model": model_key(extractor.model), "tagging model": tagger, "passage length": options.passage_length,
        "text column": options.text_column, "max new tokens": extractor.max_new_tokens,
    }  # fmt: skip
