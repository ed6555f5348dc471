"""GraphML, as Gephi, yEd, Cytoscape and NetworkX read it: attributes are plain, lists stand in them as JSON."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import networkx as nx

from hflm.graphs.graph import Entity, Graph, edge_of

# XML has no place for these, not even as escapes.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def to_networkx(graph: Graph, *, whole: bool = True) -> "nx.MultiDiGraph[str]":
    """Return a graph of NetworkX; `whole` gives it all that GraphML keeps."""
    found: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for entity in graph.entities.values():
        extra = {"type": entity.type, "count": entity.count, "aliases": _json(entity.aliases)} if whole else {}
        found.add_node(entity.id, label=_clean(entity.name), **extra)
    for number, edge in enumerate(graph.edges):
        extra = {}
        if whole:
            extra = {
                "number": number,
                "count": len(edge.mentions),
                "found": edge.found,
                "mentions": _json(map(asdict, edge.mentions)),
            }
            if edge.confidence is not None:
                extra["confidence"] = edge.confidence
        found.add_edge(edge.head, edge.tail, relation=_clean(edge.relation), **extra)
    return found


def write(graph: Graph, path: Path) -> None:
    """Write GraphML; what the graph was made from is an attribute of the graph."""
    found = to_networkx(graph)
    found.graph["about"] = _json(graph.about)
    nx.write_graphml_xml(found, path, encoding="utf-8", named_key_ids=True)


def read(path: Path) -> Graph:
    """Read GraphML that `write` wrote, or any other whose edges have a relation, or a label."""
    found = nx.read_graphml(path, force_multigraph=True)
    graph = Graph(about=json.loads(found.graph.get("about", "{}")))
    for node, values in found.nodes(data=True):
        aliases = tuple(json.loads(values.get("aliases", "[]")))
        graph.entities[str(node)] = Entity(
            str(node), str(values.get("label", node)), str(values.get("type", "")), aliases, int(values.get("count", 0))
        )
    # A graph of NetworkX gives its edges by their heads, not as they came.
    edges = sorted(found.edges(data=True), key=lambda one: int(one[2].get("number", 0)))
    for head, tail, values in edges:
        relation = str(values.get("relation", values.get("label", "")))
        mentions = json.loads(values.get("mentions", "[]"))
        graph.edges.append(edge_of({"head": str(head), "relation": relation, "tail": str(tail), "mentions": mentions}))
    return graph


def _json(value: Any) -> str:
    if not isinstance(value, dict):
        value = list(value)
    return json.dumps(value)


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
