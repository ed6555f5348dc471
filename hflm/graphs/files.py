"""A graph as a file: JSON Lines, GraphML or Turtle, by the ending of its name."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hflm.errors import DataError, UsageError
from hflm.graphs.graph import Entity, Graph, edge_of
from hflm.space import check_writable

ENDINGS = (".jsonl", ".graphml", ".ttl")
# How graphs begin, in bytes and within how many.
MARKS, BEGINNING = (b'{"kind": "graph"', b"<graphml", b"<?xml", b"@prefix", b"@base"), 1000


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError for a name whose ending says no format, a file that is there, or a folder that is not."""
    if path.suffix not in ENDINGS:
        what = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise UsageError(f"{path} {what}, which is no format of a graph.", fix=f"Name it {', '.join(ENDINGS)}.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", fix="Name a file.")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists.", fix="Replace it with --overwrite, or name another.")
    if path.exists() and path.stat().st_size and not _is_graph(path):
        raise UsageError(f"{path} is there and is no graph.", fix="Name another file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.", fix="Choose another -o.") from error
    check_writable(path)


def _is_graph(path: Path) -> bool:
    """Tell whether a file begins as those do that `write_graph` makes."""
    with path.open("rb") as stream:
        begins = stream.read(BEGINNING).lstrip()
    return any(begins.startswith(mark) for mark in MARKS)


def write_graph(graph: Graph, path: Path) -> None:
    """Write a graph whole or not at all."""
    staging = path.with_name(f".{path.name}.part")
    try:
        _WRITERS[path.suffix](graph, staging)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def read_graph(path: Path) -> Graph:
    """Read a graph; raises DataError where the file is not there, or is none."""
    if path.suffix not in ENDINGS:
        raise UsageError(f"{path} is no graph by its ending.", fix=f"Name a file that ends in {', '.join(ENDINGS)}.")
    if not path.is_file():
        raise DataError(f"No such file: {path}.", fix="`hflm graph build` makes one.")
    try:
        graph = _READERS[path.suffix](path)
    except (DataError, UsageError):
        raise
    except Exception as error:  # the parsers of three formats raise what they like
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{path} is no graph: {reason}.", fix="`hflm graph build` makes one.") from error
    if not graph.entities:
        raise DataError(f"{path} has no entities.", fix="Was anything found? `hflm graph build` says how much.")
    return graph


def _write_lines(graph: Graph, path: Path) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        for line in _lines(graph):
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def _lines(graph: Graph) -> Iterator[dict[str, Any]]:
    yield {"kind": "graph", **graph.about}
    for entity in graph.entities.values():
        yield {"kind": "entity", **asdict(entity)}
    for edge in graph.edges:
        shown = {"confidence": edge.confidence, "count": len(edge.mentions), "found": edge.found}
        yield {"kind": "edge", "head": edge.head, "relation": edge.relation, "tail": edge.tail, **shown,
               "mentions": [asdict(mention) for mention in edge.mentions]}  # fmt: skip


def _read_lines(path: Path) -> Graph:
    graph = Graph()
    lines: list[int] = []
    with path.open(encoding="utf-8-sig") as stream:
        for number, text in enumerate(stream, start=1):
            try:
                line = json.loads(text)
                kind = line.pop("kind")
                if kind == "graph":
                    graph.about = line
                elif kind == "entity":
                    entity = Entity(**{**line, "aliases": tuple(line["aliases"])})
                    graph.entities[entity.id] = entity
                else:
                    graph.edges.append(edge_of(line))
                    lines.append(number)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path}, line {number}: no line of a graph.", fix="`hflm graph build` makes one."
                ) from error
    _check_ends(graph, path, lines)
    return graph


def _check_ends(graph: Graph, path: Path, lines: Sequence[int] = ()) -> None:
    """Raise DataError for the first edge, of these lines of the file, with an end that is no entity of the graph."""
    for place, edge in enumerate(graph.edges):
        for end in (edge.head, edge.tail):
            if end not in graph.entities:
                where = f"{path}, line {lines[place]}" if lines else str(path)
                fix = "Add the entity, or leave the edge out."
                raise DataError(f"{where}: the edge {edge.relation!r} has an end {end!r}, which is no entity.", fix=fix)


def _write_graphml(graph: Graph, path: Path) -> None:
    from hflm.graphs.graphml import write

    write(graph, path)


def _read_graphml(path: Path) -> Graph:
    from hflm.graphs.graphml import read

    return read(path)


def _write_turtle(graph: Graph, path: Path) -> None:
    from hflm.graphs.turtle import to_rdf

    to_rdf(graph).serialize(destination=str(path), format="turtle", encoding="utf-8")


def _read_turtle(path: Path) -> Graph:
    from hflm.graphs.turtle import read

    graph = read(path)
    _check_ends(graph, path)
    return graph


_WRITERS: dict[str, Callable[[Graph, Path], None]] = {
    ".jsonl": _write_lines, ".graphml": _write_graphml, ".ttl": _write_turtle,
}  # fmt: skip
_READERS: dict[str, Callable[[Path], Graph]] = {
    ".jsonl": _read_lines, ".graphml": _read_graphml, ".ttl": _read_turtle,
}  # fmt: skip
