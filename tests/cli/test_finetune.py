"""`hflm finetune` and `hflm plan` as a user sees them: output, one's own recipes, signals, errors of one line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.settings import read_yaml
from tests.tiny import asked, moods, pairs, tagged, write

ROOT = Path(__file__).parents[2]
SMALL = ["--batch-size", "8", "--precision", "fp32", "--max-steps", "2", "--eval-steps", "1", "--logging-steps", "1"]
Tiny = Callable[[str], str]
RECIPE = '''"""Sort questions by what they ask for."""

from hflm.task import Task

task = Task(
    name="questions",
    columns={"text": ("question",), "label": ("kind",)},
    family="classification",
    metric="classification",
    best="accuracy",
    defaults={"epochs": 1, "batch_size": 4, "learning_rate": 1e-3},
)
'''


def finetune(run: Path, task: str, model: str, data: Path, *words: str) -> int:
    return main(["finetune", "--task", task, "--model", model, "--data", str(data), "-o", str(run), *SMALL, *words])


def test_the_report(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "out"
    data = write(tmp_path / "rows.jsonl", [*moods(60), *moods(4), {"text": " ", "label": "good"}])
    tiny("bert")
    capsys.readouterr()
    assert finetune(run, "sentiment", tiny("bert"), data) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for text in (
        "settings: ", "columns: text from 'text', label from 'label'", "held out: eval, test", "labels: bad ",
        "tokens read: median", "skipped: 1 training rows", "duplicates: ", "model: bert as classification",
        "8 = 8 (micro-batch) x 1 (accumulation)", "rows, scored once", "accuracy", f"run            {run}",
        f'hflm classify {run} "..."', f"hflm runs show {run}",
    ):  # fmt: skip
        assert text in shown.out, text


def test_json_and_nothing_else(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "rows.jsonl", pairs())
    assert finetune(tmp_path / "out", "summarization", tiny("t5"), data, "--json") == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["run"] == str(tmp_path / "out") and metrics["metric"] == "rouge"


def test_a_recipe_of_ones_own_with_many_classes(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(RECIPE)
    kinds = ("who", "متى", "哪里", "why")
    rows = [{"question": f"{kinds[n % 4]} number {n}?", "kind": kinds[n % 4]} for n in range(60)]
    data = write(Path("rows.jsonl"), rows)
    assert finetune(Path("out"), "./mine.py", tiny("distilbert"), data, "--max-steps", "3") == 0
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["task"] == "questions" and set(metrics["preflight"]["labels"]) == set(kinds)
    assert Path("out/recipe.py").read_text() == RECIPE
    config = json.loads(Path("out/model/config.json").read_text())
    assert sorted(config["id2label"].values()) == sorted(kinds)
    # The recipe may change or go once a run has begun; its columns are known to the model.
    Path("mine.py").unlink()
    assert main(["classify", "out", "who number 3?", "why?"]) == 0
    asked_for = write(Path("in.jsonl"), [{"question": "who?"}, {"question": "哪里?"}])
    assert main(["predict", "out", "--input-file", str(asked_for), "-o", "out.jsonl"]) == 0
    assert main(["evaluate", "out", "--data", str(data)]) == 0
    Path("out/metrics.json").unlink()
    capsys.readouterr()
    assert main(["finetune", "-o", "out", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test"] == metrics["test"]


def csv_of(rows: list[dict[str, Any]]) -> str:
    return "text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in rows)


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.parquet", "folder"])
def test_data_in_other_formats(name: str, tiny: Tiny, tmp_path: Path) -> None:
    data = tmp_path / name
    if name == "rows.csv":
        data.write_text(csv_of(moods()), encoding="utf-8")
    elif name == "rows.json":
        data.write_text(json.dumps(moods()))
    elif name == "rows.parquet":
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        parquet.write_table(arrow.Table.from_pylist(moods()), data)
    else:
        data.mkdir()
        (data / "train.csv").write_text(csv_of(moods()[:30]), encoding="utf-8")
        write(data / "validation.jsonl", moods()[30:36])
        (data / "test.json").write_text(json.dumps(moods()[36:]))
    assert finetune(tmp_path / "out", "sentiment", tiny("bert"), data) == 0
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["preflight"]["rows"]
    assert sum(rows.values()) == 40 and all(rows.values())
    assert rows == {"train": 30, "eval": 6, "test": 4} or name != "folder"


def test_columns_and_numbers_by_flags(tiny: Tiny, tmp_path: Path) -> None:
    rows = [{"body": row["text"], "stars": int(row["label"] == "good")} for row in moods()]
    data = write(tmp_path / "rows.jsonl", rows)
    words = ["--text_column", "body", "--label-column", "stars", "--max-length", "16", "--lr", "1e-3",
             "--max-train-samples", "20"]  # fmt: skip
    assert finetune(tmp_path / "out", "sentiment", tiny("bert"), data, *words) == 0
    saved = read_yaml(tmp_path / "out" / "config.yaml")
    assert (saved["max_source_length"], saved["learning_rate"], saved["text_column"]) == (16, 1e-3, "body")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["preflight"]["rows"]["train"] == 20 and set(metrics["preflight"]["labels"]) == {"0", "1"}
    # The settings of a run make the run again.
    assert main(["finetune", "--config", str(tmp_path / "out" / "config.yaml"), "-o", str(tmp_path / "again")]) == 0
    one, two = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("out", "again"))
    assert one == two


def test_the_plan_is_what_the_run_does(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hflm.engine import budget

    real = budget.probe
    monkeypatch.setattr(budget, "probe", lambda *words, **more: real(*words, **{**more, "seconds": 0.3, "most": 2.0}))
    data = write(tmp_path / "rows.jsonl", moods())
    words = ["--task", "sentiment", "--model", tiny("bert"), "--data", str(data), "--batch-size", "8", "--precision",
             "fp32", "--epochs", "1", "--json"]  # fmt: skip
    assert main(["plan", *words]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == [data], "a plan writes nothing"
    assert main(["finetune", *words, "-o", str(tmp_path / "out")]) == 0
    done = json.loads(capsys.readouterr().out)
    assert planned["steps"] == done["steps"] == done["preflight"]["steps"]
    for name in ("rows", "columns", "lengths", "labels", "cut"):
        assert planned[name] == done["preflight"][name]
    assert planned["seconds"] > 0 and planned["peak_memory_bytes"] > 0


def test_a_signal_saves_and_the_run_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    run, data = tmp_path / "out", write(tmp_path / "rows.jsonl", asked())
    line = [sys.executable, "-m", "hflm", "finetune", "--task", "generation", "--model", tiny("llama"), "--data",
            str(data), "-o", str(run), *SMALL, "--max-steps", "150", "--eval-steps", "150"]  # fmt: skip
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (run / "log.jsonl").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 75, err
    (said,) = err.splitlines()
    assert said.startswith("error: Stopped by a signal after step ") and f"hflm resume {run}" in said
    assert main(["finetune", "-o", str(run), "--resume"]) == 0
    assert json.loads((run / "metrics.json").read_text())["steps"] == 150


Make = Callable[[Path], list[str]]


def rows(content: Any, *words: str) -> Make:
    """A case: these rows, and these flags."""

    def make(folder: Path) -> list[str]:
        return ["--data", str(write(folder / "rows.jsonl", content)), *words]

    return make


def held(train: Any, other: Any, *words: str) -> Make:
    """A case: rows to train on, others to test on, and these flags."""

    def make(folder: Path) -> list[str]:
        return ["--train-file", str(write(folder / "a.jsonl", train)), "--test-file",
                str(write(folder / "b.jsonl", other)), *words]  # fmt: skip

    return make


# What is wrong -> the recipe, the model, what is given, what the line must say.
def model_was_loaded(*_: object, **__: object) -> None:
    pytest.fail("the model was loaded")


BAD: dict[str, tuple[str, str, Make, tuple[str, ...]]] = {
    "missing column": ("sentiment", "bert", rows([{"txt": "a", "label": 1}]), ("Did you mean 'txt'", "--text-column")),
    "unknown column": (
        "sentiment", "bert", rows(moods(), "--label-column", "lable"), ("no column 'lable'", "Did you mean 'label'"),
    ),
    "three languages": (
        "translation", "t5", rows([{"en": "a", "fr": "b", "de": "c"}]), ("3 languages", "--source-lang"),
    ),
    "unknown language": (
        "translation", "t5", rows(pairs(source="en", target="es"), "--source-lang", "en", "--target-lang", "xx"),
        ("no column for the target", "'en', 'es'"),
    ),
    "one language": ("translation", "t5", rows(pairs(), "--source-lang", "en"), ("One language is named",)),
    "one class": (
        "sentiment", "bert", rows([{"text": str(n), "label": "x"} for n in range(20)]), ("have the label 'x'",),
    ),
    "a new label": (
        "sentiment", "bert", held(moods(), [{"text": "a", "label": "odd"}]), ("b.jsonl, line 1", "'odd'", "training"),
    ),
    "a string for a list": (
        "tagging", "bert", rows([{"tokens": "a b", "tags": ["O", "O"]}]), ("line 1", "'tokens'", "no list"),
    ),
    "a list for a string": ("sentiment", "bert", rows([{"text": ["a"], "label": 1}]), ("line 1", "not a string")),
    "tags of another length": (
        "tagging", "bert", rows([*tagged(), {"tokens": ["a", "b"], "tags": ["O"]}]), ("line 41", "2 words and 1 tags"),
    ),
    "empty targets": (
        "summarization", "t5", rows([{"document": str(n), "summary": None} for n in range(30)]), ("is empty",),
    ),
    "an empty label": ("sentiment", "bert", rows([*moods(), {"text": "a", "label": ""}]), ("line 41", "no label")),
    "no target left": (
        "generation", "gpt2",
        held([{"messages": [{"role": "user", "content": str(n)}]} for n in range(30)], asked(3)),
        ("a.jsonl, line 1", "no message of the assistant", " rows to train"),
    ),
    "an encoder that should write": ("summarization", "bert", rows(pairs()), ("is an encoder", "writes no text")),
    "an encoder-decoder for text": ("generation", "bart", rows(asked()), ("is an encoder-decoder",)),
    "rows that are all too long": (
        "summarization", "t5", rows(pairs(), "--max-source-length", "6"), ("All ", "longer", "--max-source-length"),
    ),
    "no class but numbers": (
        "sentiment", "bert", rows([{"text": str(n), "label": n / 7} for n in range(40)]), ("different numbers",),
    ),
    "an option of other tools": ("sentiment", "bert", rows(moods(), "--fp16"), ("--fp16", "--precision fp16")),
    "another one": (
        "sentiment", "bert", rows(moods(), "--load_best_model_at_end"), ("--load-best-model-at-end", "best weights"),
    ),
    "shares": (
        "sentiment", "bert", rows(moods(), "--test-fraction", "0.6", "--eval-fraction", "0.4"), ("no rows to train",),
    ),
    "no data": ("sentiment", "bert", lambda folder: [], ("--data",)),
    "no such file": ("sentiment", "bert", lambda folder: ["--data", str(folder / "no.jsonl")], ("no.jsonl",)),
    "no such model": ("sentiment", "NOWHERE", rows(moods()), ("no model folder",)),
    "no such task": ("sentimental", "bert", rows(moods()), ("Did you mean 'sentiment'",)),
    "a task of pretraining": ("classic", "bert", rows(moods()), ("recipe of pretraining", "hflm pretrain")),
    "broken JSON": (
        "sentiment", "bert", lambda folder: ["--data", _broken(folder)], ("rows.jsonl, line 2", "not JSON"),
    ),
    "an option misspelt": ("sentiment", "bert", rows(moods(), "--label-smothing", "0.1"), ("--label-smoothing",)),
}  # fmt: skip


def _broken(folder: Path) -> str:
    (folder / "rows.jsonl").write_text('{"text": "a", "label": 1}\n{"text": \n')
    return str(folder / "rows.jsonl")


@pytest.mark.parametrize("case", BAD)
def test_bad_input_costs_a_line(
    case: str, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, kind, make, parts = BAD[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hflm.finetuning.fitting.load_with_head", model_was_loaded)
    model = tiny(kind) if kind != "NOWHERE" else str(tmp_path / "nowhere")
    given = make(tmp_path)
    capsys.readouterr()
    assert main(["finetune", "--task", task, "--model", model, "-o", "out", *SMALL, *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and all(part in line for part in parts), line
    assert not (tmp_path / "out").exists()


def test_names_of_other_tools_are_understood_and_said(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path / "rows.jsonl", pairs())
    words = [
        "finetune", "--task", "summarization", "--model_name_or_path", tiny("t5"), "--data", str(data), "-o",
        str(tmp_path / "out"), "--per-device-train-batch-size=8", *SMALL, "--max_seq_length", "6", "--cut-all",
        "--early_stopping_patience", "1", "--report-to", "none", "--lr", "1e-3",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["hflm", *words])
    capsys.readouterr()
    assert main(words) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if "is understood" in line] == [
        "--model-name-or-path is understood; hflm calls it --model.",
        "--per-device-train-batch-size is understood; hflm calls it --micro-batch-size.",
        "--max-seq-length is understood; hflm calls it --max-source-length.",
        "--early-stopping-patience is understood; hflm calls it --patience.",
    ]
    assert any("cut: 100.0%" in line for line in shown)
    assert f"data: {data}" in " ".join(" ".join(shown).split())


def test_a_folder_that_is_taken(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "rows.jsonl", moods())
    assert finetune(tmp_path / "out", "sentiment", tiny("bert"), data) == 0
    capsys.readouterr()
    assert finetune(tmp_path / "out", "sentiment", tiny("bert"), data) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert finetune(tmp_path / "out", "sentiment", tiny("bert"), data, "--overwrite") == 0
    capsys.readouterr()
    assert main(["finetune", "-o", str(tmp_path / "out"), "--resume", "--lr", "1"]) == 2
    assert "--learning-rate of" in capsys.readouterr().err
