"""Ends of triples where a tagger knows their places: which end is the tagged entity."""

import pytest

from hflm.graphs import extraction


@pytest.mark.parametrize(
    ("text", "end", "head", "tail", "names"),
    [
        ("University of Paris lies there.", 19, "University of Paris", "Paris", ["University of Paris", "Paris"]),
        ("The University of Paris", 23, "University of Paris", "Paris", ["The University of Paris", "Paris"]),
        ("The University of Paris", 23, "Paris", "University of Paris", ["Paris", "The University of Paris"]),
        ("北京大学在这里", 4, "北京大学", "北京", ["北京大学", "北京"]),
        ("北京大学在这里", 4, "北京", "大学", ["北京", "大学"]),
        ("Ada Lovelace", 12, "Ada", "Ada", ["Ada Lovelace", "Ada Lovelace"]),
    ],
)
def test_an_end_inside_of_the_other_keeps_its_own_name(
    text: str, end: int, head: str, tail: str, names: list[str]
) -> None:
    row = {"triples": [(head, "in", tail)], "confidence": [0.5]}
    (triple,) = extraction._placed(text, row, [(0, end, "place")])
    assert [triple[side]["name"] for side in ("head", "tail")] == names
    for side, name in zip(("head", "tail"), names, strict=True):
        assert text[slice(*triple[side]["at"])] == name
        assert triple[side].get("type") == ("place" if name == text[:end] else None)
