"""A knowledge graph in memory: entities, and edges between them with the places in the text that say so."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hflm.graphs.spans import Span


@dataclass(frozen=True, slots=True)
class Mention:
    """A place that says a triple: the passage's file and line, where head and tail stand, and how sure the model was.

    Places are characters of the file, or of the row's text; None where the words do not stand there.
    """

    file: str
    line: int
    head: Span | None
    tail: Span | None
    confidence: float | None

    @property
    def found(self) -> bool:
        """True where both ends stand in the text."""
        return self.head is not None and self.tail is not None


@dataclass(slots=True)
class Entity:
    """A thing: its name, type and other names, and how often it is an end of a triple, or was tagged."""

    id: str
    name: str
    type: str = ""
    aliases: tuple[str, ...] = ()
    count: int = 0


@dataclass(slots=True)
class Edge:
    """A triple between entities, by their ids, and its mentions."""

    head: str
    relation: str
    tail: str
    mentions: list[Mention] = field(default_factory=list)

    @property
    def confidence(self) -> float | None:
        """The highest of its mentions."""
        return max((m.confidence for m in self.mentions if m.confidence is not None), default=None)

    @property
    def found(self) -> bool:
        """True where the text holds both ends, at one of its mentions at least."""
        return any(mention.found for mention in self.mentions)


@dataclass
class Graph:
    """Entities by id, edges in the order of their first mention, and what the graph was made from."""

    entities: dict[str, Entity] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def named(self) -> Iterator[tuple[str, str, str, Edge]]:
        """Yield (head, relation, tail, edge) by names."""
        for edge in self.edges:
            yield self.entities[edge.head].name, edge.relation, self.entities[edge.tail].name, edge


def edge_of(line: dict[str, Any]) -> Edge:
    """Return an edge from plain data."""
    mentions = [
        Mention(one["file"], one["line"], _span(one["head"]), _span(one["tail"]), one["confidence"])
        for one in line["mentions"]
    ]
    return Edge(line["head"], line["relation"], line["tail"], mentions)


def _span(value: list[int] | None) -> Span | None:
    return (value[0], value[1]) if value else None
