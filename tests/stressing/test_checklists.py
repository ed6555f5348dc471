"""Tests that users write: what passes, what fails, and what is refused with its line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hflm.errors import DataError
from hflm.families.prompts import as_messages
from hflm.stressing.checklists import judge, questions, read_tests
from hflm.stressing.subject import Answers
from tests.tiny import write

LABELS = ["bad", "good"]
ROWS: list[dict[str, Any]] = [
    {"name": "m", "test": "MFT", "text": "fine", "label": "good"},
    {"name": "m", "test": "mft", "text": "awful", "label": "good"},
    {"name": "i", "test": "INV", "text": "Ana", "variants": ["Omar", "李"]},
    {"name": "d", "test": "DIR", "text": "long", "variants": ["long, loved"], "label": "good", "direction": "up"},
    {"name": "d", "test": "DIR", "text": "long", "variants": ["long, loved"], "label": "good", "direction": "down"},
    {"name": "d", "test": "DIR", "text": "long", "variants": ["long, loved"], "label": "good", "direction": "down",
     "tolerance": 0.5},
]  # fmt: skip
GOOD = {"fine": 0.9, "awful": 0.1, "Ana": 0.6, "Omar": 0.7, "李": 0.2, "long": 0.5, "long, loved": 0.8}


def test_each_kind_is_judged_by_its_rule(tmp_path: Path) -> None:
    tests = read_tests(write(tmp_path / "t.jsonl", ROWS), labels=LABELS)
    asked = questions(tests, role="text")
    assert [example["text"] for example in asked] == list(GOOD)
    logits = np.log([[1 - GOOD[e["text"]], GOOD[e["text"]]] for e in asked])
    answers = Answers([LABELS[int(GOOD[e["text"]] >= 0.5)] for e in asked], logits)
    found = judge(tests, asked, answers, labels=LABELS, temperature=1.0)
    assert {name: (one["test"], one["rows"], one["failed"]) for name, one in found.items()} == {
        "m": ("MFT", 2, 1), "i": ("INV", 1, 1), "d": ("DIR", 3, 1),
    }  # fmt: skip
    assert found["i"]["failures"][0]["variant"] == "李" and found["m"]["failures"][0]["answer"] == "bad"
    failure = found["d"]["failures"][0]
    assert (failure["chance"], failure["chance_then"]) == (pytest.approx(0.5), pytest.approx(0.8))


def test_texts_are_judged_by_what_they_contain(tmp_path: Path) -> None:
    rows = [{"name": "w", "test": "MFT", "text": text, "contains": "Paris", "lacks": ["sorry"]} for text in "abc"]
    tests = read_tests(write(tmp_path / "t.jsonl", rows), labels=[])
    answers = Answers(["It is paris.", "Rome", "Paris, sorry"])
    found = judge(tests, questions(tests, role="prompt"), answers, labels=[], temperature=1.0)
    assert found["w"]["failed"] == 2


def test_what_is_contained_is_found_in_whatever_form_it_is_written(tmp_path: Path) -> None:
    apart, composed = "Me\u0301xico", "M\u00e9xico"
    rows = [{"name": key, "test": "MFT", "text": text, key: wanted}
            for key in ("contains", "lacks") for text, wanted in (("a", apart), ("b", composed))]  # fmt: skip
    tests = read_tests(write(tmp_path / "t.jsonl", rows), labels=[])
    answers = Answers([f"It is {composed.upper()}.", apart])
    found = judge(tests, questions(tests, role="prompt"), answers, labels=[], temperature=1.0)
    assert (found["contains"]["failed"], found["lacks"]["failed"]) == (0, 2)


@pytest.mark.parametrize(
    ("written", "own"),
    [(True, "true"), (1.0, "1"), (1, "1"), (" good ", "good"), ("e\u0301", "\u00e9"), ("\u00e9", "e\u0301")],
)
def test_labels_are_read_as_those_of_rows_are(written: Any, own: str, tmp_path: Path) -> None:
    rows = [{**ROWS[at], "label": written} for at in (0, 3)]
    tests = read_tests(write(tmp_path / "t.jsonl", rows), labels=["other", own])
    asked = questions(tests, role="text")
    logits = np.log([[0.1, 0.9]] * len(asked))
    found = judge(tests, asked, Answers([own] * len(asked), logits), labels=["other", own], temperature=1.0)
    assert {name: one["failed"] for name, one in found.items()} == {"m": 0, "d": 0}


@pytest.mark.parametrize("role", ["messages", "conversations"])
def test_a_chat_is_asked_by_a_message(role: str, tmp_path: Path) -> None:
    tests = read_tests(write(tmp_path / "t.jsonl", [{"test": "INV", "text": "a", "variants": "b"}]), labels=[])
    asked = questions(tests, role=role)[1].values
    assert asked == {role: [{"role": "user", "content": "b"}]} == {role: as_messages(asked, instruction="")}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"test": "XYZ"}, "the test is 'XYZ'"),
        ({"test": None}, "the test is None"),
        ({"text": ""}, "the text is ''"),
        ({"text": 5}, "the text is 5"),
        ({"label": "god"}, "no label 'god'. Did you mean 'good'"),
        ({"label": None}, "MFT has no label"),
        ({"label": ["good"]}, "which is no label"),
        ({"test": "INV"}, "INV has no variants"),
        ({"test": "INV", "variants": [5]}, "variants is"),
        ({"test": "DIR", "variants": ["b"]}, "DIR has no direction"),
        ({"test": "DIR", "variants": ["b"], "direction": "left"}, "DIR has no direction"),
        ({"tolerance": 2}, "tolerance is 2"),
        ({"tolerance": "much"}, "tolerance is 'much'"),
        ({"variant": ["b"]}, "has no 'variant'. Did you mean 'variants'"),
    ],
)
def test_what_is_no_test_is_refused_with_its_line(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "t.jsonl", [ROWS[0], {**ROWS[0], **change}])
    with pytest.raises(DataError, match=f"t.jsonl, line 2: .*{problem}"):
        read_tests(path, labels=LABELS)


def test_tests_of_classes_are_refused_for_a_model_that_writes(tmp_path: Path) -> None:
    for row, problem in ((ROWS[0], "has no labels"), ({**ROWS[3], "label": None}, "DIR is a test of a chance")):
        with pytest.raises(DataError, match=problem):
            read_tests(write(tmp_path / "t.jsonl", [row]), labels=[])
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no tests"):
        read_tests(tmp_path / "empty.jsonl", labels=LABELS)


def test_a_name_stands_for_one_kind_of_test(tmp_path: Path) -> None:
    rows = [{"name": "x", "test": "MFT", "text": "a", "label": "good"},
            {"name": "x", "test": "INV", "text": "a", "variants": ["b"]}]  # fmt: skip
    path = write(tmp_path / "tests.jsonl", rows)
    with pytest.raises(DataError, match="line 2: the test 'x' is INV, and was MFT before"):
        read_tests(path, labels=["good", "bad"])
