"""What is wrong with rows is said with the row, before a model is loaded; what is odd is counted."""

from dataclasses import replace
from typing import Any

import pytest

from hflm.data.checks import check_examples, findings, label_list, named_labels, tag_list, usable
from hflm.data.examples import Example
from hflm.data.splits import Splits
from hflm.errors import DataError

COLUMNS = {"text": "text", "label": "mood", "source": "document", "target": "summary", "tokens": "w", "tags": "t"}


def rows(*values: dict[str, Any], name: str = "a.jsonl") -> list[Example]:
    return [Example(f"{name}, line {number}", value) for number, value in enumerate(values, start=1)]


def labelled(*labels: str, name: str = "a.jsonl") -> list[Example]:
    return rows(*({"text": f"text {n}", "label": label} for n, label in enumerate(labels)), name=name)


def splits(train: list[Example], held: list[Example] | None = None, test: list[Example] | None = None) -> Splits:
    return Splits(train, train[:1] if held is None else held, [] if test is None else test, COLUMNS)


def test_labels_in_order() -> None:
    assert label_list(splits(labelled("good", "bad", "good"))) == ["bad", "good"]
    assert label_list(splits(labelled("10", "2", "1"))) == ["1", "2", "10"]
    assert label_list(splits(labelled("1.5", "-1", "10"))) == ["-1", "1.5", "10"]
    assert label_list(splits(labelled("好", "سيئ"))) == ["سيئ", "好"]
    # A model that knows just these keeps its order.
    assert label_list(splits(labelled("bad", "good")), known=["good", "bad"]) == ["good", "bad"]
    assert label_list(splits(labelled("bad", "good")), known=["good", "bad", "so"]) == ["bad", "good"]


def test_one_class_only() -> None:
    with pytest.raises(DataError, match="All 3 training rows have the label 'good'.*two classes"):
        label_list(splits(labelled("good", "good", "good")))


@pytest.mark.parametrize("split", ["eval", "test"])
def test_a_label_that_training_lacks(split: str) -> None:
    other = labelled("good", "so-so", name="b.jsonl")
    found = splits(labelled("good", "bad"), other if split == "eval" else None, other if split == "test" else None)
    said = (
        rf"b.jsonl, line 2: the label 'so-so' is in the {split} rows and never in training, which has \['bad', 'good'"
    )
    with pytest.raises(DataError, match=said):
        label_list(found)


def tagged(tokens: str, tags: str) -> dict[str, Any]:
    return {"tokens": tokens.split(), "tags": tags.split()}


def test_tags_in_order() -> None:
    train = rows(tagged("a b c", "I-PER B-LOC O"), tagged("d e", "B-PER O"))
    assert tag_list(splits(train)) == ["O", "B-LOC", "B-PER", "I-PER"]
    assert tag_list(splits(train), known=["B-PER", "I-PER", "B-LOC", "O"]) == ["B-PER", "I-PER", "B-LOC", "O"]


def test_tags_of_another_length_or_kind() -> None:
    good = tagged("a b", "O B-PER")
    for place in ("train", "eval", "test"):
        wrong = rows(good, tagged("a b c", "O O"))
        parts = {"train": rows(good), "held": rows(good), "test": rows(good)} | {
            {"eval": "held"}.get(place, place): wrong
        }  # fmt: skip
        with pytest.raises(DataError, match="line 2: 3 words and 2 tags.*one tag for every word"):
            tag_list(splits(**parts))
    with pytest.raises(DataError, match="line 1: the tag 'B-LOC' is in the eval rows"):
        tag_list(splits(rows(good), rows(tagged("a", "B-LOC"))))
    with pytest.raises(DataError, match="All tags are 'O'"):
        tag_list(splits(rows(tagged("a b", "O O"))))


def test_empty_targets() -> None:
    full, empty = {"source": "a", "target": "b"}, {"source": "a", "target": ""}
    check_examples(splits(rows(full, empty)))
    with pytest.raises(DataError, match="line 1: column 'summary' is empty, in 2 of 2 rows to train"):
        check_examples(splits(rows(empty, empty)))
    for name in ("eval", "test"):
        parts = (rows(full), rows(full, empty), []) if name == "eval" else (rows(full), rows(full), rows(full, empty))
        with pytest.raises(DataError, match=f"line 2: column 'summary' is empty, in 1 of 2 rows to {name}"):
            check_examples(splits(*parts))
    with pytest.raises(DataError, match="no rows in the eval split.*--validation-file"):
        check_examples(splits(rows(full), []))


def test_rows_with_nothing_in_them_are_left_out_of_training() -> None:
    full = {"source": "a", "target": "b"}
    found, skipped = usable(splits(rows(full, {"source": "", "target": "b"}, {"source": "a", "target": " \n"})))
    assert [row.values for row in found.train] == [full] and skipped == 2
    # Marks that nobody sees are nothing to read; in a text they stand as they are.
    found, skipped = usable(
        splits(rows({"source": "\u200b\ufeff", "target": "b"}, {"source": "a\u200db", "target": "b"}))
    )
    assert [row["source"] for row in found.train] == ["a\u200db"] and skipped == 1
    # An input may be empty.
    assert usable(splits(rows({"instruction": "a", "input": "", "output": "b"})))[1] == 0


def test_names_beside_numbers() -> None:
    def named(*given: tuple[str, str | None]) -> list[Example]:
        values = ({"text": "a", "label": label, "label_name": name} for label, name in given)
        return rows(*({key: value for key, value in row.items() if value is not None} for row in values))

    found = named_labels(splits(named(("0", "bad"), ("1", "good"), ("1", "good")), labelled("1"), labelled("0", "2")))
    assert [row["label"] for row in (*found.train, *found.eval, *found.test)] == [
        "bad", "good", "good", "good", "bad", "2"
    ]  # fmt: skip
    for doubtful in ((("0", "bad"), ("1", "bad")), (("0", "bad"), ("0", "good")), (("0", "bad"), ("1", None))):
        kept = named_labels(splits(named(*doubtful)))
        assert [row["label"] for row in kept.train] == [label for label, _ in doubtful]


@pytest.mark.promise("D2")
def test_what_is_counted() -> None:
    train = rows(*({"text": text, "label": label} for text, label in
                   (("A  b", "x"), ("a b", "y"), ("c", "x"), ("好", "x"))))  # fmt: skip
    found = findings(splits(train, rows({"text": "a B", "label": "x"}), rows({"text": "d", "label": "x"})))
    assert found["rows"] == {"train": 4, "eval": 1, "test": 1}
    assert found["duplicates"] == 1 and found["overlap"] == {"eval": 1, "test": 0}
    assert found["labels"] == {"x": 3, "y": 1} and found["columns"] == COLUMNS


@pytest.mark.promise("D2")
def test_a_copy_is_one_in_whatever_form_it_is_written() -> None:
    for composed, apart in (("Caf\u00e9", "cafe\u0301"), ("\ud55c", "\u1112\u1161\u11ab"), ("\u0921\u093c", "\u095c")):
        train = rows({"text": composed, "label": "x"}, {"text": apart, "label": "y"})
        found = findings(splits(train, rows({"text": apart, "label": "x"}), rows({"text": "d", "label": "x"})))
        assert found["duplicates"] == 1 and found["overlap"] == {"eval": 1, "test": 0}


def test_numbers_that_are_no_classes() -> None:
    assert len(label_list(splits(labelled(*(str(n / 2) for n in range(10)))))) == 10
    with pytest.raises(DataError, match="20 different numbers, as '0.14.*no classes.*--label-column"):
        label_list(splits(labelled(*(str(n / 7) for n in range(20)))))


def test_too_few_rows_for_two_classes() -> None:
    found = replace(splits(labelled("a"), labelled("b"), labelled("b")), held_out=("eval", "test"))
    with pytest.raises(DataError, match="Too few rows.*1 to train, 1 to eval, 1 to test.*--test-fraction 0"):
        label_list(found)


def test_two_names_of_one_number_have_an_order() -> None:
    """Sets of texts come in another order in every process, and ranks must agree on the classes."""
    assert label_list(splits(labelled("1", "01", "1.00", "0"))) == ["0", "01", "1", "1.00"]
    assert label_list(splits(labelled("nan", "2", "10"))) == ["10", "2", "nan"]


def test_what_an_instruction_is_about_tells_rows_apart() -> None:
    """One instruction for many inputs is no copy; the same input on both sides is."""
    asked = rows(*({"instruction": "Translate.", "input": f"word {n}", "output": "x"} for n in range(6)))
    found = findings(splits(asked, asked[:1], rows({"instruction": "Translate.", "input": "other", "output": "x"})))
    assert found["duplicates"] == 0 and found["overlap"] == {"eval": 1, "test": 0}
