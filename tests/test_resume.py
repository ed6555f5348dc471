"""A run that was stopped and goes on is the run that was never stopped, bit by bit; damage is seen."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hflm.cli.app import main

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


@pytest.mark.promise("R3")
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


@pytest.fixture(scope="module")
def straight(run_pretrain: Run) -> Path:
    """12 steps with a checkpoint each third."""
    return run_pretrain(max_steps=12, save_steps=3, eval_steps=6, save_total_limit=9)


@pytest.fixture
def stopped(straight: Path, tmp_path: Path) -> Path:
    """The same run, stopped after step 6: checkpoints 3 and 6."""
    return stopped_at(straight, tmp_path / "stopped", 6)


def resume(run: Path, *words: str) -> int:
    return main(["pretrain", "-o", str(run), "--resume", *words])


MEMBERS = ["model.safetensors", "config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.promise("R2")
@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink], ids=["truncated", "flipped", "deleted"])
@pytest.mark.parametrize("member", [*MEMBERS, "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over(
    member: str, damage: Callable[[Path], None], stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from hflm.engine.checkpoints import newest_valid

    damage(stopped / "checkpoints" / "checkpoint-6" / member)
    assert newest_valid(stopped / "checkpoints").name == "checkpoint-3"
    assert "Passing over checkpoint-6" in caplog.text and member in caplog.text


@pytest.mark.promise("R3")
def test_a_resume_falls_back_and_still_gives_the_same_run(straight: Path, stopped: Path) -> None:
    flip(stopped / "checkpoints" / "checkpoint-6" / "optimizer.pt")
    (stopped / "checkpoints" / ".staging").mkdir()
    (stopped / "checkpoints" / ".staging" / "half").write_bytes(b"\0")
    assert resume(stopped) == 0
    assert_same_run(straight, stopped)
    assert not (stopped / "checkpoints" / ".staging").exists()


@pytest.mark.promise("R2")
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


@pytest.mark.promise("R4")
def test_changed_data_is_refused(run_pretrain: Run, text_file: Path, tmp_path: Path, capsys: Any) -> None:
    text = Path(shutil.copy(text_file, tmp_path / "text.txt"))
    run = stopped_at(run_pretrain(data=[str(text)], max_steps=4), tmp_path / "stopped", 4)
    with text.open("a") as stream:
        stream.write("\n\nOne more paragraph, which was not there before.\n")
    capsys.readouterr()
    assert resume(run) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "has changed" in line and "start a new run" in line


@pytest.mark.parametrize("tokenizer", ["bpe", "unigram"])
def test_the_cache_may_be_emptied(
    tokenizer: str, run_pretrain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run_pretrain(tokenizer=tokenizer, max_steps=6, save_steps=2, save_total_limit=9)
    resumed = stopped_at(straight, tmp_path / "resumed", 4)
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "empty"))

    def train(*words: Any, **more: Any) -> None:
        pytest.fail("the tokenizer was trained again")

    monkeypatch.setattr("hflm.pretraining.vocabulary.train_tokenizer", train)
    assert resume(resumed) == 0
    assert_same_run(straight, resumed, "checkpoint-6")


def test_an_overwritten_run_leaves_no_tokenizer(run_pretrain: Run, text_file: Path, tmp_path: Path) -> None:
    from hflm.config import PretrainConfig
    from hflm.models.tokenizer import load_tokenizer
    from hflm.pretrain import pretrain
    from hflm.settings import build, read_yaml

    run = run_pretrain(tmp_path / "run", max_steps=1)
    config = build(PretrainConfig, {**read_yaml(run / "config.yaml"), "vocab_size": 400}, where="a test")
    pretrain(config, run, overwrite=True, resume=False, watch=lambda kind, content: None)
    assert len(load_tokenizer(str(run / "tokenizer"))) == 400


def refused(capsys: pytest.CaptureFixture[str], run: Path, *words: str) -> str:
    capsys.readouterr()
    assert main(["pretrain", "-o", str(run), "--resume", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.promise("R4")
def test_a_changed_tokenizer_is_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stopped / "tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["e"], vocabulary["a"] = vocabulary["a"], vocabulary["e"]
    path.write_text(json.dumps(content))
    assert "The tokenizer/tokenizer.json of" in refused(capsys, stopped)


@pytest.mark.promise("R4")
def test_a_changed_start_is_refused(
    finished: Path, run_pretrain: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished / "model", tmp_path / "start")
    settings = {"arch": None, "layers": None, "heads": None, "width": None, "vocab_size": None}
    run = run_pretrain(model=str(tmp_path / "start"), max_steps=4, save_steps=2, **settings)
    same, other = (stopped_at(run, tmp_path / name, 2) for name in ("same", "other"))
    assert resume(same) == 0
    weights = load_file(tmp_path / "start" / "model.safetensors")
    next(iter(weights.values())).add_(1)
    save_file(weights, tmp_path / "start" / "model.safetensors", metadata={"format": "pt"})
    assert re.search(
        "The model of .* has changed since the run began .was [0-9a-f]{8}, is [0-9a-f]{8}", refused(capsys, other)
    )


@pytest.mark.promise("R4")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--learning-rate", "0.5"], "--learning-rate of .* was 0.004, and is 0.5 now"),
        (["--budget", "3m"], "--budget of .* was not set, and is 3m now"),
        (["--max-steps", "13"], "--max-steps of .* was 12, and is 13 now"),
        (["--seed", "1", "--clean", "none"], "--clean of .* was default, and is none now"),
        (["other.txt"], "--data of .* was .*emma.txt, and is other.txt now"),
    ],
)
def test_other_settings_are_refused(
    words: list[str], found: str, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, stopped, *words)
    assert re.search(found, line) and "new run" in line


def test_the_same_settings_may_be_given_again(stopped: Path, text_file: Path) -> None:
    words = ["pretrain", str(text_file), "-o", str(stopped), "--resume", "--config", str(stopped / "config.yaml")]
    assert main([*words, "--max-steps", "12", "--optimizer", "auto"]) == 0
    assert (stopped / "metrics.json").exists()


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


@pytest.mark.parametrize("words", [[], ["--save-steps", "2", "--eval-steps", "2", "--allow-change"]])
def test_a_run_that_was_ended_at_its_first_saving_begins_again(
    words: list[str], run_pretrain: Run, tmp_path: Path
) -> None:
    """The evaluation before the saving is logged already, with the step of the saving, which may be changed."""
    run = run_pretrain(max_steps=8, save_steps=4, eval_steps=4, logging_steps=4)
    ended = stopped_at(run, tmp_path / "ended", 0)
    log = ended / "log.jsonl"
    lines = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= 4]
    log.write_text("\n".join([*lines, '{"step": 3, "loss": 9.5}', ""]))
    assert resume(ended, *words) == 0
    assert_same_run(run, ended, "checkpoint-8")
    assert '"loss": 9.5}' not in log.read_text(), "steps that are taken again are logged again"


def test_another_interval_is_kept_after_a_resume(stopped: Path) -> None:
    words = ["--save-steps", "2", "--eval-steps", "2", "--allow-change", "--json"]
    assert main(["pretrain", "-o", str(stopped), "--resume", *words]) == 0
    found = [json.loads(line) for line in (stopped / "log.jsonl").read_text().splitlines()]
    assert {line["step"] for line in found if "eval_loss" in line} == {6, 8, 10, 12}
    assert (stopped / "checkpoints" / "checkpoint-8").exists()


def test_a_budget_is_no_new_number_of_steps(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Pass --max-steps with another one; it has 12." in refused(
        capsys, stopped, "--budget", "3m", "--allow-change"
    )
