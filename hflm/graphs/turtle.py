"""Turtle, as every store of RDF reads it: a triple is a plain statement, and its mentions hang on its reification."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from rdflib import RDF, RDFS, SKOS, Literal, Namespace, URIRef
from rdflib import Graph as RdfGraph

from hflm.graphs.entities import free
from hflm.graphs.graph import Edge, Entity, Graph, Mention
from hflm.graphs.spans import Span
from hflm.words import marks, plain

ENTITY = Namespace("urn:hflm:entity:")
RELATION = Namespace("urn:hflm:relation:")
HFLM = Namespace("urn:hflm:")


def to_rdf(graph: Graph) -> RdfGraph:
    """Return a graph of RDFLib, with the prefixes entity, relation, hflm, rdfs and skos."""
    found = RdfGraph()
    for name, space in (("entity", ENTITY), ("relation", RELATION), ("hflm", HFLM), ("rdfs", RDFS), ("skos", SKOS)):
        found.bind(name, space, override=True)
    found.add((HFLM["graph"], HFLM["about"], Literal(json.dumps(graph.about))))
    for entity in graph.entities.values():
        _add_entity(found, entity)
    taken: set[str] = set()
    # Two relations whose letters are the same, as "is a" and "is-a", are two.
    names = {one: free(plain(one) or "relation", taken) for one in dict.fromkeys(edge.relation for edge in graph.edges)}
    for number, edge in enumerate(graph.edges, start=1):
        _add_edge(found, edge, RELATION[names[edge.relation]], HFLM[f"statement:{number}"])
    return found


def _add_entity(found: RdfGraph, entity: Entity) -> None:
    node = _entity(entity.id)
    found.add((node, RDF.type, HFLM["Entity"]))
    found.add((node, RDFS.label, Literal(entity.name)))
    found.add((node, HFLM["count"], Literal(entity.count)))
    if entity.type:
        found.add((node, HFLM["type"], Literal(entity.type)))
    for alias in entity.aliases:
        found.add((node, SKOS.altLabel, Literal(alias)))


def _add_edge(found: RdfGraph, edge: Edge, relation: URIRef, statement: URIRef) -> None:
    triple = (_entity(edge.head), relation, _entity(edge.tail))
    found.add(triple)
    found.add((relation, RDFS.label, Literal(edge.relation)))
    found.add((statement, RDF.type, RDF.Statement))
    for role, node in zip((RDF.subject, RDF.predicate, RDF.object), triple, strict=True):
        found.add((statement, role, node))
    found.add((statement, HFLM["count"], Literal(len(edge.mentions))))
    found.add((statement, HFLM["found"], Literal(edge.found)))
    if edge.confidence is not None:
        found.add((statement, HFLM["confidence"], Literal(edge.confidence)))
    for number, mention in enumerate(edge.mentions, start=1):
        _add_mention(found, mention, statement, URIRef(f"{statement}:{number}"))


def _add_mention(found: RdfGraph, mention: Mention, statement: URIRef, node: URIRef) -> None:
    found.add((statement, HFLM["mention"], node))
    # Bytes of a name that are no UTF-8 have no place in Turtle.
    file = mention.file.encode("utf-8", "backslashreplace").decode()
    values = {"file": file, "line": mention.line, "mentionConfidence": mention.confidence}
    for side, span in (("head", mention.head), ("tail", mention.tail)):
        if span:
            values |= {f"{side}Start": span[0], f"{side}End": span[1]}
    for name, value in values.items():
        if value is not None:
            found.add((node, HFLM[name], Literal(value)))


def _entity(identity: str) -> URIRef:
    return ENTITY[identity if re.fullmatch(rf"[\w{marks()}-]+", identity) else quote(identity, safe="")]


def _identity(node: Any) -> str:
    return unquote(str(node).removeprefix(str(ENTITY)))


def read(path: Path) -> Graph:
    """Read Turtle that `to_rdf` wrote; raises ValueError where a statement is not whole."""
    rdf = RdfGraph()
    rdf.parse(str(path), format="turtle")
    graph = Graph(about=json.loads(str(rdf.value(HFLM["graph"], HFLM["about"]) or "{}")))
    for node in rdf.subjects(RDF.type, HFLM["Entity"]):
        identity = _identity(node)
        aliases = tuple(sorted(str(name) for name in rdf.objects(node, SKOS.altLabel)))
        graph.entities[identity] = Entity(
            identity, str(rdf.value(node, RDFS.label)), str(rdf.value(node, HFLM["type"]) or ""), aliases,
            int(str(rdf.value(node, HFLM["count"]) or 0)),
        )  # fmt: skip
    statements = sorted(rdf.subjects(RDF.type, RDF.Statement), key=lambda node: int(str(node).rpartition(":")[2]))
    for node in statements:
        ends = [_identity(rdf.value(node, role)) for role in (RDF.subject, RDF.object)]
        relation = str(rdf.value(rdf.value(node, RDF.predicate), RDFS.label))
        places = sorted(rdf.objects(node, HFLM["mention"]), key=lambda one: int(str(one).rpartition(":")[2]))
        graph.edges.append(Edge(ends[0], relation, ends[1], [_mention(rdf, place) for place in places]))
    return graph


def _mention(rdf: RdfGraph, node: Any) -> Mention:
    def of(name: str) -> str | None:
        value = rdf.value(node, HFLM[name])
        return None if value is None else str(value)

    def span(side: str) -> Span | None:
        start, end = of(f"{side}Start"), of(f"{side}End")
        return (int(start), int(end)) if start is not None and end is not None else None

    confidence = of("mentionConfidence")
    return Mention(
        of("file") or "", int(of("line") or 0), span("head"), span("tail"), float(confidence) if confidence else None
    )
