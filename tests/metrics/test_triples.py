"""F1 of triples against counts by hand."""

import pytest

from hflm.errors import DataError
from hflm.metrics.registry import score, statistics


def test_counts_by_hand() -> None:
    references = ["Ada (person) | born in | London", "a | is a | b | c | is a | d", "none", "x | part of | y"]
    predictions = ["ada | born in | London", "a | is a | b | c | is a | e", "q | is a | r", "no line |"]
    found = statistics("triples", predictions=predictions, references=references)
    # Strict: 1 of 4 predicted and 4 wanted is right; by boundary Ada is too.
    assert found.whole() == pytest.approx({
        "strict_f1": 0.25, "strict_precision": 0.25, "strict_recall": 0.25,
        "boundary_f1": 0.5, "boundary_precision": 0.5, "boundary_recall": 0.5,
    })  # fmt: skip
    assert found.details["parsed"] == 3 and found.details["rows"] == 4
    assert found.details["per_relation"]["is a"] == pytest.approx(
        {"f1": 2 / 5, "precision": 1 / 3, "recall": 1 / 2, "triples": 2}
    )
    assert found.details["per_relation"]["born in"]["f1"] == 0


def test_a_boundary_does_not_forgive_relation_or_direction() -> None:
    for wrong in ("a | has | b", "b | is a | a", "a | is a | b c"):
        assert statistics("triples", predictions=[wrong], references=["a | is a | b"]).whole()["boundary_f1"] == 0
    ours, theirs = "mother - in - law | is a | Kin", "mother-in-law | is a | kin"
    spaced = statistics("triples", predictions=[ours], references=[theirs]).whole()
    assert spaced["boundary_f1"] == 1 and spaced["strict_f1"] == 0


def test_the_same_triple_twice_counts_once() -> None:
    found = score("triples", predictions=["a | is a | b | a | is a | b"], references=["a | is a | b"])
    assert found.scores["strict_f1"].value == 1


def test_a_reference_that_is_no_line_is_refused() -> None:
    with pytest.raises(DataError, match="Row 1: the reference 'a | b' is no line of triples"):
        statistics("triples", predictions=["none"], references=["a | b"])
