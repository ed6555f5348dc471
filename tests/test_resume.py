"""A run that was stopped and goes on is the run that was never stopped, bit by bit; damage is seen."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.cli.app import main
from hflm.engine.device import choose_device

Run = Callable[..., Path]
LAST = "checkpoint-12"
CASES: dict[str, dict[str, Any]] = {
    "bert, adamw": {"optimizer": "adamw"},
    "modernbert, muon": {"arch": "modernbert"},
    "dropout": {"dropout": 0.1},
    "accumulation": {"micro_batch_size": 2, "dropout": 0.1},
    "streaming": {"streaming": True, "eval_data": ["TEXT"]},
    "whole words, several epochs": {"objective": "wwm", "batch_size": 8, "max_documents": 8},
    "llama": {"arch": "llama", "objective": "clm", "dropout": 0.1},
    "bf16": {"precision": "bf16", "arch": "modernbert"},
    "workers": {"training_arguments": {"dataloader_num_workers": 1}, "dropout": 0.1},
}


def stopped_at(straight: Path, folder: Path, step: int) -> Path:
    """Copy a finished run as it was right after it saved at `step`."""
    shutil.copytree(straight, folder)
    for checkpoint in (folder / "checkpoints").iterdir():
        if int(checkpoint.name.split("-")[1]) > step:
            shutil.rmtree(checkpoint)
    shutil.rmtree(folder / "model")
    for name in ("metrics.json", "loss.png"):
        (folder / name).unlink()
    return folder


def assert_same(one: Any, two: Any) -> None:
    """Compare nested states exactly."""
    assert type(one) is type(two)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for name in one:
            assert_same(one[name], two[name])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two)
        for left, right in zip(one, two, strict=True):
            assert_same(left, right)
    else:
        assert one == two


def assert_same_run(one: Path, two: Path, last: str = LAST) -> None:
    for name in ("model/model.safetensors", f"checkpoints/{last}/model.safetensors"):
        assert_same(load_file(one / name), load_file(two / name))
    for name in ("optimizer.pt", "scheduler.pt"):
        assert_same(*(torch.load(run / "checkpoints" / last / name, weights_only=True) for run in (one, two)))


@pytest.mark.parametrize("case", CASES)
def test_resumed_is_the_straight_run(case: str, run_pretrain: Run, text_file: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 12, "save_steps": 3, "eval_steps": 6, "save_total_limit": 9, **CASES[case]}
    if "eval_data" in settings:
        settings["eval_data"] = [str(text_file)]
    straight = run_pretrain(**settings)
    # Right before an evaluation, and in the middle of what the loader fetches ahead.
    step = 9 if case in ("dropout", "streaming") else 3
    resumed = stopped_at(straight, tmp_path / "resumed", step)
    assert main(["pretrain", "-o", str(resumed), "--resume", "--json"]) == 0
    assert_same_run(straight, resumed)


def test_bf16_is_what_auto_takes_where_there_is_hardware_for_it() -> None:
    assert choose_device("bf16").precision == "bf16"
    assert choose_device("auto").precision in ("fp32", "bf16", "fp16")


@pytest.fixture(scope="module")
def straight(run_pretrain: Run) -> Path:
    """12 steps with a checkpoint each third."""
    return run_pretrain(max_steps=12, save_steps=3, eval_steps=6, save_total_limit=9)


@pytest.fixture
def stopped(straight: Path, tmp_path: Path) -> Path:
    """The same run, stopped after step 6: checkpoints 3 and 6."""
    return stopped_at(straight, tmp_path / "stopped", 6)


def resume(run: Path) -> int:
    return main(["pretrain", "-o", str(run), "--resume"])


MEMBERS = ["model.safetensors", "config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink], ids=["truncated", "flipped", "deleted"])
@pytest.mark.parametrize("member", [*MEMBERS, "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over(
    member: str, damage: Callable[[Path], None], stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from hflm.engine.checkpoints import newest_valid

    damage(stopped / "checkpoints" / "checkpoint-6" / member)
    assert newest_valid(stopped / "checkpoints").name == "checkpoint-3"
    assert "Passing over checkpoint-6" in caplog.text and member in caplog.text


def test_a_resume_falls_back_and_still_gives_the_same_run(straight: Path, stopped: Path) -> None:
    flip(stopped / "checkpoints" / "checkpoint-6" / "optimizer.pt")
    (stopped / "checkpoints" / ".staging").mkdir()
    (stopped / "checkpoints" / ".staging" / "half").write_bytes(b"\0")
    assert resume(stopped) == 0
    assert_same_run(straight, stopped)
    assert not (stopped / "checkpoints" / ".staging").exists()


@pytest.mark.parametrize("how", ["damaged", "none"])
def test_nothing_valid_to_go_on_from(how: str, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for checkpoint in (stopped / "checkpoints").iterdir():
        if how == "none":
            shutil.rmtree(checkpoint)
        else:
            flip(checkpoint / "model.safetensors")
    capsys.readouterr()
    assert resume(stopped) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: No valid checkpoint") and "--overwrite" in line
    assert ("model.safetensors is damaged" if how == "damaged" else "none was saved") in line


def test_changed_data_is_refused(run_pretrain: Run, text_file: Path, tmp_path: Path, capsys: Any) -> None:
    text = Path(shutil.copy(text_file, tmp_path / "text.txt"))
    run = stopped_at(run_pretrain(data=[str(text)], max_steps=4), tmp_path / "stopped", 4)
    with text.open("a") as stream:
        stream.write("\n\nOne more paragraph, which was not there before.\n")
    capsys.readouterr()
    assert resume(run) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "has changed" in line and "start a new run" in line


def test_a_finished_run_that_is_resumed_stays_as_it_is(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = Path(shutil.copytree(straight, tmp_path / "again"))
    before = {path: path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert resume(again) == 0
    assert "nothing is left to train" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in again.rglob("*") if path.is_file()}


def test_a_run_that_was_stopped_after_its_last_step_is_finished(straight: Path, tmp_path: Path) -> None:
    last = stopped_at(straight, tmp_path / "last", 12)
    assert resume(last) == 0
    assert_same_run(straight, last)
    assert json.loads((last / "metrics.json").read_text(), parse_constant=pytest.fail)["tokens_per_second"] == 0


def test_the_log_goes_on(straight: Path, stopped: Path) -> None:
    from hflm.plots import read_log

    assert resume(stopped) == 0
    one, two = (read_log(run / "log.jsonl") for run in (straight, stopped))
    assert [(line["step"], line.get("loss")) for line in one] == [(line["step"], line.get("loss")) for line in two]
