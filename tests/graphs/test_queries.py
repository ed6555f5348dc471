"""Questions, drawings and scores of a graph."""

import json
import re
from pathlib import Path

import pytest

from hflm.cli.app import main
from hflm.errors import DataError, UsageError
from hflm.evaluate_graph import evaluate_graph
from hflm.graphs.drawing import part_of
from hflm.graphs.files import write_graph
from hflm.graphs.graph import Edge, Entity, Graph, Mention
from hflm.graphs.layout import HEIGHT, places
from hflm.graphs.queries import neighbours, paths, sparql, summary
from tests.tiny import write

NAMES = ("Ada", "London", "England", "Babbage", "Mars", "<script>alert(1)</script>")
EDGES = ((0, "born in", 1), (1, "part of", 2), (3, "born in", 1), (0, "knew", 3), (4, "is a", 5))


@pytest.fixture
def graph() -> Graph:
    ids = [f"e{number}" for number in range(len(NAMES))]
    found = Graph({own: Entity(own, name, count=1) for own, name in zip(ids, NAMES, strict=True)})
    found.entities["e0"].aliases = ("Lady Lovelace",)
    found.edges = [Edge(ids[a], name, ids[b], [Mention("b.txt", 3, (0, 3), (9, 12) if a else None, 0.5)])
                   for a, name, b in EDGES]  # fmt: skip
    found.about = {"relations": ["born in", "part of", "knew", "is a"]}
    return found


@pytest.fixture
def file(graph: Graph, tmp_path: Path) -> str:
    write_graph(graph, tmp_path / "graph.jsonl")
    return str(tmp_path / "graph.jsonl")


def test_neighbours_by_any_name_and_distance(graph: Graph) -> None:
    near = neighbours(graph, "lady  LOVELACE")
    assert {(row["head"], row["relation"], row["tail"]) for row in near} == {
        ("Ada", "born in", "London"), ("Ada", "knew", "Babbage"),
    }  # fmt: skip
    far = neighbours(graph, "Ada", hops=2)
    assert len(far) == 4 and [row["hops"] for row in far] == [1, 1, 2, 2]
    with pytest.raises(DataError, match="no entity 'Londn'. Did you mean 'London'"):
        neighbours(graph, "Londn")
    with pytest.raises(DataError, match="no entity 'Zzz'. `hflm graph show` names the most linked ones"):
        neighbours(graph, "Zzz")


def test_shortest_ways_walk_edges_either_way(graph: Graph) -> None:
    (way,) = paths(graph, "England", "Babbage")
    assert [row["relation"] for row in way] == ["part of", "born in"]
    with pytest.raises(DataError, match="No way leads from 'Ada' to 'Mars'"):
        paths(graph, "Ada", "Mars")


def test_sparql_reads_and_does_nothing_else(graph: Graph) -> None:
    rows = sparql(graph, "SELECT ?n WHERE { ?a relation:born_in ?b . ?a rdfs:label ?n } ORDER BY ?n")
    assert rows == [{"n": "Ada"}, {"n": "Babbage"}]
    assert sparql(graph, "ASK { entity:e0 relation:knew entity:e3 }") == [{"answer": True}]
    flagged = sparql(graph, "SELECT ?s WHERE { ?s hflm:found false }")
    assert len(flagged) == 2
    # A name may hold the word that asks elsewhere.
    assert sparql(graph, 'ASK { ?a rdfs:label "Girl from Ipanema" }') == [{"answer": False}]
    for bad in ("DELETE WHERE { ?a ?b ?c }", "SELECT", "SELECT ?a WHERE { ?a no:thing ?b }",
                "SELECT ?a WHERE { SERVICE <http://localhost:1/> { ?a ?b ?c } }",
                "SELECT ?a FROM <http://localhost:1/> WHERE { ?a ?b ?c }"):  # fmt: skip
        with pytest.raises(DataError):
            sparql(graph, bad)


def test_a_summary_counts(graph: Graph) -> None:
    found = summary(graph)
    assert (found["entities"], found["edges"], found["not_found"]) == (6, 5, 2)
    assert found["most_linked"][0] == {"entity": "London", "type": "", "edges": 3}


def test_no_name_lies_on_another_and_parts_stand_apart(graph: Graph) -> None:
    at = list(places(graph).items())
    assert at == list(places(graph).items())
    for number, (one, (x, y)) in enumerate(at):
        for other, (x2, y2) in at[number + 1 :]:
            letters = (len(NAMES[int(one[1:])]) + len(NAMES[int(other[1:])])) / 2
            assert abs(x - x2) >= 6 * letters or abs(y - y2) >= HEIGHT * 0.9, (one, other)


def test_a_part_of_a_graph(graph: Graph) -> None:
    assert set(part_of(graph, top=4).entities) == {"e0", "e1", "e2", "e3"}
    assert set(part_of(graph, top=9, around="Mars", hops=1).entities) == {"e4", "e5"}
    with pytest.raises(UsageError, match="--top is 0"):
        part_of(graph, top=0)


def test_the_page_needs_nothing_else_and_names_are_no_html(file: str, tmp_path: Path) -> None:
    assert main(["graph", "show", file, "-o", str(tmp_path / "g.html")]) == 0
    page = (tmp_path / "g.html").read_text(encoding="utf-8")
    # The one address is the name of SVG's elements; nothing is loaded.
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.findall(r"<(?:script|img|link)[^>]*(?:src|href)=\"(?!data:)", page) and "@import" not in page
    assert "<script>alert" not in page and "innerHTML" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [node["name"] for node in data["nodes"]] == list(NAMES) and len(data["edges"]) == 5


def test_show_draws_and_counts(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "show", file]) == 0
    assert "entities   6" in capsys.readouterr().out
    picture = tmp_path / "g.png"
    assert main(["graph", "show", file, "-o", str(picture), "--top", "10"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 150_000
    near = ["-o", str(tmp_path / "near.html"), "--around", "Mars"]
    for words in (near, [*near, "--hops", "1", "--overwrite"]):
        capsys.readouterr()
        assert main(["graph", "show", file, *words]) == 0
        assert "shows 2 of 6 entities" in capsys.readouterr().out
    wrong = {"no picture": ["-o", "g.gif"], "exists": ["-o", str(picture)], "--top is 0": ["--top", "0", "-o", "x.png"],
             "Pass -o": ["--around", "Ada"], "--top is for a drawing": ["--top", "30"],
             "--hops is for a drawing": ["--hops", "3"], "--overwrite is for a drawing": ["--overwrite"],
             "Pass --around": ["--hops", "3", "-o", "x.png"]}  # fmt: skip
    for said, words in wrong.items():
        assert main(["graph", "show", file, *words]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_query_on_the_command_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "query", file, "Ada"]) == 0
    assert "born in" in capsys.readouterr().out
    assert main(["graph", "query", file, "England", "Babbage"]) == 0
    assert capsys.readouterr().out == "London - part of - England; Babbage - born in - London\n"
    assert main(["graph", "query", file, "--sparql", "SELECT ?a WHERE { ?a relation:is_a ?b }", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"a": "urn:hflm:entity:e4"}]
    assert main(["graph", "query", file, "Ada", "--hops", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    for words in (["England", "Babbage"], ["--sparql", "SELECT ?a WHERE { ?a relation:is_a ?b }"]):
        assert main(["graph", "query", file, *words, "--hops", "2"]) == 2
        assert "--hops counts edges from one entity" in capsys.readouterr().err
    for words in ([], ["a", "b", "c"], ["Ada", "--sparql", "ASK {}"], ["Ada", "--hops", "0"], ["nobody"]):
        assert main(["graph", "query", file, *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["graph", "query", "none.jsonl", "Ada"]) == 2
    assert "No such file" in capsys.readouterr().err


def test_scores_against_gold(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path / "gold.jsonl", [
        {"text": "...", "triples": [["Lady Lovelace", "born in", "the London"], ["Ada", "knew", "Babbage"]]},
        {"text": "...", "triples": []}, {"text": "...", "triples": [["Ada", "part of", "London"]]},
    ])  # fmt: skip
    assert main(["graph", "evaluate", file, "--gold", str(gold), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    # Two of three are right, of five that the graph has.
    assert found["scores"]["strict_precision"]["value"] == pytest.approx(2 / 5)
    assert found["scores"]["strict_recall"]["value"] == pytest.approx(2 / 3)
    assert found["details"]["per_relation"]["knew"]["f1"] == 1
    flat = write(tmp_path / "flat.jsonl", [{"head": "Ada", "relation": "knew", "tail": "Babbage"}])
    assert main(["graph", "evaluate", file, "--gold", str(flat)]) == 0
    assert "5 triples of the graph against 1" in capsys.readouterr().out


def test_by_boundary_spaces_and_capitals_do_not_count(graph: Graph, tmp_path: Path) -> None:
    graph.entities["e0"].name, graph.entities["e1"].name = "J. R. R. Tolkien", "LONDON"
    ends = (("J.R.R. Tolkien", "London (city)"), ("J.R.R.Tolkien", "London"))
    rows = [{"head": head, "relation": "born in", "tail": tail} for head, tail in ends]
    gold = write(tmp_path / "gold.jsonl", rows)
    found = evaluate_graph(graph, gold)["scores"]
    assert found["strict_f1"]["value"] == 0 and found["boundary_recall"]["value"] == 1
    assert found["boundary_precision"]["value"] == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"triples": [["Ada", "married", "x"]]}, "line 1: the graph's model has no relation 'married'"),
        ({"triples": "Ada"}, "no list of triples"), ({"triples": [["Ada"]]}, "triple 1"), ({"a": 1}, "no column"),
        ({"triples": []}, "no triples"), ({"head": "Ada", "relation": "knew", "tail": ""}, "part is empty"),
    ],
)  # fmt: skip
def test_bad_gold(row: object, said: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path / "gold.jsonl", [row])  # type: ignore[list-item]
    assert main(["graph", "evaluate", file, "--gold", str(gold)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_name_of_several_is_refused_with_their_ids(graph: Graph) -> None:
    graph.entities["paris"] = Entity("paris", "Paris", "city", count=1)
    graph.entities["paris_2"] = Entity("paris_2", "PARIS", "person", count=1)
    graph.entities["e4"].aliases = ("Ada",)
    with pytest.raises(DataError, match="2 entities are called 'paris '"):
        neighbours(graph, "paris ")
    assert neighbours(graph, "paris_2") == []
    # What is called so comes before what is also called so.
    assert neighbours(graph, "ada") and {row["head"] for row in neighbours(graph, "ada")} == {"Ada"}
