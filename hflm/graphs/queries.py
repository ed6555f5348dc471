"""Questions to a graph: what stands beside an entity, how two hang together, and SPARQL."""

import difflib
from typing import Any

import networkx as nx

from hflm.errors import DataError, UsageError
from hflm.graphs.entities import key_of
from hflm.graphs.graph import Entity, Graph
from hflm.graphs.graphml import to_networkx

MOST_PATHS = 10


def find_entity(graph: Graph, name: str) -> Entity:
    """Return an entity by its id, its name or another name; raises DataError for none, and for several."""
    if name in graph.entities:
        return graph.entities[name]
    wanted = key_of(name)[0]
    known: dict[str, list[Entity]] = {}
    # What is called so comes before what is also called so.
    for first in (True, False):
        found: dict[str, list[Entity]] = {}
        for entity in graph.entities.values():
            for key in {key_of(own)[0] for own in ((entity.name,) if first else entity.aliases)}:
                found.setdefault(key, []).append(entity)
        known = found | known
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, 1)
        fix = f"Did you mean {known[near[0]][0].name!r}?" if near else "`hflm graph show` names the most linked ones."
        raise DataError(f"The graph has no entity {name!r}.", fix=fix)
    if len(known[wanted]) > 1:
        ids = ", ".join(f"{one.id} ({one.type or 'no type'})" for one in known[wanted][:5])
        raise DataError(f"{len(known[wanted])} entities are called {name!r}.", fix=f"Name one by its id: {ids}.")
    return known[wanted][0]


def neighbours(graph: Graph, name: str, *, hops: int = 1) -> list[dict[str, Any]]:
    """Return the edges within `hops` of an entity, in either direction, nearest first."""
    if hops < 1:
        raise UsageError(f"--hops is {hops}.", fix="Give 1 or more.")
    start = find_entity(graph, name).id
    links = to_networkx(graph, whole=False).to_undirected(as_view=True)
    far = nx.single_source_shortest_path_length(links, start, cutoff=hops)
    found = []
    for head, relation, tail, edge in graph.named():
        distance = min(far.get(edge.head, hops), far.get(edge.tail, hops)) + 1
        if distance <= hops:
            first = edge.mentions[0] if edge.mentions else None
            found.append({
                "head": head, "relation": relation, "tail": tail, "hops": distance, "confidence": edge.confidence,
                "count": len(edge.mentions), "found": edge.found, "file": first.file if first else None,
                "line": first.line if first else None,
            })  # fmt: skip
    return sorted(found, key=lambda row: (row["hops"], -(row["confidence"] or 0)))


def paths(graph: Graph, one: str, other: str) -> list[list[dict[str, Any]]]:
    """Return the shortest ways between two entities, each as its edges; an edge may be walked either way.

    At most ten are returned. Raises DataError where there is none.
    """
    start, end = find_entity(graph, one), find_entity(graph, other)
    links = nx.Graph(to_networkx(graph, whole=False).to_undirected(as_view=True))
    if not nx.has_path(links, start.id, end.id):
        raise DataError(f"No way leads from {start.name!r} to {end.name!r}.", fix="Ask for other entities.")
    edges: dict[frozenset[str], dict[str, Any]] = {}
    for head, relation, tail, edge in graph.named():
        shown = {"head": head, "relation": relation, "tail": tail, "confidence": edge.confidence}
        edges.setdefault(frozenset((edge.head, edge.tail)), shown)
    found = []
    for nodes in nx.all_shortest_paths(links, start.id, end.id):
        found.append([edges[frozenset(pair)] for pair in zip(nodes, nodes[1:], strict=False)])
        if len(found) == MOST_PATHS:
            break
    return found


def sparql(graph: Graph, query: str) -> list[dict[str, Any]]:
    """Return the rows of a SPARQL query; the prefixes entity, relation, hflm, rdfs, rdf and skos are known.

    Only what reads is answered, and only from the graph: raises DataError for anything else, and where it is no SPARQL.
    """
    from pyparsing import ParseException
    from rdflib import RDF, RDFS, SKOS
    from rdflib.plugins.sparql import prepareQuery

    from hflm.graphs.turtle import ENTITY, HFLM, RELATION, to_rdf

    spaces = {"entity": ENTITY, "relation": RELATION, "hflm": HFLM, "rdfs": RDFS, "rdf": RDF, "skos": SKOS}
    fix = "Ask as in: SELECT ?name WHERE { ?one relation:is_a ?two . ?two rdfs:label ?name }"
    try:
        prepared = prepareQuery(query, initNs=spaces)
    except (ParseException, Exception) as error:  # RDFLib raises bare Exceptions for unknown prefixes
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"No SPARQL that reads: {reason}.", fix=fix) from error
    if "ServiceGraphPattern" in repr(prepared.algebra) or prepared.algebra.get("datasetClause"):
        raise DataError("SERVICE and FROM ask other places than this graph.", fix="Leave them out.")
    try:
        result = to_rdf(graph).query(prepared)
        if result.type == "ASK":
            return [{"answer": bool(result.askAnswer)}]
        if result.type != "SELECT":
            return [dict(zip(("subject", "predicate", "object"), map(str, row), strict=True)) for row in result]
        names = [str(name) for name in result.vars or ()]
        return [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in result]
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"The query cannot be answered: {reason}.", fix=fix) from error


def _plain(value: Any) -> Any:
    return None if value is None else value.toPython() if hasattr(value, "value") else str(value)


def summary(graph: Graph, *, top: int = 10) -> dict[str, Any]:
    """Return what a graph holds: how much of everything, its relations, its most linked entities."""
    links: dict[str, int] = dict.fromkeys(graph.entities, 0)
    relations: dict[str, int] = {}
    for edge in graph.edges:
        relations[edge.relation] = relations.get(edge.relation, 0) + 1
        for end in (edge.head, edge.tail):
            links[end] += 1
    most = sorted(links, key=lambda end: (-links[end], end))[:top]
    return {
        "entities": len(graph.entities),
        "edges": len(graph.edges),
        "mentions": sum(len(edge.mentions) for edge in graph.edges),
        "not_found": sum(not edge.found for edge in graph.edges),
        "relations": dict(sorted(relations.items(), key=lambda one: -one[1])),
        "most_linked": [
            {"entity": graph.entities[end].name, "type": graph.entities[end].type, "edges": links[end]} for end in most
        ],
    }
