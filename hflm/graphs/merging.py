"""From records of passages to one graph: names made entities, the same triple said twice made one edge."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hflm.graphs.entities import Entities, join_alike
from hflm.graphs.graph import Edge, Graph, Mention
from hflm.graphs.spans import Span
from hflm.triples import split_type, tidy

Records = Callable[[], Iterable[Mapping[str, Any]]]


def merge(
    records: Records, *, aliases: Mapping[str, str], similar: float | None = None, embedder: str = "minilm",
    least: float = 0.0,
) -> Graph:  # fmt: skip
    """Make a graph; `records` are read twice, and only what is distinct is held.

    Triples below a confidence of `least` are left out. Names whose vectors by `embedder` have a cosine of at least
    `similar` become one entity.
    """
    entities = Entities(aliases)
    for record in records():
        for name, kind in _names(record, least):
            entities.add(name, kind)
    if similar is not None:
        _join(entities, similar, embedder)
    graph = Graph({entity.id: entity for entity in entities.close()})
    edges: dict[tuple[str, str, str], Edge] = {}
    for record in records():
        for triple in _triples(record, least):
            head, tail = (entities.find(*_named(triple[side])).id for side in ("head", "tail"))
            edge = edges.setdefault((head, triple["relation"], tail), Edge(head, triple["relation"], tail))
            places = [_place(record["start"], triple[side].get("at")) for side in ("head", "tail")]
            edge.mentions.append(
                Mention(record["file"], record["line"], places[0], places[1], triple.get("confidence"))
            )
    graph.edges = list(edges.values())
    return graph


def _triples(record: Mapping[str, Any], least: float) -> Iterator[Mapping[str, Any]]:
    return (one for one in record["triples"] if one.get("confidence") is None or one["confidence"] >= least)


def _names(record: Mapping[str, Any], least: float) -> Iterator[tuple[str, str]]:
    for triple in _triples(record, least):
        yield from (_named(triple[side]) for side in ("head", "tail"))
    ends = {tuple(triple[side]["at"] or ()) for triple in _triples(record, least) for side in ("head", "tail")}
    for start, end, kind in record["entities"]:
        # What a triple names at this place is counted with it.
        if (start, end) not in ends:
            yield tidy(record["text"][start:end]), kind


def _named(end: Mapping[str, Any]) -> tuple[str, str]:
    name, kind = split_type(end["name"])
    return name, end.get("type") or kind


def _place(start: int, at: Any) -> Span | None:
    return (start + at[0], start + at[1]) if at else None


def _join(entities: Entities, similar: float, embedder: str) -> None:
    from hflm.graphs.similar import embed, pairs_alike

    keys = list(entities.names)
    vectors = embed([key[0] for key in keys], model=embedder)
    join_alike(entities, ((keys[one], keys[other]) for one, other in pairs_alike(vectors, least=similar)))
