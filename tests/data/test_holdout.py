"""What is kept aside depends on the text alone, and nothing is lost or used twice."""

import numpy as np
import pytest

from hflm.data.documents import Document
from hflm.data.holdout import LONG, hold_out, sample_sentences, split_rows
from hflm.data.rows import Rows

SHORT = [Document(f"Text number {n}.", "a.txt", n) for n in range(4000)]


def sides(documents: list[Document], fraction: float) -> tuple[list[str], list[str]]:
    pairs = list(hold_out(documents, fraction))
    return [train for train, _ in pairs], [held for _, held in pairs]


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5])
def test_short_documents_go_whole_to_one_side(fraction: float) -> None:
    train, held = sides(SHORT, fraction)
    assert [a + b for a, b in zip(train, held, strict=True)] == [document.text for document in SHORT]
    assert all(not a or not b for a, b in zip(train, held, strict=True))
    share = sum(map(bool, held)) / len(SHORT)
    assert abs(share - fraction) <= 5 * (fraction * (1 - fraction) / len(SHORT)) ** 0.5


def test_the_side_of_a_text_does_not_depend_on_the_others() -> None:
    alone = [next(hold_out([document], 0.2)) for document in SHORT[:100]]
    assert list(hold_out(SHORT[99::-1], 0.2)) == alone[::-1]


@pytest.mark.parametrize("text", ["line of a novel\n" * 4000, "字" * LONG, "one line " * 9000], ids=len)
def test_a_long_document_gives_its_end(text: str) -> None:
    ((train, held),) = hold_out([Document(text, "a.txt", 1)], 0.05)
    assert train + held == text
    assert 0.04 < len(held) / len(text) < 0.06
    assert "\n" not in text or held.startswith("\n")


def test_rows_are_split_where_no_document_could_be() -> None:
    rows = Rows(np.arange(200, dtype=np.int32).reshape(50, 4), np.zeros((50, 4), np.int16))
    train, held = split_rows(rows)
    assert (len(train), len(held)) == (48, 2)
    assert np.concatenate([train.ids, held.ids]).tolist() == rows.ids.tolist()
    assert (train.tokens, held.tokens) == (192, 8)
    assert train.tally.ids.tolist() == Rows(train.ids, train.segments).tally.ids.tolist() + [0] * 8


def test_sentences_to_show() -> None:
    text = ("A sentence that is long enough to show. Short. " + "x" * 200 + ". 知之为知之。") * 30
    found = sample_sentences((text,), count=3, seed=1)
    assert found == ["A sentence that is long enough to show."] * 3
    assert sample_sentences((), count=3, seed=1) == []
    many = tuple(f"This is sentence number {n} of the text." for n in range(100))
    assert sample_sentences(many, count=5, seed=1) == sample_sentences(many, count=5, seed=1)
    assert sample_sentences(many, count=5, seed=1) != sample_sentences(many, count=5, seed=2)


@pytest.mark.parametrize("end", [". ", "! ", "? ", "؟ ", "। ", "॥ ", "۔ ", "။ ", "። ", "。", "！", "？"])
def test_a_sentence_ends_in_every_script(end: str) -> None:
    first, second = ("The first of two sentences to show" + end, "The second of two sentences to show" + end)
    assert sample_sentences((first + second,), count=2, seed=1) == [first.strip(), second.strip()]


def test_a_point_within_a_word_ends_no_sentence() -> None:
    text = "It weighs 3.5 pounds, and was made in the U.S.A., for hflm.example."
    assert sample_sentences((text,), count=3, seed=1) == [text]


def test_a_line_end_far_away_is_not_taken() -> None:
    """Of four long lines the last would be a quarter of the text; and a share of nothing is nothing."""
    text = "\n".join(["word " * 1200] * 4)
    ((train, held),) = hold_out([Document(text, "a.txt", 1)], 0.05)
    assert train + held == text and 0.04 < len(held) / len(text) < 0.08
    assert list(hold_out([Document(text, "a.txt", 1)], 0.0)) == [(text, "")]
    ((train, held),) = hold_out([Document(text, "a.txt", 1)], 0.9)
    assert train + held == text and 0.8 < len(held) / len(text) < 1
