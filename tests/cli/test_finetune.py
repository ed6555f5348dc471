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
from hflm.inference.trained import open_trained
from hflm.recipe_files import recipe_paths
from hflm.settings import read_yaml
from tests.tiny import asked, moods, pairs, write

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


@pytest.mark.parametrize(
    ("kind", "source", "name"),
    [
        ("t5", "document", "headlines"),
        ("t5", "document", "summarization"),
        ("gpt2", "document", "headlines"),
        ("gpt2", "text", "headlines"),
    ],
)
def test_a_recipe_of_ones_own_for_texts_is_scored_as_it_says(
    kind: str, source: str, name: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Afterwards too, when the recipe is gone or kept its name: by its metric, with its instruction and columns."""
    monkeypatch.chdir(tmp_path)
    recipe = Path(recipe_paths()["summarization"]).read_text(encoding="utf-8")
    Path("mine.py").write_text(recipe.replace('"summarization"', f'"{name}"', 1).replace('"rouge"', '"bleu"'))
    data = write(Path("rows.jsonl"), pairs(source=source))
    assert finetune(Path("out"), "./mine.py", tiny(kind), data, "--max-steps", "2", "--max-target-length", "8") == 0
    Path("mine.py").unlink()
    capsys.readouterr()
    assert main(["evaluate", "out", "--data", str(data), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metric"] == "bleu" and "chrf" in found["test"]["scores"]
    trained = open_trained("out", precision="fp32")
    assert trained.task.name == name and trained.task.family == "text_to_text"
    if kind == "gpt2":
        assert trained.family.instruction == "Summarize this text in one line."
    asked_for = write(Path("in.jsonl"), [{source: "one two three"}])
    assert main(["predict", "out", "--input-file", str(asked_for), "-o", "out.jsonl"]) == 0


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


@pytest.mark.long
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


@pytest.mark.long
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
