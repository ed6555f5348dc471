"""The loss does not depend on how a batch is split, runs repeat bit by bit, and bad numbers stop a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.errors import NumericsError
from hflm.families.family import Sums
from hflm.families.language_model import MaskedLM

Run = Callable[..., Path]
OBJECTIVES = {"llama": "clm", "gpt2": "clm"}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def distance(one: Path, two: Path) -> float:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def check_splits(run_pretrain: Run, arch: str, *, limit: float, **settings: Any) -> None:
    """Compare micro-batch x accumulation of 8x1, 2x4 and 1x8 (R5 in the design)."""
    common = {"arch": arch, "objective": OBJECTIVES.get(arch, "mlm"), "batch_size": 8, "max_steps": 6, **settings}
    whole, *split = [
        run_pretrain(micro_batch_size=size, save_steps=100, eval_steps=100, **common) for size in (8, 2, 1)
    ]
    for other in split:
        assert losses(other)[0] == pytest.approx(losses(whole)[0], rel=1e-6)
        assert distance(whole, other) < limit


@pytest.mark.promise("R5")
@pytest.mark.parametrize("arch", ["bert", "roberta", "modernbert", "llama", "gpt2"])
def test_the_split_of_a_batch_does_not_matter(run_pretrain: Run, arch: str) -> None:
    check_splits(run_pretrain, arch, limit=1e-5, optimizer="adamw", learning_rate=1e-4)


@pytest.mark.promise("R5")
@pytest.mark.parametrize("arch", ["bert", "roberta", "modernbert", "llama"])
def test_the_split_of_a_batch_does_not_matter_to_muon(run_pretrain: Run, arch: str) -> None:
    """At the default learning rate."""
    check_splits(run_pretrain, arch, limit=1e-5)


@pytest.mark.parametrize("arch", ["bert", "modernbert"])
def test_the_same_seed_gives_the_same_run(run_pretrain: Run, arch: str) -> None:
    one, two = run_pretrain(arch=arch, dropout=0.1), run_pretrain(arch=arch, dropout=0.1)
    assert losses(one) == losses(two)
    assert distance(one, two) == 0
    other = run_pretrain(arch=arch, dropout=0.1, seed=2)
    assert losses(other)[0] != losses(one)[0]


def test_a_run_of_other_length_sees_the_same_batches(run_pretrain: Run) -> None:
    # Without a schedule that knows the length, the shorter run is the start of the longer one.
    common: dict[str, Any] = {"warmup": 1, "decay": 0.0, "eval_steps": 100, "save_steps": 100}
    short, long = (run_pretrain(max_steps=steps, **common) for steps in (6, 12))
    assert losses(long)[:6] == losses(short)


def test_the_loss_falls(run_pretrain: Run) -> None:
    found = losses(
        run_pretrain(arch="llama", objective="clm", max_steps=40, eval_steps=40, save_steps=40, batch_size=16)
    )
    assert found[-1] < found[0] - 0.5


@pytest.mark.promise("R7")
@pytest.mark.parametrize("when", [1, 3, 6])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(
    run_pretrain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int, value: float
) -> None:
    real, calls = MaskedLM.sums, iter(range(1, 10_000))

    def broken(self: MaskedLM, model: Any, batch: Any) -> Sums:
        sums = real(self, model, batch)
        bad = torch.is_grad_enabled() and next(calls) == when
        return Sums(sums.loss * value, sums.correct, sums.count) if bad else sums

    monkeypatch.setattr(MaskedLM, "sums", broken)
    with pytest.raises(NumericsError, match=rf"at step {when}, learning rate .*checkpoint is kept") as caught:
        run_pretrain(tmp_path / "run", save_steps=2)
    assert caught.value.exit_code == 4
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("*"))
    assert kept == {1: [], 3: ["checkpoint-2"], 6: ["checkpoint-2", "checkpoint-4"]}[when]
    assert not (tmp_path / "run" / "model").exists() and not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.promise("R7")
def test_gradients_that_are_no_numbers_stop_the_run_before_a_step(
    run_pretrain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = MaskedLM.sums, iter(range(1, 10_000))

    def broken(self: MaskedLM, model: Any, batch: Any) -> Sums:
        sums = real(self, model, batch)
        if torch.is_grad_enabled() and next(calls) == 4:
            # A finite loss whose gradient is not: the root of nothing.
            weight = next(model.parameters())
            sums = Sums(sums.loss + (weight * 0).sum().abs().sqrt(), sums.correct, sums.count)
        return sums

    monkeypatch.setattr(MaskedLM, "sums", broken)
    with pytest.raises(NumericsError, match="gradient.*step 4"):
        run_pretrain(tmp_path / "run", save_steps=2)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("*")] == ["checkpoint-2"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_absurd_learning_rate_never_ends_well(run_pretrain: Run, tmp_path: Path, optimizer: str) -> None:
    with pytest.raises(NumericsError):
        run_pretrain(tmp_path / "run", optimizer=optimizer, learning_rate=1e30, warmup=0, max_steps=20)


def test_the_global_random_state_is_not_moved_by_data(run_pretrain: Run) -> None:
    """Two runs that differ only in what is drawn in between are the same run."""
    one = run_pretrain()
    torch.manual_seed(99)
    torch.rand(10)
    assert distance(one, run_pretrain()) == 0


def test_evaluation_scores_every_row_once(run_pretrain: Run, finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert metrics["eval_loss"] == [line["eval_loss"] for line in lines if "eval_loss" in line][-1]
    # The batch of the evaluation does not matter.
    other = run_pretrain(training_arguments={"per_device_eval_batch_size": 3})
    found = json.loads((other / "metrics.json").read_text())
    assert found["eval_loss"] == pytest.approx(metrics["eval_loss"], rel=1e-6)
