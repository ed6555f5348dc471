"""Rows of a file with something added: a full disk is told apart from a file that cannot be written."""

import errno
import json
import math
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pytest

from hflm.errors import DataError, SpaceError, UsageError
from hflm.inference.row_files import _whole_lines, add_to_rows
from tests.tiny import moods, write

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_full_disk_has_its_own_exit_code(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", moods())
    with pytest.raises(SpaceError, match=r"/dev/full could not be written.*--resume"):
        add_to_rows(
            rows, FULL, lambda records, before: [{"n": 1}] * len(records), resume=False, chunk=8,
            watch=lambda kind, content: None,
        )  # fmt: skip


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", moods())
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError):
        add_to_rows(
            rows, tmp_path / "out", lambda records, before: [{}] * len(records), resume=False, chunk=8,
            watch=lambda kind, content: None,
        )  # fmt: skip


def added(rows: Path, output: Path, **values: Any) -> list[dict[str, Any]]:
    add_to_rows(
        rows, output, lambda records, before: [values] * len(records), resume=False, chunk=8,
        watch=lambda kind, content: None,
    )  # fmt: skip
    return [json.loads(line, parse_constant=pytest.fail) for line in output.read_text(encoding="utf-8").splitlines()]


def test_columns_of_the_user_stay(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", [{"text": "a film", "score": 4}, {"text": "no stars"}])
    found = added(rows, tmp_path / "out.jsonl", prediction="good", score=0.9)
    assert found[0] == {"text": "a film", "score": 4, "prediction": "good", "hflm_score": 0.9}
    assert found[1] == {"text": "no stars", "prediction": "good", "hflm_score": 0.9}, "one name for all rows"


def test_what_json_has_no_word_for(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    row = {"text": "a", "day": date(2026, 11, 26), "at": datetime(2026, 11, 26, 9, 30), "price": Decimal("1.10"),
           "picture": b"\x00\xff", "missing": math.nan, "list": [1.0, math.inf]}  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "rows.parquet")
    (found,) = added(tmp_path / "rows.parquet", tmp_path / "out.jsonl", prediction="x")
    assert found == {
        "text": "a", "day": "2026-11-26", "at": "2026-11-26T09:30:00", "price": "1.10", "picture": "AP8=",
        "missing": None, "list": [1.0, None], "prediction": "x",
    }  # fmt: skip


def test_one_file_is_read(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path / name, moods(2))
    with pytest.raises(DataError, match=r"is 2 files, and one is read here.*a\.jsonl"):
        added(tmp_path, tmp_path / "out.jsonl", n=1)


def test_rows_of_another_file_are_not_gone_on_with(tmp_path: Path) -> None:
    """More rows than there are, or others; and what is no file of lines keeps every byte."""
    rows = write(tmp_path / "rows.jsonl", [{"text": "a"}, {"text": "b"}])

    def go_on(output: Path) -> int:
        return add_to_rows(
            rows, output, lambda records, before: [{"n": 1}] * len(records), resume=True, chunk=8,
            watch=lambda kind, content: None,
        )  # fmt: skip

    others = (
        '{"text": "a"}\n' * 3,
        '{"text": "other", "n": 1}\n',
        "[1]\n",
        "no JSON\n",
        "of a user",
        '{"text": "b"}\n{"no',
    )
    for number, lines in enumerate(others):
        output = tmp_path / f"{number}.jsonl"
        output.write_text(lines)
        with pytest.raises(UsageError, match="holds rows of another file|holds no rows"):
            go_on(output)
        assert output.read_text() == lines
    (tmp_path / "good.jsonl").write_text('{"text": "a", "n": 0}\n{"text": "b", ')
    assert go_on(tmp_path / "good.jsonl") == 2
    assert (tmp_path / "good.jsonl").read_text() == '{"text": "a", "n": 0}\n{"text": "b", "n": 1}\n'
    table = tmp_path / "answers.parquet"
    table.write_bytes(b"PAR1\n and no line end")
    with pytest.raises(UsageError, match="would hold JSON Lines"):
        go_on(table)
    assert table.read_bytes() == b"PAR1\n and no line end"


def test_rows_that_were_predicted_before_keep_what_was_said(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", [{"text": "a", "score": 1, "hflm_score": 2}])
    assert added(rows, tmp_path / "out.jsonl", score=3) == [
        {"text": "a", "score": 1, "hflm_score": 2, "hflm_hflm_score": 3}
    ]


def test_the_input_is_no_output(tmp_path: Path) -> None:
    """Its last row would be taken for one that was cut off in the middle."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n{"text": "b"}')
    link = tmp_path / "link.jsonl"
    link.symlink_to(rows)
    for output in (rows, link):
        with pytest.raises(UsageError, match="is the input"):
            add_to_rows(
                rows, output, lambda records, before: [{"n": 1}] * len(records), resume=True, chunk=8,
                watch=lambda kind, content: None,
            )  # fmt: skip
    (tmp_path / "copy.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(UsageError, match="rows of another file"):
        add_to_rows(
            rows, tmp_path / "copy.jsonl", lambda records, before: [{"n": 1}] * len(records), resume=True, chunk=8,
            watch=lambda kind, content: None,
        )  # fmt: skip
    assert rows.read_text() == '{"text": "a"}\n{"text": "b"}'


@pytest.mark.parametrize("block", [1, 3, 10, 1 << 20])
@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("", (0, "", 0)),
        ('{"a', (0, "", 0)),
        ('{"a": 1}\n', (1, '{"a": 1}\n', 9)),
        ('{"a": 1}\n{"b": "书"}\n', (2, '{"b": "书"}\n', 22)),
        ('{"a": 1}\n{"b": 2}\n{"c', (2, '{"b": 2}\n', 18)),
        ("\n\n", (2, "\n", 2)),
    ],
)
def test_an_output_is_not_read_whole_to_go_on(
    content: str, wanted: tuple[int, str, int], block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.jsonl").write_text(content, encoding="utf-8")
    monkeypatch.setattr("hflm.inference.row_files.BLOCK", block)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("the whole file was read"))
    assert _whole_lines(tmp_path / "out.jsonl") == wanted


@pytest.mark.parametrize("unread", ["model", "input"])
def test_what_cannot_be_read_is_not_said_of_the_output(
    unread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, note = write(tmp_path / "rows.jsonl", moods(4)), tmp_path / "model" / "notes.txt"

    def refuse(*words: Any, **more: Any) -> NoReturn:
        named = (str(note),) if unread == "model" else ()
        raise OSError(errno.EIO, "Input/output error", *named)

    if unread == "input":
        monkeypatch.setattr("hflm.inference.row_files.read_records", refuse)
    with pytest.raises(DataError, match=f"^{note if unread == 'model' else rows} cannot be read: Input/output error"):
        add_to_rows(
            rows, tmp_path / "out.jsonl", lambda records, before: [{"n": 1}] * len(records), resume=False, chunk=8,
            watch=lambda kind, content: None, made_with=refuse if unread == "model" else None,
        )  # fmt: skip


@pytest.mark.parametrize("resume", [False, True])
def test_two_that_write_one_file_do_not_mix(resume: bool, tmp_path: Path) -> None:
    """The second is refused while the first is at work, before its first rows are there and after."""
    rows, output = write(tmp_path / "rows.jsonl", moods(4)), tmp_path / "out.jsonl"
    refused: list[str] = []

    def add(records: Any, before: int) -> list[dict[str, Any]]:
        with pytest.raises(UsageError) as caught:
            add_to_rows(
                rows, output, lambda records, before: [{"n": -1}] * len(records), resume=resume, chunk=8,
                watch=lambda kind, content: None,
            )  # fmt: skip
        refused.append(caught.value.problem)
        return [{"n": before + place} for place in range(len(records))]

    assert add_to_rows(rows, output, add, resume=resume, chunk=2, watch=lambda kind, content: None) == 4
    at_work = f"Another process is at work in {output}."
    assert refused == [at_work, at_work if resume else f"{output} exists."]
    assert [json.loads(line)["n"] for line in output.read_text().splitlines()] == [0, 1, 2, 3]


def test_a_file_system_without_locks_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("hflm.lock.fcntl.flock", none)
    rows = write(tmp_path / "rows.jsonl", moods(4))
    assert [row["n"] for row in added(rows, tmp_path / "out.jsonl", n=1)] == [1] * 4


def test_an_unfinished_file_is_gone_on_with_as_it_was_begun(tmp_path: Path) -> None:
    rows, output = write(tmp_path / "rows.jsonl", moods(3)), tmp_path / "out.jsonl"
    kept = tmp_path / ".out.jsonl.settings.json"

    def go(*, resume: bool = True, stop: int = 9, **settings: Any) -> int:
        def add(records: Any, before: int) -> list[dict[str, Any]]:
            if before == stop:
                raise KeyboardInterrupt
            return [{"n": before}]

        return add_to_rows(
            rows, output, add, resume=resume, chunk=1, watch=lambda kind, content: None, made_with=lambda: settings
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        go(resume=False, stop=0, model="z")
    # Nothing is left of what failed at its first row.
    assert output.read_bytes() == b"" and not kept.exists()
    with pytest.raises(KeyboardInterrupt):
        go(resume=False, stop=1, model="a", max_new_tokens=5)
    before = output.read_bytes()
    with pytest.raises(UsageError, match="out.jsonl was begun with another model and another max new tokens"):
        go(model="b", max_new_tokens=6)
    assert output.read_bytes() == before
    with pytest.raises(KeyboardInterrupt):
        go(stop=2, model="a", max_new_tokens=5)
    # Where it is lost, nothing is known.
    kept.write_text("")
    assert go(model="b") == 3 and not kept.exists()
    whole = output.read_bytes()
    assert go(model="c") == 3 and output.read_bytes() == whole and not list(tmp_path.glob(".*"))
