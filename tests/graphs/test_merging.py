"""Names made entities, triples made edges, the same in every file format."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import rdflib

from hflm.errors import DataError, UsageError
from hflm.graphs.entities import key_of, read_aliases
from hflm.graphs.files import check_output, read_graph, write_graph
from hflm.graphs.graph import Graph
from hflm.graphs.merging import merge
from hflm.graphs.similar import embed, pairs_alike
from hflm.graphs.spans import find_ends
from tests.tiny import write

SAID = [
    ("Ada Lovelace was born in London.", [("Ada Lovelace", "born in", "London", 0.9)]),
    ("She is ADA  LOVELACE, born in the London.", [("ADA LOVELACE", "born in", "the London", 0.5)]),
    ("Lady Lovelace knew Babbage (person).", [("Lady Lovelace", "knew", "Babbage (person)", 0.8)]),
    ("Nothing of it.", [("Ada Lovelace", "knew", "Mars", 0.1)]),
    ("李明在北京。\x0b <b> & \"q\" $x$", [("李明", "在", "北京", None), ("<b>", "knew", "\"q\"", 0.7)]),
]  # fmt: skip


def records() -> list[dict[str, Any]]:
    """Records as an extraction writes them."""
    found = []
    for number, (text, triples) in enumerate(SAID):
        placed = []
        for head, relation, tail, confidence in triples:
            one, two = find_ends(text, head, tail.removesuffix(" (person)"))
            placed.append({"head": {"name": head, "at": one}, "relation": relation, "tail": {"name": tail, "at": two},
                           "confidence": confidence})  # fmt: skip
        found.append({"file": "b.txt", "line": number + 1, "start": 100 * number, "text": text, "triples": placed,
                      "entities": [[0, 2, "NAME"]] if number == 3 else []})  # fmt: skip
    return found


@pytest.fixture
def graph() -> Graph:
    found = merge(records, aliases={})
    found.about = {"model": "m", "relations": ["born in", "knew", "在"]}
    return found


def test_spellings_are_one_entity_and_the_same_triple_one_edge(graph: Graph) -> None:
    ada = graph.entities["ada_lovelace"]
    assert ada.name == "Ada Lovelace" and ada.aliases == ("ADA LOVELACE",) and ada.count == 3
    edge = graph.edges[0]
    assert (edge.head, edge.relation, edge.tail) == ("ada_lovelace", "born in", "london")
    assert edge.confidence == 0.9 and [mention.line for mention in edge.mentions] == [1, 2]
    assert edge.mentions[1].head == (107, 120) and edge.found
    assert graph.entities["babbage"].type == "person"
    # What the tagger alone found is an entity too; what the text does not hold is flagged.
    assert graph.entities["no"].type == "name" and not graph.edges[2].found and graph.edges[2].mentions[0].head is None


def test_a_low_confidence_is_left_out_with_what_only_it_named() -> None:
    found = merge(records, aliases={}, least=0.6)
    assert len(found.edges) == 4 and "mars" not in found.entities and len(found.edges[0].mentions) == 1


def test_aliases_join_and_name(tmp_path: Path) -> None:
    path = write(tmp_path / "aliases.jsonl", [{"alias": "lady lovelace", "name": "Augusta Ada King"},
                                              {"alias": "Ada Lovelace", "name": "Augusta Ada King"}])  # fmt: skip
    found = merge(records, aliases=read_aliases(path))
    ada = found.entities["augusta_ada_king"]
    assert ada.name == "Augusta Ada King" and set(ada.aliases) == {"Ada Lovelace", "ADA LOVELACE", "Lady Lovelace"}
    with pytest.raises(DataError, match="line 1: no alias with its name; it has .*'x'"):
        read_aliases(write(tmp_path / "bad.jsonl", [{"x": 1}]))


def test_names_alike_are_joined_within_their_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(names: list[str], *, model: str) -> Any:
        return np.array([[1.0, 0] if "lovelace" in name or name == "babbage" else [0, 1.0] for name in names])

    monkeypatch.setattr("hflm.graphs.similar.embed", embed)
    found = merge(records, aliases={}, similar=0.95)
    assert found.entities["ada_lovelace"].aliases == ("ADA LOVELACE", "Lady Lovelace") and "babbage" in found.entities


def test_pairs_alike_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hflm.graphs.similar.BLOCK", 2)
    vectors = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = {(a, b) for a in range(9) for b in range(a + 1, 9) if vectors[a] @ vectors[b] >= 0.5}
    assert set(pairs_alike(vectors, least=0.5)) == wanted and wanted


def test_names_that_an_encoder_does_not_know_are_joined_with_none(tiny: Callable[[str], str]) -> None:
    vectors = embed(["ॐ", "ฮ", "Emma", "Emma", "Emma ॐ"], model=tiny("bert"))
    assert not vectors[[0, 1, 4]].any()
    assert np.allclose(np.linalg.norm(vectors[2:4], axis=1), 1, atol=1e-5)
    assert list(pairs_alike(vectors, least=0.01)) == [(2, 3)]


def test_a_name_is_the_same_beside_longer_ones(tiny: Callable[[str], str], tmp_path: Path) -> None:
    """The tokenizer of a decoder may pad on the left, which would move the places of its tokens."""
    folder = Path(shutil.copytree(tiny("gpt2"), tmp_path / "gpt2"))
    told = folder / "tokenizer_config.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "padding_side": "left"}))
    alone, beside = (embed(names, model=str(folder))[0] for names in (["Emma"], ["Emma", "Emma ran home"]))
    assert np.allclose(alone, beside, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["“The  Ada!”", "ada", "An ADA", "Ａｄａ", "《Ada》", "「Ada」、", "„Ada‚", "¿Ada؟", "Ada।"]
)
def test_a_key_is_the_same_for_all_spellings(name: str) -> None:
    assert key_of(name) == ("ada", "")


def test_a_key_is_never_empty() -> None:
    assert key_of("the")[0] == "the" and key_of("...")[0] == "..."


@pytest.mark.parametrize("ending", [".jsonl", ".graphml", ".ttl"])
def test_every_format_is_read_back(ending: str, graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / f"graph{ending}"
    write_graph(graph, path)
    found = read_graph(path)
    assert found.entities == graph.entities and found.edges == graph.edges and found.about == graph.about
    assert [path.name for path in tmp_path.iterdir()] == [f"graph{ending}"]
    if ending == ".graphml":
        assert nx.read_graphml(path).number_of_edges() == len(graph.edges)
    if ending == ".ttl":
        rdf = rdflib.Graph().parse(path)
        assert (None, None, rdflib.URIRef("urn:hflm:entity:北京")) in rdf


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", "{"), ("a.jsonl", '{"kind": "edge"}\n'), ("a.jsonl", ""), ("a.graphml", "<graph"), ("a.ttl", "a b"),
     ("a.ttl", ""), ("a.jsonl", "[]\n")],
)  # fmt: skip
def test_what_is_no_graph_is_refused(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=r"no (line of a )?graph|no entities"):
        read_graph(tmp_path / name)


@pytest.mark.parametrize("end", ["head", "tail"])
@pytest.mark.parametrize("ending", [".jsonl", ".ttl"])
def test_an_edge_without_its_entity_is_refused(end: str, ending: str, graph: Graph, tmp_path: Path) -> None:
    setattr(graph.edges[1], end, "nobody")
    path = tmp_path / f"g{ending}"
    write_graph(graph, path)
    line = f", line {len(graph.entities) + 3}" if ending == ".jsonl" else ""
    with pytest.raises(DataError, match=f"g{ending}{line}: the edge 'knew' has an end 'nobody'"):
        read_graph(path)


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "there.ttl").write_text("@prefix a: <b> .")
    for name, said in (("g.txt", "ends in .txt, which is no format"), ("g", "has no ending"), ("there.ttl", "exists"),
                       ("there.ttl/g.ttl", "Cannot write")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            check_output(tmp_path / name, overwrite=False)
    check_output(tmp_path / "there.ttl", overwrite=True)


def test_a_name_whose_triple_is_left_out_is_an_entity_still() -> None:
    record = {"file": "b.txt", "line": 1, "start": 0, "text": "Ada ran.", "entities": [[0, 3, "PER"]], "triples": [
        {"head": {"name": "Ada", "at": [0, 3]}, "relation": "knew", "tail": {"name": "Mars", "at": None},
         "confidence": 0.1}
    ]}  # fmt: skip
    found = merge(lambda: [record], aliases={}, least=0.5)
    assert not found.edges and [entity.name for entity in found.entities.values()] == ["Ada"]


def test_a_tagged_name_is_without_its_line_break() -> None:
    record = {"file": "b.txt", "line": 1, "start": 0, "text": "Ada\n  Lovelace", "entities": [[0, 14, "PER"]],
              "triples": []}  # fmt: skip
    found = merge(lambda: [record], aliases={})
    assert [entity.name for entity in found.entities.values()] == ["Ada Lovelace"]


def said(*triples: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Records of triples that stand nowhere."""
    one = [{"head": {"name": h, "at": None}, "relation": r, "tail": {"name": t, "at": None}, "confidence": 0.5}
           for h, r, t in triples]  # fmt: skip
    return [{"file": "b.txt", "line": 1, "start": 0, "text": "", "triples": one, "entities": []}]


def test_every_entity_has_an_id_of_its_own() -> None:
    names = ["World War", "World-War", "World War 2", "World+War"]
    found = merge(lambda: said(*((name, "in", "Europe") for name in names)), aliases={})
    assert [entity.name for entity in found.entities.values()] == ["World War", "Europe", *names[1:]]
    assert [edge.head for edge in found.edges] == [own for own, one in found.entities.items() if one.name != "Europe"]


@pytest.mark.parametrize("ending", [".ttl", ".graphml", ".jsonl"])
def test_relations_and_names_of_any_script_stay_apart(ending: str, tmp_path: Path) -> None:
    rows = [("राम", "पिता", "लव"), ("राम", "पोता", "अज"), ("a", "is a", "b"), ("a", "is-a", "c"), ("a", "!", "100%")]
    found = merge(lambda: said(*rows), aliases={})
    write_graph(found, tmp_path / f"g{ending}")
    again = read_graph(tmp_path / f"g{ending}")
    assert list(again.named()) == list(found.named())
    assert [edge.relation for edge in again.edges] == [relation for _, relation, _ in rows]


def test_a_name_without_a_type_is_the_one_that_has_one() -> None:
    rows = [("London", "in", "England"), ("London (city)", "on", "Thames"), ("Paris (city)", "in", "France"),
            ("Paris (person)", "knew", "Helen"), ("Paris", "saw", "Troy")]  # fmt: skip
    found = merge(lambda: said(*rows), aliases={})
    assert [(one.id, one.type, one.count) for one in found.entities.values() if one.name == "London"] == [
        ("london", "city", 2)
    ]
    # Of two types it may be either.
    assert sorted(one.type for one in found.entities.values() if one.name == "Paris") == ["", "city", "person"]


def test_a_type_in_full_width_brackets_is_one() -> None:
    found = merge(lambda: said(("爱因斯坦（人物）", "生于", "乌尔姆"), ("爱因斯坦", "死于", "普林斯顿")), aliases={})
    assert [(one.name, one.type, one.count) for one in found.entities.values()][0] == ("爱因斯坦", "人物", 2)


def test_an_alias_of_an_alias(tmp_path: Path) -> None:
    rows = [("Lizzy", "Elizabeth"), ("Elizabeth", "Elizabeth Bennet"), ("A", "B"), ("B", "A")]
    names = read_aliases(write(tmp_path / "a.jsonl", [{"alias": one, "name": two} for one, two in rows]))
    found = merge(lambda: said(("Lizzy", "is", "Elizabeth"), ("A", "is", "B")), aliases=names)
    assert [one.name for one in found.entities.values()] == ["Elizabeth Bennet", names["a"]]
