"""Whole rows of every format, with the place of each for messages."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hflm.data.records import Record, read_records, show, whole
from hflm.data.sources import find_sources
from hflm.errors import DataError

ROWS = [
    {"text": "the first, with a comma", "label": "good"},
    {"text": "الثاني\nفي سطرين", "label": "bad"},
    {"text": "第三", "label": "good"},
]


def read(path: Path) -> list[Record]:
    (source,) = find_sources([str(path)])
    return list(read_records(source))


def written(folder: Path, name: str) -> Path:
    """Write the rows in the format that the name tells."""
    path = folder / name
    if name.endswith(".parquet"):
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        parquet.write_table(arrow.Table.from_pylist(ROWS), path)
        return path
    separator = "\t" if ".tsv" in name else ","
    content = {
        ".jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in ROWS),
        ".json": json.dumps(ROWS, indent=1),
        ".csv": "", ".tsv": "",
    }["." + name.split(".")[1]]  # fmt: skip
    if not content:
        cells = [["text", "label"], *([row["text"], row["label"]] for row in ROWS)]
        content = "".join(separator.join(f'"{cell}"' for cell in row) + "\n" for row in cells)
    raw = content.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.json", "rows.csv", "rows.tsv", "rows.parquet", "rows.jsonl.gz", "rows.json.gz",
             "rows.csv.gz"],
)  # fmt: skip
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    found = read(written(tmp_path, name))
    assert [record.values for record in found] == ROWS
    kind = name.split(".")[1]
    # The second row of the CSV stands on two lines; blank lines of JSON Lines count.
    numbers = {"jsonl": [1, 3, 5], "csv": [2, 3, 5], "tsv": [2, 3, 5]}.get(kind, [1, 2, 3])
    assert [record.number for record in found] == numbers
    assert found[0].where == f"{tmp_path / name}, {'row' if kind in ('json', 'parquet') else 'line'} {numbers[0]}"


def test_plain_text_is_a_row_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n  \n二\n", encoding="utf-8")
    found = [(record.number, record.values) for record in read(tmp_path / "a.txt")]
    assert found == [(1, {"text": "one"}), (4, {"text": "二"})]


@pytest.mark.parametrize("content", ['[{"text": "a"}, {"text": "b"}]', '\n [\n{"text": "a"},\n{"text": "b"}\n]\n'])
def test_a_json_array_on_one_line_or_many(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    assert [record.values for record in read(tmp_path / "a.json")] == [{"text": "a"}, {"text": "b"}]


def test_lists_and_objects_survive(tmp_path: Path) -> None:
    row = {"tokens": ["a", "b"], "translation": {"en": "a", "fr": None}, "messages": [{"role": "user"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert read(tmp_path / "a.jsonl")[0].values == row


@pytest.mark.promise("D1")
@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2, column"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', "line 2: ['b'] is not an object"),
        ("a.json", '[{"text": "a"}, 3]', "row 2: 3 is not an object"),
        ("a.json", '[{"text": "a"},\n{"text"}]', "line 2, column"),
        ("a.jsonl", '[{"text": "a"}]\n', "jq -c"),
        ("a.csv", 'text,label\na,b,c\n', "line 2: found 3 columns where the header has 2"),
        ("a.csv", 'text,label\n"a,b\n', "line 2: the row that starts here is not CSV"),
        ("a.jsonl", "[" * 100_000, "not a row of text"),
        ("a.json", "[" * 100_000, "no rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_place(name: str, content: str, place: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert place in str(caught.value) and name in str(caught.value) and caught.value.fix
    assert len(str(caught.value)) < 400


def test_half_surrogates_are_mended(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "\\ud83d and \\ud83d\\ude00", "tokens": ["\\udc00"]}\n')
    (record,) = read(tmp_path / "a.jsonl")
    assert record.values == {"text": "� and 😀", "tokens": ["�"]}
    assert whole({"a": [1, None, "b"]}) == {"a": [1, None, "b"]}


def test_half_surrogates_of_a_json_array_are_mended(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"text": "\\ud83d"}]')
    assert read(tmp_path / "a.json")[0].values == {"text": "�"}


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="rows.parquet"):
        read(path)


def test_values_are_shown_short() -> None:
    value: Any = {"text": "x" * 1000, "more": ["y" * 1000] * 100}
    assert len(show(value)) < 600


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_table_of_a_spreadsheet(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f'\ufefftext{mark}label\r\n"uno, {mark} dos"{mark}bueno\r\n'.encode())
    assert [record.values for record in read(path)] == [{"text": f"uno, {mark} dos", "label": "bueno"}]


@pytest.mark.parametrize(
    ("header", "mark", "columns"),
    [
        ('"¿Qué opina, en general?";etiqueta', ";", ["¿Qué opina, en general?", "etiqueta"]),
        ("text, raw;id;label", ";", ["text, raw", "id", "label"]), ('"a;b;c",label', ",", ["a;b;c", "label"]),
        ('"a ""b""; c",d', ",", ['a "b"; c', "d"]),
        ("text,a;b", ",", ["text", "a;b"]), ("text,label (pos;neg;neutral)", ",", ["text", "label (pos;neg;neutral)"]),
        ('5";text;label', ";", ['5"', "text", "label"]), ('"a, b"\tlabel', "\t", ["a, b", "label"]),
    ],
)  # fmt: skip
def test_the_separator_is_what_a_header_has_most_of_outside_quotes(
    header: str, mark: str, columns: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n{mark.join('x' * len(columns))}\n", encoding="utf-8")
    assert [record.values for record in read(path)] == [dict.fromkeys(columns, "x")]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_line_that_says_the_separator_is_no_header(line: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(f'\ufeff{line}\r\na,b;"c"\r\n1;"2\n3"\r\n4;5\r\n6;7;8\r\n'.encode())
    bad: list[DataError] = []
    found = list(read_records(find_sources([str(path)])[0], on_bad=bad.append))
    assert [(row.number, row.values) for row in found] == [(3, {"a,b": "1", "c": "2\n3"}), (5, {"a,b": "4", "c": "5"})]
    assert found[0].columns_where == f"{path}, line 2"
    assert [str(error).startswith(f"{path}, line 6: found 3 columns where the header has 2") for error in bad] == [True]


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,text\na,b,c\n")
    with pytest.raises(DataError, match="line 1: two columns are called 'text'"):
        read(path)


@pytest.mark.parametrize(("unit", "value"), [("day", 4_000_000), ("s", 400_000_000_000)])
def test_a_date_that_no_calendar_here_has(unit: str, value: int, tmp_path: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    whole_number, kind = (arrow.int32(), arrow.date32()) if unit == "day" else (arrow.int64(), arrow.timestamp(unit))
    when = arrow.array([0, value], whole_number).cast(kind)
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"text": ["one", "two"], "when": when}), path)
    with pytest.raises(DataError, match=r"rows 1 to \d+: a date or a time that cannot be read: ") as caught:
        read(path)
    assert path.name in str(caught.value) and "Leave its column out" in str(caught.value)
