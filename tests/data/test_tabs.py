"""TSV: quotes as they come in sentences, and quotes as CSV has them."""

from pathlib import Path

import pytest

from hflm.data.records import read_records
from hflm.data.sources import one_source
from hflm.data.tabs import tab_rows
from hflm.errors import DataError

CASES: dict[str, tuple[str, list[tuple[int, list[str]]]]] = {
    "dialogue": (
        'text\tlabel\n"I am here\tpos\nand I stay"\tneg\n"Hi," he said.\tpos',
        [(2, ['"I am here', "pos"]), (3, ['and I stay"', "neg"]), (4, ['"Hi," he said.', "pos"])],
    ),
    "quoted as CSV": (
        'text\tlabel\n"a ""b"" c"\tpos\n"one\ttwo"\tneg\n"first\nsecond"\tpos\nend\tneg',
        [(2, ['a "b" c', "pos"]), (3, ["one\ttwo", "neg"]), (4, ["first\nsecond", "pos"]), (6, ["end", "neg"])],
    ),
    "a quote that opens and never closes": (
        '1\ta\tb\n"2\tc\n3\td\te\n4\tf\tg', [(2, ['"2', "c"]), (3, ["3", "d", "e"]), (4, ["4", "f", "g"])],
    ),
    "as pandas writes it": (
        'label\ttext\nneg\t"first line\nsecond line"\npos\tx\npos\t"open\nneg\tnext',
        [(2, ["neg", "first line\nsecond line"]), (4, ["pos", "x"]), (5, ["pos", '"open']), (6, ["neg", "next"])],
    ),
    "a column of texts of several lines": (
        'text\n"one\ntwo"\n"a ""b""\tc"\n"open\n"and open\nend',
        [(2, ["one\ntwo"]), (4, ['a "b"\tc']), (5, ['"open']), (6, ['"and open']), (7, ["end"])],
    ),
    "one column": ('text\n"No" he said\n"all"', [(2, ['"No" he said']), (3, ["all"])]),
    "signs that other programs take for line ends": ("a\tb\nx\u2028y\t1\n\u0085\t2", [(2, ["x\u2028y", "1"]),
                                                                                     (3, ["\u0085", "2"])]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rows_and_their_lines(case: str) -> None:
    text, wanted = CASES[case]
    assert list(tab_rows(iter(enumerate(text.split("\n"), start=1))))[1:] == wanted


def test_a_row_with_too_many_cells_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text('text\tlabel\n"a\tb\tc\tpos\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.tsv, line 2: found 4 columns where the header has 2"):
        list(read_records(one_source(path)))


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_a_row_that_is_not_utf8_can_be_left_out(name: str, tmp_path: Path) -> None:
    mark = b"," if name.endswith("csv") else b"\t"
    path, wrong = tmp_path / name, list[str]()
    path.write_bytes(b"\n".join(mark.join(row) for row in ((b"a", b"b"), (b"1", b"caf\xe9"), (b"2", b"tea"))) + b"\n")
    rows = list(read_records(one_source(path), on_bad=lambda error: wrong.append(str(error))))
    assert [row.values for row in rows] == [{"a": "2", "b": "tea"}]
    assert len(wrong) == 1 and f"{name}, line 2: not UTF-8: byte 0xe9" in wrong[0] and "GB18030" in wrong[0]
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_records(one_source(path)))


def test_utf16_without_its_mark_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\na,b\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="UTF-16LE without its mark"):
        list(read_records(one_source(path)))
