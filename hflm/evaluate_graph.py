"""A graph against the triples that are known to be right: precision, recall and F1, with intervals.

hflm graph evaluate graph.jsonl --gold gold.jsonl
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hflm.data.records import Record, read_records
from hflm.data.sources import find_sources
from hflm.data.triple_rows import read_triples
from hflm.errors import DataError
from hflm.graphs.entities import key_of
from hflm.graphs.graph import Graph
from hflm.metrics.registry import score
from hflm.metrics.triples import span
from hflm.triples import Triple, split_type, tidy, to_line

COLUMNS = ("triples", "triplets", "relations", "target")
PARTS = ("head", "relation", "tail")


def evaluate_graph(graph: Graph, gold: Path) -> dict[str, Any]:
    """Return the scores of a graph; each triple counts once, and intervals are drawn over triples.

    An entity of the gold file is one of the graph by any of its names. Raises DataError for rows that are no triples,
    and for a relation that the graph's model does not know.
    """
    wanted = _named_as_in(graph, read_gold(gold, known=graph.about.get("relations") or None))
    found = {(head, relation, tail) for head, relation, tail, _ in graph.named()}
    # A row for each triple of either side, with all its spellings: those that are one by their span stand in one row.
    spans: dict[Triple, list[Triple]] = {}
    for one in sorted(wanted | found):
        spans.setdefault(span(one), []).append(one)
    predictions = [to_line(one for one in same if one in found) for same in spans.values()]
    references = [to_line(one for one in same if one in wanted) for same in spans.values()]
    result = score("triples", predictions=predictions, references=references).to_json()
    # A row here is a triple, not what a model put out.
    details = {"per_relation": result["details"]["per_relation"]}
    return {"gold": len(wanted), "graph": len(found), "scores": result["scores"], "details": details}


def read_gold(path: Path, *, known: list[str] | None) -> list[Triple]:
    """Read rows of {"head", "relation", "tail"}, or with a list of triples each."""
    found = []
    for source in find_sources([str(path)]):
        for record in read_records(source):
            for triple in _of_row(record):
                if known is not None and tidy(triple[1]) not in known:
                    raise DataError(
                        f"{record.where}: the graph's model has no relation {triple[1]!r}; it has {known[:8]}.",
                        fix="Name the relations as in training.",
                    )
                found.append(triple)
    if not found:
        raise DataError(f"{path} has no triples.", fix="Give at least one.")
    return found


def _of_row(record: Record) -> list[Triple]:
    values: Mapping[str, Any] = record.values
    column = next((name for name in COLUMNS if name in values), None)
    if column:
        return read_triples(values[column], f"{record.where}, column {column!r}")
    if not all(name in values for name in PARTS):
        raise DataError(
            f"{record.where}: no column for the triples; it has {list(values)[:12]}.",
            fix='Write {"head": "Ada", "relation": "born in", "tail": "London"}.',
        )
    return read_triples([[values[name] for name in PARTS]], record.where)


def _named_as_in(graph: Graph, triples: list[Triple]) -> set[Triple]:
    names = {key_of(own)[0]: entity.name for entity in graph.entities.values() for own in
             (*entity.aliases, entity.name)}  # fmt: skip

    def named(name: str) -> str:
        plain = split_type(tidy(name))[0]
        return names.get(key_of(plain)[0], plain)

    return {(named(head), tidy(relation), named(tail)) for head, relation, tail in triples}
