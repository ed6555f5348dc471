"""`hflm pretrain` as a user sees it: output, settings from a file and from flags, signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from hflm.cli.app import main
from hflm.settings import read_yaml

ROOT = Path(__file__).parents[2]
TINY = [
    "--arch", "bert", "--layers", "2", "--width", "64", "--heads", "2", "--vocab-size", "500", "--max-length", "32",
    "--batch-size", "8", "--precision", "fp32", "--logging-steps", "1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not measure the speed of the machine."""
    monkeypatch.setattr("hflm.pretraining.measure.matmul_ceiling", lambda device: 1e11)


def test_the_report(text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "out"
    assert main(["pretrain", str(text_file), "-o", str(run), "--max-steps", "4", *TINY]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for text in (
        "settings: ", "documents: line", "cleaning: kept 135", "tokenizer: vocabulary 500", "rows: ", "model: bert",
        "batch: 8 = 8 (micro-batch) x 1 (accumulation) x 1 (processes)", "step 4 of 4", "step 4: eval loss",
        "unigram baseline", "tokens/s", "matmul ceiling", "of the masked tokens", f"run            {run}",
        "the author wrote", f'hflm fill-mask {run} "She was very [MASK] ."', f"hflm runs show {run}",
    ):  # fmt: skip
        assert text in shown.out
    assert main(["runs", str(tmp_path)]) == 0 and "done" in capsys.readouterr().out


def test_json_and_nothing_else(text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", str(text_file), "-o", str(tmp_path / "out"), "--max-steps", "2", "--json", *TINY]) == 0
    shown = capsys.readouterr()
    metrics = json.loads(shown.out)
    assert metrics["run"] == str(tmp_path / "out") and metrics["steps"] == 2
    assert "error:" not in shown.err and "rows: " in shown.err


def test_flags_win_over_the_file_and_the_file_over_the_recipe(text_file: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(
        f"data: [{text_file}]\nrecipe: classic\nmax-steps: 3\nlearning_rate: 1e-4\nseed: 7\n"
    )
    words = ["pretrain", "--config", str(tmp_path / "settings.yaml"), "-o", str(tmp_path / "out"), "--seed", "9", *TINY]
    assert main(words) == 0
    saved = read_yaml(tmp_path / "out" / "config.yaml")
    assert (saved["seed"], saved["learning_rate"], saved["max_steps"]) == (9, 1e-4, 3)
    # From the recipe: BERT as its authors made it.
    assert (saved["dropout"], saved["optimizer"], saved["mlm_probability"]) == (0.1, "adamw", 0.15)
    # The settings of a run make the run again.
    again = ["pretrain", "--config", str(tmp_path / "out" / "config.yaml"), "-o", str(tmp_path / "again")]
    assert main(again) == 0
    one, two = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("out", "again"))
    assert one == two


def test_a_length_on_the_command_line_puts_out_that_of_the_file(text_file: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(f"data: [{text_file}]\nbudget: 3m\n")
    words = ["pretrain", "--config", str(tmp_path / "settings.yaml"), "-o", str(tmp_path / "out"), *TINY]
    assert main([*words, "--max-steps", "2"]) == 0
    saved = read_yaml(tmp_path / "out" / "config.yaml")
    assert (saved["budget"], saved["max_steps"]) == (None, 2)


def test_a_text_whose_name_is_no_utf8(text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "na\udcffme.txt"
    try:
        text.write_bytes(text_file.read_bytes())
    except OSError:
        pytest.skip("this disk has no such names")
    run = tmp_path / "out"
    assert main(["pretrain", str(text), "-o", str(run), "--max-steps", "2", *TINY]) == 0
    assert read_yaml(run / "config.yaml")["data"] == [str(text)]
    assert "na\ufffdme.txt" in json.loads((run / "metrics.json").read_text())["data"]
    assert main(["pretrain", str(text), "-o", str(tmp_path / "out\udcff")]) == 2
    assert "out\\udcff is no UTF-8" in capsys.readouterr().err and not (tmp_path / "out\udcff").exists()


def test_worse_than_the_baseline_is_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    from hflm.cli.pretrain import report

    numbers = dict.fromkeys(
        ("eval_accuracy", "tokens_per_second", "flops_per_second", "model_flops_utilisation", "steps", "tokens_seen",
         "seconds", "peak_memory_bytes"), 0,
    )  # fmt: skip
    for loss, said in ((6.4, "0.400 above the unigram baseline"), (5.5, "0.500 below the unigram baseline")):
        report(Path("out"), {**numbers, "eval_loss": loss, "unigram_loss": 6.0, "objective": "mlm", "samples": []})
        assert said in capsys.readouterr().out


def test_names_of_other_tools_are_understood(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", str(text_file), "-o", str(tmp_path / "out"), *TINY, "--num_train_epochs", "0.05"]
    words += ["--per_device_train_batch_size", "4"]
    monkeypatch.setattr(sys, "argv", ["hflm", *words])
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "--num-train-epochs is understood; hflm calls it --epochs." in shown
    assert "8 = 4 (micro-batch) x 2 (accumulation)" in shown


def test_overwrite_replaces_an_earlier_run(text_file: Path, tmp_path: Path) -> None:
    words = ["pretrain", str(text_file), "-o", str(tmp_path / "out"), *TINY, "--overwrite", "--max-steps"]
    assert main([*words, "3"]) == 0
    assert main([*words, "2"]) == 0
    names = [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()]
    assert "checkpoint-3" not in names and "checkpoint-2" in names


@pytest.fixture
def start(text_file: Path, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start `hflm pretrain` in a process of its own."""
    started = []

    def start(*words: str) -> "subprocess.Popen[str]":
        line = [sys.executable, "-m", "hflm", "pretrain", str(text_file), "-o", str(tmp_path / "out"), *TINY, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(log: Path, step: int, process: Any) -> None:
    """Wait until a run has logged this step."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if log.exists() and f'"step": {step},' in log.read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"the run never came to step {step}: {process.communicate()[1]}")


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_the_run_goes_on(
    number: signal.Signals, start: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, length = tmp_path / "out", ["--max-steps", "200", "--eval-steps", "200", "--save-steps", "200"]
    process = start(*length)
    wait_for(run / "log.jsonl", 5, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 75
    (line,) = err.splitlines()
    assert line.startswith("error: Stopped by a signal after step ") and "of 200" in line
    assert f"hflm resume {run}" in line
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert line.split("after step ")[1].split()[0] == checkpoint.name.split("-")[1]
    assert not (run / "metrics.json").exists() and not (run / "model").exists()
    # The rest in this process, and the run that was never stopped: the same model.
    assert main(["pretrain", "-o", str(run), "--resume"]) == 0
    straight = ["pretrain", "--config", str(run / "config.yaml"), "-o", str(tmp_path / "straight")]
    assert main(straight) == 0
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (run, tmp_path / "straight"))
    assert all((one[name] == two[name]).all() for name in one)


@pytest.mark.long
def test_a_second_signal_ends_at_once(start: Callable[..., Any], tmp_path: Path) -> None:
    process = start("--max-steps", "100000", "--width", "512", "--heads", "8", "--batch-size", "512",
                    "--micro-batch-size", "64")  # fmt: skip
    wait_for(tmp_path / "out" / "log.jsonl", 1, process)
    process.send_signal(signal.SIGTERM)
    # The step it is in takes seconds.
    assert any(line.startswith("stopping:") for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.long
def test_killed_hard_it_goes_on_from_the_newest_checkpoint(start: Callable[..., Any], tmp_path: Path) -> None:
    run = tmp_path / "out"
    process = start("--max-steps", "60", "--eval-steps", "60", "--save-steps", "2")
    wait_for(run / "log.jsonl", 11, process)
    process.kill()
    process.communicate()
    assert main(["pretrain", "-o", str(run), "--resume"]) == 0
    assert json.loads((run / "metrics.json").read_text())["steps"] == 60


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--fp16", "Pass --precision fp16."),
        ("--load_best_model_at_end", "Pass --patience N; without it the last weights are kept."),
        ("--use-peft", "Pretraining trains all weights"),
        ("--label-column-name", "pretraining reads text alone"),
    ],
)
def test_options_of_other_tools_are_answered_for_pretraining(
    option: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", "book.txt", option]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
