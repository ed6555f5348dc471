"""What people see: tables that hide nothing, progress that can be read anywhere, cards that say what is so."""

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hflm.cli import progress, show
from hflm.cli.progress import Progress
from hflm.environment import cores
from hflm.finetuning.card import base_line, took
from hflm.plots import fonts_for, plot_loss
from hflm.runs import list_runs
from hflm.text_width import columns

ROWS = [{"run": "runs/pretrain-20261126-101112", "data": "三国演义.txt", "status": "done"},
        {"run": "runs/b", "data": "a.txt", "status": "unfinished"}]  # fmt: skip
NAMES = ("run", "data", "status")


def test_wide_letters_take_two_columns() -> None:
    assert [columns(text) for text in ("abc", "三国", "é", "e\u0301", "हि", "한국")] == [3, 4, 1, 1, 2, 4]
    # Marks without a combining class, and what joins letters or keeps them apart.
    assert [columns(text) for text in ("हुआ", "हिंदी", "วันนี้", "می\u200cخواهم", "1\u20e3")] == [2, 4, 3, 7, 1]


def test_names_are_whole_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "is_terminal", lambda stream=None: True)
    for width in (30, 60, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        show.table(ROWS, NAMES)
        said = capsys.readouterr().out
        assert all(row["run"] in said and row["data"] in said for row in ROWS), width


def test_columns_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(ROWS, NAMES)
    lines = capsys.readouterr().out.splitlines()
    assert (
        len(
            {
                columns(line[: line.rindex(row)])
                for line, row in zip(lines, ("status", "done", "unfinished"), strict=True)
            }
        )
        == 1
    )


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "latin-1", "ascii"])
def test_json_is_json_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.BytesIO()
    # As `hflm` sets its streams.
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(held, encoding=encoding, errors="backslashreplace"))
    content = {"data": "三国.txt", "said": "café 🙂"}
    show.print_json(content)
    show.sys.stdout.flush()
    text = held.getvalue().decode(encoding)
    assert json.loads(text) == content and ("三国" in text) is encoding.lower().startswith("utf")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(number: int) -> dict[str, Any]:
    return {"step": number, "steps": 10, "seconds_per_step": 60.0, "tokens_per_second": 5.0, "loss": 1.0}


def test_names_are_whole_on_a_wide_terminal_that_knows_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """There rich draws in 80 columns, and folds what is longer."""
    # With both rich would believe them, dumb or not.
    monkeypatch.delenv("LINES", raising=False)
    for name, value in (("COLUMNS", "200"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", stream := Terminal())
    row = {"run": "runs/" + "a" * 60, "data": "b" * 30, "status": "done"}
    show.table([row], NAMES)
    assert row["run"] in stream.getvalue() and row["data"] in stream.getvalue()


@pytest.mark.parametrize(("term", "bar"), [("xterm", True), ("dumb", False)])
def test_the_time_left_of_slow_steps(term: str, bar: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    stream = Terminal()
    with Progress() as shown:
        shown.stream = stream
        shown.watch("step", step(2))
        shown.watch("step", step(10))
        assert (shown._bar is not None) is bar
    said = stream.getvalue()
    assert "0:00 left" in said and ("step 2 of 10, 5 tokens/s, 8:00 left" in said) is not bar


def test_a_line_that_is_written_over_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress() as shown:
        shown.stream = stream
        shown.watch("rows", {"done": 5, "rows": 9, "rows_per_second": 1.0})
    assert stream.getvalue().endswith("\r\n")


def test_a_line_that_is_written_over_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    with Progress() as shown:
        shown.stream = stream
        shown.watch("rows", {"done": 123_456, "rows": 1_000_000, "rows_per_second": 1234.5})
        shown.watch("rows", {"done": 1_000_000, "rows": 1_000_000, "rows_per_second": 1234.5})
    over, last = stream.getvalue().split("\r")
    assert over == "123,456 of 1,000,000 rows, 1,234.5 rows/s"[:39] and len(over) == 39
    assert last == "1,000,000 of 1,000,000 rows, 1,234.5 rows/s, 0:00 left\n"


def test_a_signal_is_answered_at_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as heard:
        shown = Progress()
        shown.stream = stream
        shown.watch("stopping", {})
        stream.close()
        assert heard.read() == progress.STOPPING
    shown.stream = io.StringIO()
    shown.watch("stopping", {})


def test_what_is_known_of_a_run_before_its_end(tmp_path: Path) -> None:
    for name, settings in (("a", "data: [book.txt]\n"), ("b", "task: sentiment\ntrain_file: rows.jsonl\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(settings)
        (tmp_path / name / "environment.json").write_text('{"started": "2026-11-26T10:00:00+00:00"}')
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.yaml").write_text("a: [")
    found = {run.path.name: (run.job, run.data, run.started) for run in list_runs(tmp_path)}
    assert found["a"] == ("pretrain", "book.txt", "2026-11-26T10:00:00+00:00")
    assert found["b"][:2] == ("finetune", "rows.jsonl") and found["c"] == (None, None, None)


def test_a_container_has_as_many_cores_as_its_quota(tmp_path: Path) -> None:
    quota, every = tmp_path / "cpu.max", cores(tmp_path / "none")
    for text, count in (("50000 100000", 1), ("max 100000", every), ("100000000 100000", every), ("", every)):
        quota.write_text(text)
        assert cores(quota) == count


def test_the_base_of_a_model_is_named_as_the_hub_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m").mkdir()
    assert base_line("smollm2") == "base_model: HuggingFaceTB/SmolLM2-135M-Instruct\n"
    assert base_line("google-bert/bert-base-cased") == "base_model: google-bert/bert-base-cased\n"
    assert base_line("~/m") == base_line(str(tmp_path)) == base_line("") == ""
    assert took({"seconds": 45.2, "first_step": 3990}) == "45 seconds since step 3,990"


def test_pictures_take_letters_from_other_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    seen: list[str] = []
    drawn: dict[str, list[str]] = {}
    save = Figure.savefig

    def kept(figure: Figure, path: Path) -> None:
        drawn.update((one.get_text(), one.get_fontfamily()) for one in figure.findobj(Text) if isinstance(one, Text))
        save(figure, path)

    monkeypatch.setattr("hflm.plots.fonts_for", lambda texts: seen.extend(texts) or ["DejaVu Sans", "DejaVu Serif"])
    monkeypatch.setattr(Figure, "savefig", kept)
    plot_loss([{"step": 1, "loss": 2.0}], tmp_path / "loss.png", title="三国 for $5 and $6")
    title = r"三国 for \$5 and \$6"
    assert (tmp_path / "loss.png").stat().st_size > 5000 and title in seen
    assert drawn[title] == ["DejaVu Sans", "DejaVu Serif"]


@pytest.mark.parametrize(
    ("text", "others"),
    [("Ωμέγα", []), ("三国", ["Han"]), ("三国 हिन्दी", ["Han", "Indic"]), ("𓀀", [])],
)
def test_a_font_with_the_letters_is_taken_and_none_of_boxes(
    text: str, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import font_manager

    every = font_manager.fontManager.ttflist
    own = [one for one in every if one.name == "DejaVu Sans" and one.style == "normal"]
    boxes = [one for one in every if one.name.startswith("Last Resort")]
    made = [
        SimpleNamespace(name=name, fname=letters, style=style, weight=weight)
        for name, letters, style, weight in (
            ("Han Bold", "三国", "normal", 700), ("Han Slanted", "三国", "italic", 400), ("Damaged", "", "normal", 400),
            ("Han", "三国志", "normal", 400), ("Indic", "हिन्दी", "normal", "regular"), ("Han 2", "三", "normal", 400),
        )
    ]  # fmt: skip
    real = font_manager.get_font

    def get_font(name: str) -> Any:
        if name == "":
            raise RuntimeError("cannot open resource")
        if any(name == one.fname for one in made):
            return SimpleNamespace(get_charmap=lambda: dict.fromkeys(map(ord, name), 1))
        return real(name)

    assert boxes and all(ord(letter) in real(boxes[0].fname).get_charmap() for letter in text)
    monkeypatch.setattr(font_manager, "get_font", get_font)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*boxes, *own, *made])
    assert fonts_for(["loss", text]) == ["DejaVu Sans", *others]


def test_work_goes_on_when_the_reader_of_a_pipe_has_left(capfd: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, Progress() as shown:
        shown.stream = stream
        shown.note("one")
        assert os.read(read, 100) == b"one\n"
        os.close(read)
        for number in range(3):
            shown.note(str(number))
        shown.watch("rows", {"done": 9, "rows": 9, "rows_per_second": 1.0})
    assert not capfd.readouterr().err
