"""Passages keep their places, whatever the text and its line ends."""

import gzip
import json
from pathlib import Path

import pytest

from hflm.data.sources import find_sources
from hflm.errors import DataError
from hflm.graphs.passages import read_passages
from hflm.graphs.spans import find_all, find_ends, overlapping

TEXTS = {
    "plain": 'One is here. Two is there!\nThree goes\non.\n\nFour ends (so). "Five." Six',
    "windows": "One is here.\r\nTwo is there.\r\n\r\nThree.\r\n",
    "chinese": "李明住在北京。他是老师。" * 30,
    "arabic": "أحمد في القاهرة. هو معلم؟ نعم.\n" * 20,
    "no end": "word " * 400,
    "one word": "x" * 500,
    "lines": "A paragraph a line.\n" * 300,
    "blank": "\n\n  \n\nAt last.\n\n",
    "bom": "\ufeffFirst.",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("size", [20, 64, 280])
@pytest.mark.parametrize("ending", [".txt", ".md.gz"])
def test_a_passage_is_what_stands_at_its_place(name: str, size: int, ending: str, tmp_path: Path) -> None:
    text = TEXTS[name]
    path = tmp_path / f"book{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    passages = list(read_passages(find_sources([str(path)]), size=size))
    before = 0
    for passage in passages:
        end = passage.start + len(passage.text)
        assert text[passage.start : end] == passage.text == passage.text.strip() and len(passage.text) <= size
        assert passage.line == text.count("\n", 0, passage.start) + 1
        # Nothing but spaces is passed over.
        assert not text[before : passage.start].strip() and "\n\n" not in passage.text
        before = end
    assert not text[before:].strip() and passages


def test_sentences_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("Ada was born in London. She wrote\nnotes. Babbage built engines.\n\nAnother.", encoding="utf-8")
    found = [passage.text for passage in read_passages(find_sources([str(path)]), size=45)]
    assert found == ["Ada was born in London. She wrote\nnotes.", "Babbage built engines.", "Another."]


def test_rows_have_places_in_their_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"id": 1, "text": " Ada ran. Bob sat."}, {"id": 2, "text": "Cy."}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = list(read_passages(find_sources([str(path)]), size=10))
    assert [(one.line, one.start, one.text) for one in found] == [
        (1, 1, "Ada ran."),
        (1, 10, "Bob sat."),
        (2, 0, "Cy."),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "Ada"}\n{"text": " "}\n', "line 2, column 'text': it is empty"),
        ("a.jsonl", b'{"words": 1}\n', "no column for the text"), ("a.txt", b"ok\n\xff\xfe\n", "line 2: not UTF-8"),
        ("a.txt", b"\xff\xfea\x00", "UTF-16"),
        ("a.txt.gz", gzip.compress(b"a" * 9, mtime=0)[:12], "cut off or damaged gzip"),
        ("a.csv", b"text\n7\n\n", ""),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    if not said:
        assert [one.text for one in read_passages(find_sources([str(tmp_path / name)]), size=9)] == ["7"]
        return
    with pytest.raises(DataError, match=said):
        list(read_passages(find_sources([str(tmp_path / name)]), size=99))


def test_ends_are_found_as_words_first() -> None:
    assert find_ends("category: a cat", "category", "cat") == ((0, 8), (12, 15))
    assert find_ends("The Cat sat", "cat", "dog") == ((4, 7), None)
    assert find_all("李明在北京。", "北京") == [(3, 5)]
    assert find_all("his mother-\nin-law came", "mother - in - law") == [(4, 18)]
    assert find_ends("Ada knew Ada", "Ada", "Ada") == ((0, 3), (9, 12))
    # Not in Catherine; but behind an article, or before a particle, that is written with it.
    assert find_all("Catherine", "cat") == [] and find_ends("Она в Москве", "Моск", "в") == (None, (4, 5))
    assert find_all("في القاهرة", "قاهرة") == [(5, 10)] and find_all("서울에 산다", "서울") == [(0, 2)]
    assert find_all("他在London住", "London") == [(2, 8)]
    assert find_all("a", "") == [] and find_all("2+2 is 4", "2+2") == [(0, 3)]


def test_the_tag_that_shares_most() -> None:
    tags = [(0, 3, "PER"), (4, 12, "LOC")]
    assert overlapping((3, 8), tags) == (4, 12, "LOC") and overlapping((12, 14), tags) is None
