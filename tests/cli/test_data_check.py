"""`hflm data check` on files that no job can use: one line each, with file, line and remedy; jobs refuse the same."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from tests.data.bad_files import BEFORE, FILES, GOOD, line, rows
from tests.tiny import moods, write

Tiny = Callable[[str], str]
MODELS = {"summarization": "t5", "translation": "t5", "generation": "llama"}
# What training leaves out by itself, and says: a row without a text or a target teaches nothing.
LEFT_OUT = {
    "an empty text", "a blank text", "null for a text", "an empty summary", "no document", "an empty verse",
    "no answer", "a blank answer", "no words", "an empty cell",
}  # fmt: skip


def languages(task: str) -> list[str]:
    return ["--source-lang", "en", "--target-lang", "es"] if task == "translation" else []


def check(path: Path, task: str, *words: str) -> int:
    return main(["data", "check", str(path), "--task", task, *languages(task), *words])


@pytest.mark.promise("D1")
@pytest.mark.parametrize("name", FILES)
def test_one_line_each(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = FILES[name]
    path = bad.make(tmp_path)
    capsys.readouterr()
    assert check(path, bad.task) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    (told,) = said.err.splitlines()
    assert told.startswith("error: ") and path.name in told and bad.said in told
    # After what is wrong, a sentence that says what to do.
    assert re.search(r"[.?] [A-Z].*\S$", told), told
    if bad.line is not None:
        assert re.search(rf"(line|row) {bad.line}\b", told), told


@pytest.mark.promise("D1")
@pytest.mark.parametrize("name", FILES)
def test_jobs_refuse_the_same(
    name: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = FILES[name]
    path = bad.make(tmp_path)
    monkeypatch.setattr("hflm.finetuning.fitting.load_with_head", lambda *_, **__: pytest.fail("a model was loaded"))
    words = ["--task", bad.task, "--model", tiny(MODELS.get(bad.task, "bert")), "--data", str(path)]
    strict = ["--train-file", str(path), "--validation-file", str(path)]
    given = [
        *words[:4],
        *(strict if name in LEFT_OUT else words[4:]),
        *languages(bad.task),
        "-o",
        str(tmp_path / "run"),
    ]
    capsys.readouterr()
    assert main(["finetune", *given, "-o", str(tmp_path / "run")]) == 2
    (told,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert path.name in told or "None of the" in told or "no rows" in told.lower() or bad.said in told
    if bad.line is not None:
        assert re.search(rf"(line|row) {bad.line}\b", told), told
    assert not (tmp_path / "run").exists()


@pytest.mark.promise("D1")
@pytest.mark.parametrize("task", GOOD)
def test_good_files_pass(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows(24, task)))
    assert check(path, task) == 0
    assert "24 can be used, 0 cannot" in capsys.readouterr().out


def test_all_are_counted_and_some_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*rows(10), *["{"] * 30, *['{"text": 3.5, "label": null}'] * 7]))
    assert check(path, "sentiment") == 2
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 21 and "and 17 more bad rows" in said.err
    assert "30 not JSON" in said.out and "7 no label" in said.out
    assert check(path, "sentiment", "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 10 and found["bad"]["rows"] == 37 and found["labels"] == {"good": 5, "bad": 5}
    assert found["bad"]["reasons"] == {"not JSON": 30, "no label": 7} and len(found["bad"]["first"]) == 20


def test_text_needs_no_task(text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(text_file)]) == 0
    path = line('{"text": 7}')(tmp_path)
    assert main(["data", "check", str(path)]) == 2
    assert f"line {BEFORE + 1}, field 'text': found 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["label-column", "source-column", "target-column", "tokens-column", "tags-column", "prompt-column",
     "completion-column", "messages-column", "source-lang", "target-lang"],
)  # fmt: skip
def test_columns_of_a_task_need_one(name: str, text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(text_file), f"--{name}", "x"]) == 2
    assert f"--{name} is for the rows of a task, and no task is named. Pass --task" in capsys.readouterr().err


def test_rows_that_stand_in_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"word{n}" for n in range(400)]
    train = [{"text": " ".join(words[20 * n : 20 * n + 20]), "label": n % 2} for n in range(10)]
    held = [
        {"text": "So, " + train[3]["text"].upper() + "!", "label": 1},
        {"text": " ".join(words[300:330]), "label": 0},
    ]
    one, two = write(tmp_path / "train.jsonl", train), write(tmp_path / "test.jsonl", held)
    assert check(two, "sentiment", "--against", str(one)) == 0
    assert (
        f"overlap   1 of 2 rows share 13 words in a row, as {two}, line 1 and {one}, line 4" in capsys.readouterr().out
    )


def test_short_rows_that_stand_in_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [{"text": text, "label": n % 2} for n, text in enumerate(["A dull film.", "A warm  one", "很好的电影"])]
    held = [{"text": text, "label": n % 2} for n, text in enumerate(["a DULL film.", "很好的电影", "Another"])]
    one, two = write(tmp_path / "train.jsonl", train), write(tmp_path / "test.jsonl", held)
    assert check(two, "sentiment", "--against", str(one)) == 0
    said = capsys.readouterr().out
    assert "overlap   0 of 0 rows share" in said and "2 rows, of any length, stand there as a whole" in said


def test_copies_of_a_row_that_stands_in_training_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [{"text": text, "label": n % 2} for n, text in enumerate(["A dull film.", "A warm one."])]
    held = [*[{"text": "A dull film.", "label": 0}] * 10, {"text": "Another.", "label": 1}]
    one, two = write(tmp_path / "train.jsonl", train * 3), write(tmp_path / "test.jsonl", held)
    assert check(two, "sentiment", "--against", str(one), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["overlap"]["same"] == 10 and found["duplicates"] == 9


def test_training_rows_that_cannot_be_compared_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in common with a file that could not be read is no good news."""
    held = write(tmp_path / "test.jsonl", moods(4))
    (tmp_path / "train.csv").write_bytes("text,label\ncaf\xe9,good\n".encode("latin-1"))
    assert check(held, "sentiment", "--against", str(tmp_path / "train.csv"), "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert found["bad"]["rows"] == 0 and found["bad_against"]["rows"] == 1
    assert check(held, "sentiment", "--against", str(tmp_path / "train.csv")) == 2
    said = capsys.readouterr()
    assert "train.csv" in said.err and "1 rows to compare with could not be read" in said.out


def renamed(count: int) -> list[dict[str, Any]]:
    """Rows whose columns have other names, which the task knows too."""
    return [{"review": row["text"], "sentiment": row["label"]} for row in moods(count)]


@pytest.mark.promise("D1")
def test_all_rows_of_a_split_have_the_columns_of_its_first(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = write(tmp_path / "a.jsonl", moods(20)), write(tmp_path / "b.jsonl", renamed(4))
    told = f"{two}, line 1: no column 'text'; it has ['review', 'sentiment']. Give every row the same columns."
    assert check(one, "sentiment", str(two)) == 2
    said = capsys.readouterr()
    assert "20 can be used, 4 cannot" in said.out and told in said.err
    words = ["finetune", "--task", "sentiment", "--model", tiny("bert"), "--data", str(one), "--data", str(two)]
    assert main([*words, "-o", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert check(two, "sentiment") == 0, "alone it is as good"


def test_a_split_may_have_columns_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As jobs read them; where a file has those of the training too, they are taken, whatever order files come in."""
    held = [{**row, "text": "Of the training.", "label": "good"} for row in renamed(4)]
    write(tmp_path / "dev.jsonl", held)
    write(tmp_path / "test.jsonl", [{"text": row["review"], "label": row["sentiment"]} for row in renamed(4)])
    write(tmp_path / "train.jsonl", renamed(20))
    assert check(tmp_path, "sentiment", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 28 and found["columns"] == {"text": "review", "label": "sentiment"}
    # Of the rows to validate on the column was read that training reads, in which they differ.
    assert found["labels"] == {"good": 14, "bad": 14}


@pytest.mark.promise("D1")
def test_bad_rows_may_be_left_out(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    good = [json.dumps(row) for row in moods(40)]
    path.write_text(
        "\n".join([*good[:20], "{", '{"text": 1.5, "label": null}', '{"text": "", "label": "good"}', *good[20:]])
    )
    words = ["finetune", "--task", "sentiment", "--model", tiny("bert"), "--data", str(path), "--max-steps", "2"]
    assert main([*words, "-o", str(tmp_path / "no")]) == 2
    assert "line 21" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "yes"), "--on-bad-row", "skip"]) == 0
    said = capsys.readouterr()
    assert "left out: 3 bad rows (1 not JSON, 1 no label, 1 it is empty), the first: " in said.out + said.err
    found = json.loads((tmp_path / "yes" / "metrics.json").read_text())["preflight"]
    assert found["bad_rows"]["rows"] == 3 and sum(found["rows"].values()) == 40


@pytest.mark.promise("D1")
def test_text_to_pretrain_on_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text.jsonl"
    texts = [
        json.dumps({"text": f"This is sentence number {n} of a plain text, and not the last of them."})
        for n in range(600)
    ]
    path.write_text("\n".join([*texts[:300], "{", '{"text": 7}', *texts[300:]]))
    small = ["--layers", "1", "--width", "32", "--heads", "2", "--vocab-size", "300", "--max-length", "16"]
    words = ["pretrain", str(path), *small, "--max-steps", "2", "--batch-size", "4"]
    assert main([*words, "-o", str(tmp_path / "no")]) == 2
    assert "line 301" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "yes"), "--on-bad-row", "skip"]) == 0
    found = json.loads((tmp_path / "yes" / "metrics.json").read_text())
    dropped = found["data_cleaning"]["dropped"]
    assert dropped["not JSON"] == 1 and dropped["not a string"] == 1
