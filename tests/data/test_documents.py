"""Documents of every format: the text, the true line, and for bad input the file, the line and the remedy."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from hflm.data.documents import choose_unit, read_documents
from hflm.data.sources import Source, find_sources
from hflm.errors import DataError, UsageError

CHINESE = "千里之行，始于足下。"
ARABIC = "العلم نور والجهل ظلام."
SPANISH = "¿Dónde está el niño?"


def source(folder: Path, name: str, content: str | bytes) -> Source:
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return find_sources([str(folder / name)])[0]


def read(where: Source, unit: str = "line", **options: Any) -> list[tuple[int, str]]:
    return [(document.line, document.text) for document in read_documents(where, unit=unit, **options)]


TEXT = f"{CHINESE}\n{ARABIC}\n\n  \n{SPANISH}\nfin"
UNITS = [
    ("line", [(1, CHINESE), (2, ARABIC), (5, SPANISH), (6, "fin")]),
    ("paragraph", [(1, f"{CHINESE}\n{ARABIC}"), (5, f"{SPANISH}\nfin")]),
    ("file", [(1, TEXT)]),
]


@pytest.mark.parametrize(("unit", "expected"), UNITS)
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_units(tmp_path: Path, unit: str, expected: list[tuple[int, str]], name: str, ending: str, mark: str) -> None:
    where = source(tmp_path, name, mark + TEXT.replace("\n", ending))
    assert read(where, unit) == expected


def test_blank_lines_at_the_top_count(tmp_path: Path) -> None:
    where = source(tmp_path, "a.txt", "\n\n\none\ntwo\n\n")
    assert read(where, "paragraph") == read(where, "file") == [(4, "one\ntwo")]
    assert next(read_documents(where, unit="line")).file == str(where.path)


def test_blank_file_has_no_documents(tmp_path: Path) -> None:
    where = source(tmp_path, "a.txt", " \n\t\n\u3000\n")
    assert [read(where, unit) for unit in ("line", "paragraph", "file")] == [[], [], []]


@pytest.mark.parametrize(
    ("name", "content", "requested", "unit", "said"),
    [
        ("a.txt", "one\ntwo\n", "auto", "line", "no blank lines"),
        ("a.txt", "one\ntwo\n\n\n", "auto", "line", "no blank lines"),
        ("a.txt", "one\ntwo\n\nthree\n", "auto", "paragraph", "blank lines separate"),
        ("a.txt.gz", "one\r\ntwo\r\n\r\nthree\r\n", "auto", "paragraph", "blank lines separate"),
        ("a.txt", "line\n" * 500 + "\n" + "line\n" * 500, "auto", "line", "no blank lines"),
        ("a.txt", "one\n\ntwo\n", "file", "file", "as asked"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": "b"}', "auto", "line", "a row"),
    ],
)
def test_choose_unit(tmp_path: Path, name: str, content: str, requested: str, unit: str, said: str) -> None:
    chosen, reason = choose_unit(source(tmp_path, name, content), requested)
    assert chosen == unit
    assert said in reason and name in reason


def test_unknown_unit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="paragraf.*Did you mean 'paragraph'"):
        choose_unit(source(tmp_path, "a.txt", "text"), "paragraf")


ROWS = [
    ("a.jsonl", f'{{"text": "{CHINESE}"}}\n\n{{"text": null}}\n{{"text": " "}}\n{{"text": "b", "x": 1}}', {}),
    ("a.json", f'{{"content": "{CHINESE}", "id": 1}}\r\n\n\n\n{{"content": "b"}}', {}),
    ("a.csv", f'id,text\n1,"{CHINESE}"\n2,\n3," "\n4,b\n', {}),
    ("a.csv", f'id,mine\n1,"{CHINESE}"\n\n\n4,b\n', {"text_column": "mine"}),
    ("a.tsv", f"id\tSentence\n1\t{CHINESE}\n2\t\n3\t\n4\tb\n", {}),
    ("a.csv.gz", f"\ufeffdocument,id\n{CHINESE},1\n\n\nb,2,,\n", {}),
]
LINES = [[1, 5], [1, 5], [2, 5], [2, 5], [2, 5], [2, 5]]


@pytest.mark.parametrize(("row", "lines"), list(zip(ROWS, LINES, strict=True)))
def test_tables(tmp_path: Path, row: tuple[str, str, dict[str, str]], lines: list[int]) -> None:
    name, content, options = row
    assert read(source(tmp_path, name, content), **options) == list(zip(lines, [CHINESE, "b"], strict=True))


def test_quoted_newlines_keep_line_numbers_true(tmp_path: Path) -> None:
    content = f'text,id\n"one\ntwo ""quoted"", and\n\nthree",1\n{SPANISH},2\n"{ARABIC}\r\nx",3\nlast,4\n'
    assert read(source(tmp_path, "a.csv", content)) == [
        (2, 'one\ntwo "quoted", and\n\nthree'),
        (6, SPANISH),
        (7, f"{ARABIC}\nx"),
        (9, "last"),
    ]


def test_half_a_surrogate_pair_is_marked(tmp_path: Path) -> None:
    content = r'{"text": "a\ud83d b\ud83d\ude00 \u00e9"}'
    assert read(source(tmp_path, "a.jsonl", content)) == [(1, "a\ufffd b\U0001f600 é")]


def test_nul_bytes_are_left_to_cleaning(tmp_path: Path) -> None:
    assert read(source(tmp_path, "a.txt", "a\0b")) == [(1, "a\0b")]


def parquet(folder: Path, **columns: list[Any]) -> Source:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), folder / "a.parquet")
    return Source(folder / "a.parquet", "parquet")


def test_parquet(tmp_path: Path) -> None:
    where = parquet(tmp_path, id=[1, 2, 3, 4], text=[CHINESE, None, "", ARABIC])
    assert read(where) == [(1, CHINESE), (4, ARABIC)]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": [["a"]]}, ["a.parquet", "list<", "--text-column"]),
        ({"body": ["a"]}, ["a.parquet", "['body']", "--text-column NAME"]),
    ],
)
def test_bad_parquet(tmp_path: Path, columns: dict[str, list[Any]], said: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read(parquet(tmp_path, **columns))
    assert all(part in str(caught.value) for part in said), str(caught.value)


LATIN = f"uno\n{SPANISH}\n".encode("latin-1")
CUT = gzip.compress(b"".join(b"line %d\n" % (n * n) for n in range(20_000)), mtime=0)[:-20_000]
BAD: list[tuple[str, str | bytes, dict[str, str], list[str]]] = [
    ("a.txt", LATIN, {}, ["a.txt, line 2", "0xbf at byte 1 ", "iconv -f CP1252 -t UTF-8", "a.utf8.txt", "GB18030"]),
    ("a.csv", b"text\n" + LATIN, {}, ["a.csv, line 3", "0xbf in column 'text'", "iconv"]),
    ("a.txt", "x".encode("utf-16"), {}, ["a.txt, line 1", "UTF-16", "iconv -f UTF-16 -t UTF-8"]),
    ("a.txt", "x".encode("utf-32"), {}, ["UTF-32", "iconv -f UTF-32"]),
    ("a.txt", gzip.compress(b"x", mtime=0), {}, ["gzip, under a name without .gz", "mv "]),
    ("a.txt", b"PAR1\n", {}, ["parquet", "/a.parquet"]),
    ("a.txt.gz", gzip.compress(b"x", mtime=0), {}, ["gzip inside gzip", "gzip -dc ", "/a.txt.gz > ", "/a.utf8.txt.gz"]),
    ("a.txt.gz", b"PK\x03\x04", {}, ["zip archive inside gzip", "/a.zip && unzip "]),
    ("a.txt.gz", b"PAR1\n", {}, ["parquet inside gzip", "/a.txt.gz > ", "/a.parquet"]),
    ("a.txt.gz", "x".encode("utf-16"), {}, ["| iconv -f UTF-16 -t UTF-8 | gzip > "]),
    ("a.jsonl", '{"text": "a"}\n\n{"text": "b",}', {}, ["a.jsonl, line 3, column 14", "Write one object a line"]),
    ("a.jsonl", '{"text": "a"}\n{"text": ["b"]}', {}, ["a.jsonl, line 2", "field 'text'", "['b']", "--text-column"]),
    ("a.jsonl", '{"text": 1}', {}, ["line 1", "found 1", "not a string"]),
    ("a.jsonl", '{"text": "a"}\n"b"', {}, ["line 2", "'b' is not an object", "Write one object a line"]),
    ("a.jsonl", '{"text": "a"}\n{"id": 1}', {}, ["line 2", "no field 'text'", "['id']", "Give every row"]),
    ("a.jsonl", "[" * 100_000, {}, ["line 1", "not a row of text"]),
    ("a.json", '[{"text": "a"}]', {}, ["line 1", "jq -c '.[]'"]),
    ("a.json", '[\n{"text": "a"}]', {}, ["line 1", "jq -c '.[]'"]),
    ("a.json", '{\n"text": "a"}', {}, ["line 1", "jq -c '.'"]),
    ("a.jsonl", '{"texts": "a"}', {}, ["line 1", "['texts']", "Did you mean 'texts'", "--text-column texts"]),
    ("a.jsonl", '{"review": "a"}', {}, ["['review']", "Pass --text-column NAME."]),
    ("a.csv", "review,id\na,1\n", {"text_column": "reviews"}, ["no column 'reviews'", "--text-column review."]),
    ("a.csv", "My Text,id\na,1\n", {"text_column": "my text"}, ["--text-column 'My Text'."]),
    ("a.csv", ",".join(f"c{n}" for n in range(999)), {}, ["'c11'] and 987 more", "--text-column NAME"]),
    ("a.csv", "id,text\n1,a\n2,one, two\n", {}, ["a.csv, line 3", "3 columns", "header has 2", "double quotes"]),
    ("a.csv", "id,text\n1,a\n2\n", {}, ["line 3", "found 1 columns", "header has 2"]),
    ("a.csv", 'text\na\n"never\nclosed\n', {}, ["a.csv, line 3", "not CSV", "Close every quote"]),
    ("a.parquet", "PAR1 or not", {}, ["a.parquet", "cannot be read"]),
]


@pytest.mark.promise("D1")
@pytest.mark.parametrize(("name", "content", "options", "said"), BAD)
def test_bad_input(tmp_path: Path, name: str, content: str | bytes, options: dict[str, str], said: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read(source(tmp_path, name, content), **options)
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + 4 * len(str(tmp_path))


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_gzip(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(CUT if damage == "cut" else CUT[:-2000] + bytes(500) + CUT[-1500:])
    with pytest.raises(DataError, match=r"a\.txt\.gz, after line \d+ is cut off or damaged gzip.*gzip -t"):
        read(find_sources([str(path)])[0])


def test_something_else_behind_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"line\n" * 9) + b"garbage")
    with pytest.raises(DataError, match=r"after line 9 is cut off or damaged gzip.*gzip -t"):
        read(find_sources([str(path)])[0])


def test_remedy_for_gzip_is_a_command_that_works(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gzip -dc \S+ \| iconv -f CP1252 -t UTF-8 \| gzip > \S+a\.utf8\.txt\.gz"):
        read(source(tmp_path, "a.txt.gz", LATIN))
