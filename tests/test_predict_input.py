"""What is read to predict from, and how what is said comes out: lines, letters, stdin, pieces, scores."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.cli.stdin import read_stdin
from hflm.errors import UsageError
from hflm.inference.trained import TrainedModel, open_trained
from hflm.long_texts import predict_long
from hflm.predict import predict_file, predict_texts
from tests.tiny import moods, pairs, tagged, write

MADE = {
    "sentiment": ("bert", moods), "tagging": ("bert", tagged), "summarization": ("t5", pairs),
    "translation": ("marian", lambda: pairs(source="en", target="es")),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(runs_of: Callable[..., Callable[[str], str]]) -> Callable[[str], str]:
    """A function from a task to a run of it, made once."""
    return runs_of(MADE)


def opened(runs: Callable[[str], str], task: str) -> TrainedModel:
    return open_trained(runs(task), precision="fp32", max_new_tokens=5)


def test_lines_of_a_text_for_every_task(
    runs: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A .txt file has no columns: a line is what is read; the lines of a translation are those of its source."""
    (tmp_path / "lines.txt").write_text("one two\n\nthree four\n")
    for command, name in (("translate", "translation"), ("classify", "tagging"), ("classify", "sentiment")):
        capsys.readouterr()
        assert main([command, runs(name), "--input-file", str(tmp_path / "lines.txt"), "--json"]) == 0
        blank = [""] if name == "translation" else []
        assert [row["text"] for row in json.loads(capsys.readouterr().out)] == ["one two", *blank, "three four"]


def test_an_output_that_cannot_be_written_is_told_before_a_row_is_read(
    runs: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = write(tmp_path / "rows.jsonl", moods()), tmp_path / "none" / "out.jsonl"
    words = ["predict", runs("sentiment"), "--input-file", str(rows), "-o", str(out)]
    capsys.readouterr()
    assert main(words) == 2
    assert f"{out} cannot be written: there is no folder {out.parent}" in capsys.readouterr().err


def test_what_is_cut_is_said(runs: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beyond what a model reads, words of a text have no tag, and a class knows nothing of them."""
    long = " ".join(["Emma ran home"] * 200)
    for name in ("sentiment", "tagging"):
        assert main(["classify", runs(name), long, "short", "--json"]) == 0
        assert "texts longer than the model reads, read in part: 1" in capsys.readouterr().err
    rows = write(tmp_path / "rows.jsonl", [{"text": long}, {"text": "short"}])
    assert main(["predict", runs("sentiment"), "--input-file", str(rows), "-o", str(tmp_path / "out.jsonl")]) == 0
    assert "read in part: 1" in capsys.readouterr().err
    assert main(["classify", runs("sentiment"), "short", "--json"]) == 0
    assert "read in part" not in capsys.readouterr().err


def test_the_column_of_the_training_is_found_as_it_was_written(
    run_finetune: Callable[..., Path], tiny: Callable[[str], str], tmp_path: Path
) -> None:
    rows = [{"comment": f"aside {n}", "Body": row["text"], "Stars": row["label"]} for n, row in enumerate(moods())]
    path = write(tmp_path / "rows.jsonl", rows)
    run = run_finetune(
        "sentiment", model=tiny("bert"), data=[str(path)], text_column="Body", label_column="Stars", max_steps=2
    )
    asked = []
    trained = open_trained(str(run), precision="fp32")
    real = trained.family.encode
    trained.family.encode = lambda examples: asked.extend(examples) or real(examples)
    predict_file(trained, path, tmp_path / "out.jsonl", columns={}, resume=False, watch=lambda kind, content: None)
    assert [example["text"] for example in asked] == [row["Body"] for row in rows]


@pytest.mark.parametrize(
    ("command", "task", "option"),
    [("classify", "sentiment", "text"), ("classify", "tagging", "tokens"), ("summarize", "summarization", "source"),
     ("translate", "translation", "source")],
)  # fmt: skip
def test_a_column_of_any_name_is_read(
    command: str, task: str, option: str, runs: Callable[[str], str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    value: Any = ["one", "two"] if option == "tokens" else "one two"
    rows = str(write(tmp_path / "rows.jsonl", [{"nr": 1, "zu lesen": value}]))
    words, named = [command, runs(task)], [f"--{option}-column", "zu lesen"]
    capsys.readouterr()
    assert main([*words, "--input-file", rows, "--json"]) == 2
    assert f"no column for the {option}" in (said := capsys.readouterr().err)
    assert f"Pass --{option}-column NAME" in said
    assert main([*words, "--input-file", rows, *named, "--json"]) == 0
    assert [row["text"] for row in json.loads(capsys.readouterr().out)] == ["one two"]
    assert main([*words, "one two", *named]) == 2
    assert f"--{option}-column is for --input-file" in capsys.readouterr().err
    (tmp_path / "lines.txt").write_text("one two\n")
    assert main([*words, "--input-file", str(tmp_path / "lines.txt"), *named]) == 2
    assert f"has lines, and no columns. Leave --{option}-column out" in capsys.readouterr().err


@pytest.mark.parametrize(("settings", "said"), [
    ({"num_labels": 3, "problem_type": "multi_label_classification"}, "several labels or none"),
    ({"num_labels": 1}, "a number"),
])  # fmt: skip
def test_a_head_of_other_answers_is_refused(
    settings: dict[str, Any], said: str, tiny: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import transformers

    config = transformers.AutoConfig.from_pretrained(tiny("bert"), **settings)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny("bert")).save_pretrained(tmp_path)
    assert main(["classify", str(tmp_path), "a film"]) == 2
    assert said in capsys.readouterr().err


def test_a_tag_for_every_letter_where_no_spaces_are(runs: Callable[[str], str]) -> None:
    (row,) = predict_texts(opened(runs, "tagging"), ["张三在 Beijing"])
    assert len(row["prediction"]) == 4


def test_stdin_that_is_not_utf8(
    runs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one\ncaf\xe9\n"), encoding="utf-8"))
    assert main(["classify", runs("sentiment")]) == 2
    said = capsys.readouterr().err
    assert "stdin, line 2: not UTF-8: byte 0xe9" in said and "... | iconv -f CP1252 -t UTF-8 | hflm ...;" in said
    assert "traditional Chinese BIG5, Japanese CP932, Korean CP949, Russian CP1251, Arabic CP1256." in said
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\ufeffone\r\ntwo".encode()), encoding="utf-8"))
    assert main(["classify", runs("sentiment"), "--json"]) == 0
    assert [row["text"] for row in json.loads(capsys.readouterr().out)] == ["one", "two"]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16", "stdin is UTF-16, not UTF-8. Convert it: ... | iconv -f UTF-16 -t UTF-8 | hflm ..."),
        ("utf-32", "stdin is UTF-32, not UTF-8. Convert it: ... | iconv -f UTF-32 -t UTF-8 | hflm ..."),
        ("gb18030", "It looks like Chinese in GB18030: ... | iconv -f GB18030 -t UTF-8 | hflm ..."),
        ("big5", "not UTF-8: byte 0xa5. If it is of the West"),
    ],
)
def test_stdin_in_another_encoding(encoding: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = "他是一個好人，我在這裡等他的消息。不知道他是不是來了。\n".encode(encoding)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
    with pytest.raises(UsageError) as caught:
        read_stdin()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_parts_of_a_long_text_are_joined_as_their_script_has_it(
    runs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, text = opened(runs, "summarization"), "「一二三。」四五六！" * 30
    object.__setattr__(trained.family, "max_source_length", 60)
    monkeypatch.setattr(
        "hflm.long_texts.predict_texts", lambda trained, texts: [{"prediction": part} for part in texts]
    )
    (found,) = predict_long(trained, [text])
    assert found["prediction"] == text and found["pieces"] > 1


def test_texts_are_written_down_often(
    runs: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long is kept in small pieces; classes of thousands of rows are sorted by length together."""
    monkeypatch.setattr("hflm.predict.WRITTEN", 3)
    rows, seen = write(tmp_path / "rows.jsonl", pairs(8)), list[int]()
    predict_file(
        opened(runs, "summarization"), rows, tmp_path / "out.jsonl", columns={}, resume=False,
        watch=lambda kind, content: seen.append(content["done"]) if kind == "rows" else None,
    )  # fmt: skip
    assert seen == [3, 6, 8]


def test_scores_are_shown_before_a_file_is_written(
    runs: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = str(write(tmp_path / "rows.jsonl", moods(12)))
    (tmp_path / "file").touch()
    command = ["evaluate", runs("sentiment"), "--data", rows, "-o"]
    assert main([*command, str(tmp_path / "new" / "said.jsonl")]) == 0
    assert (tmp_path / "new" / "said.jsonl").read_text().count("\n") == 12
    capsys.readouterr()
    assert main([*command, str(tmp_path / "file" / "said.jsonl")]) == 2
    said = capsys.readouterr()
    assert "accuracy" in said.out and said.err.startswith("error: ") and "Traceback" not in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "--input-file", "rows.jsonl", "-o", "said.jsonl", "--num-beams", "2"], "--num-beams is for"),
        (["predict", "--input-file", "rows.jsonl", "-o", "said.jsonl", "--max-new-tokens", "9"], "--max-new-tokens is"),
        (["evaluate", "--data", "rows.jsonl", "--max-new-tokens", "9"], "--max-new-tokens is for models that write"),
        (["evaluate", "--data", "rows.jsonl", "-o", "said.csv"], "said.csv would hold JSON Lines"),
        (["evaluate", "--data", "rows.jsonl", "-o", "-"], "and - is none"),
    ],
)
def test_options_that_a_classifier_or_a_file_of_rows_does_not_have(
    words: list[str], said: str, runs: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run, rows = runs("sentiment"), write(tmp_path / "rows.jsonl", moods(6))
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main([words[0], run, *words[1:]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line and list(tmp_path.iterdir()) == [rows]


def test_a_translation_has_the_lines_of_its_source(
    runs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`paste source target` goes wrong from the first line that is missing."""
    text = "one two\n\n \nthree four\n\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))
    run = runs("translation")
    capsys.readouterr()
    assert main(["translate", run]) == 0
    said = capsys.readouterr().out.split("\n")
    assert len(said) == 6 and said[0] and not said[1] and not said[2] and said[3] and not said[4]


def test_an_unfinished_file_goes_on_with_the_options_that_began_it(
    runs: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hflm.predict.WRITTEN", 3)
    rows, out = write(tmp_path / "rows.jsonl", pairs(8)), tmp_path / "out.jsonl"

    def stop(kind: str, content: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_file(opened(runs, "summarization"), rows, out, columns={}, resume=False, watch=stop)
    kept = out.read_bytes()
    words = ["predict", runs("summarization"), "--input-file", str(rows), "-o", str(out), "--resume"]
    capsys.readouterr()
    assert main([*words, "--max-new-tokens", "4"]) == 2
    assert "out.jsonl was begun with another max new tokens." in capsys.readouterr().err
    assert out.read_bytes() == kept and kept.count(b"\n") == 3
    assert main([*words, "--max-new-tokens", "5"]) == 0
    assert out.read_bytes().count(b"\n") == 8 and not list(tmp_path.glob(".*"))
