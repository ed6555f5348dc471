"""Triples as a line and back, in the shapes that people keep them in."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hflm.cli.app import main
from hflm.data.triple_rows import read_triples
from hflm.errors import DataError
from hflm.triples import from_line, split_type, tidy, to_line, whole_part
from tests.tiny import write

PARTS = st.text(min_size=1, max_size=12).filter(lambda part: bool(tidy(part.replace("|", "/"))))


@settings(deadline=None)
@given(st.lists(st.tuples(PARTS, PARTS, PARTS), max_size=4))
def test_what_is_written_is_read_back(triples: list[tuple[str, str, str]]) -> None:
    wanted = dict.fromkeys(tuple(tidy(part.replace("|", "/")) for part in triple) for triple in triples)
    assert list(dict.fromkeys(from_line(to_line(triples)) or ())) == list(wanted)


@pytest.mark.parametrize(
    ("line", "wanted", "kept"),
    [
        ("none", [], "none"), ("a | b | c", [("a", "b", "c")], "a | b | c"), ("a | b", None, "none"),
        ("a | b | c | d", None, "a | b | c"), ("a |  | c", None, "none"), ("", None, "none"),
        ("没有 | 在 |  北京 ", [("没有", "在", "北京")], "没有 | 在 |  北京"), ("nothing said", None, "none"),
    ],
)  # fmt: skip
def test_a_line_that_is_not_whole_is_no_line(line: str, wanted: Any, kept: str) -> None:
    assert from_line(line) == wanted
    assert whole_part(line).strip() == kept


def test_a_type_stands_behind_a_name() -> None:
    assert split_type("Ada Lovelace (person)") == ("Ada Lovelace", "person")
    assert split_type("爱因斯坦（人物）") == split_type("爱因斯坦 (人物)") == ("爱因斯坦", "人物")
    assert split_type("able") == ("able", "") and split_type("(person)") == ("(person)", "")


@pytest.mark.parametrize(
    "value",
    [
        [["Ada", "born in", "London"]], '[["Ada", "born in", "London"]]',
        [{"head": "Ada", "relation": "born in", "tail": "London"}],
        [{"subject": "Ada", "predicate": "born in", "object": "London", "score": 1}],
    ],
)  # fmt: skip
def test_shapes_of_triples(value: Any) -> None:
    assert read_triples(value, "here") == [("Ada", "born in", "London")]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Ada | born in | London", "no list of triples"), (None, "no list of triples"), ({"a": 1}, "no list"),
        ([["Ada", "born in"]], r"triple 1: found .*no \[head, relation, tail\]"), (["Ada"], "triple 1"),
        ([["a", "b", "c"], ["Ada", "born in", 3]], "triple 2"), ([["Ada", " ", "London"]], "part is empty"),
        ([{"head": "Ada"}], "triple 1"),
    ],
)  # fmt: skip
def test_what_are_no_triples(value: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"rows, line 4.*{said}"):
        read_triples(value, "rows, line 4")


def test_bad_rows_are_named_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": "Ada ran", "triples": []}, {"text": "Ada", "triples": "Ada"}, {"text": " ", "triples": []}]
    path = write(tmp_path / "rows.jsonl", rows)
    assert main(["data", "check", str(path), "--task", "knowledge-graph"]) == 2
    said = capsys.readouterr()
    assert "line 2, column 'triples': found 'Ada', which is no list of triples. Write [[" in said.err
    assert "line 3, column 'text': it is empty" in said.err and "1 can be used, 2 cannot" in said.out
    assert main(["plan", "--task", "knowledge_graph", "--model", "none", "--data", str(path)]) == 2
    assert "line 2, column 'triples'" in capsys.readouterr().err


def test_the_sample_is_grounded_in_its_texts() -> None:
    from hflm.data.records import read_records
    from hflm.data.samples import sample_files
    from hflm.data.sources import find_sources
    from hflm.graphs.spans import find_ends
    from hflm.recipe_files import load_task

    sources = find_sources(sample_files(load_task("knowledge-graph")))
    rows = {source.path.name.split(".")[1]: [record.values for record in read_records(source)] for source in sources}
    assert {name: len(found) for name, found in rows.items()} == {"train": 2000, "validation": 200, "test": 300}
    for row in (row for found in rows.values() for row in found):
        for head, relation, tail in read_triples(row["triples"], "sample"):
            assert all(find_ends(row["text"], head, tail)) and relation == tidy(relation)
    heads = {name: {row["text"].partition(": ")[0].lower() for row in found} for name, found in rows.items()}
    assert not heads["train"] & (heads["test"] | heads["validation"])
    assert 0 < sum(not row["triples"] for row in rows["test"]) < 60
