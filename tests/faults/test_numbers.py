"""Numbers that are none: the run ends before the step that they would spoil, and says which rows they came from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.engine import trainer as engine
from hflm.engine.checkpoints import ordered, problem
from hflm.engine.numbers import MOST_SKIPPED, Spikes
from hflm.errors import NumericsError
from hflm.families.classification import Classification
from hflm.families.family import Sums
from tests.tiny import moods, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]
STEPS, BATCH = 10, 4


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(write(tmp_path / "rows.jsonl", moods(60)))


def poison(monkeypatch: pytest.MonkeyPatch, ids: set[tuple[int, ...]], value: float) -> None:
    """Let rows with these token ids have a loss of `value`, alone or among others."""
    real = Classification.sums

    def sums(self: Classification, model: Any, batch: Any) -> Sums:
        found = real(self, model, batch)
        rows = [tuple(i for i in row.tolist() if i) for row in batch["input_ids"]]
        return Sums(found.loss * value, found.correct, found.count) if ids & set(rows) and model.training else found

    monkeypatch.setattr(Classification, "sums", sums)


def trained_rows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Keep the ids of every row that is trained on, in order."""
    seen: list[tuple[int, ...]] = []
    real = Classification.sums

    def sums(self: Classification, model: Any, batch: Any) -> Sums:
        if torch.is_grad_enabled():
            seen.extend(tuple(i for i in row.tolist() if i) for row in batch["input_ids"])
        return real(self, model, batch)

    monkeypatch.setattr(Classification, "sums", sums)
    return seen


SETTINGS: dict[str, Any] = {
    "max_steps": STEPS, "batch_size": BATCH, "save_steps": 2, "eval_steps": STEPS, "logging_steps": 1,
    "save_total_limit": 99, "precision": "fp32",
}  # fmt: skip


@pytest.mark.promise("R7")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("step", [1, 2, 5, 10])
def test_the_row_is_named_before_the_step(
    run_finetune: Run, tiny: Tiny, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, value: float
) -> None:
    with monkeypatch.context() as patch:
        seen = trained_rows(patch)
        run_finetune("sentiment", model=tiny("distilbert"), data=[data], **SETTINGS)
    # A row that is read in no step before.
    fresh = [ids for ids in seen[(step - 1) * BATCH : step * BATCH] if ids not in seen[: (step - 1) * BATCH]]
    poison(monkeypatch, {fresh[0]}, value)
    with pytest.raises(NumericsError) as caught:
        run_finetune("sentiment", folder=tmp_path / "run", model=tiny("distilbert"), data=[data], **SETTINGS)
    said = str(caught.value)
    assert f"at step {step}, learning rate " in said and "rows.jsonl, line " in said and "in one of" not in said
    assert caught.value.exit_code == 4 and "--on-nan skip" in (caught.value.fix or "")
    kept = ordered(tmp_path / "run" / "checkpoints")
    assert [path.name for path in kept] == [f"checkpoint-{n}" for n in range(2, step, 2)]
    assert all(problem(path) is None for path in kept)
    log = (tmp_path / "run" / "log.jsonl").read_text() if (tmp_path / "run" / "log.jsonl").exists() else ""
    logged = [json.loads(line) for line in log.splitlines()]
    assert all(line.get("loss", 1) > 0 for line in logged), "a loss of 0.0 that was none"
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.promise("R7")
def test_a_step_may_be_left_out(
    run_finetune: Run, tiny: Tiny, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        seen = trained_rows(patch)
        run_finetune("sentiment", model=tiny("distilbert"), data=[data], **SETTINGS)
    poison(monkeypatch, {seen[4 * BATCH]}, float("nan"))
    run = run_finetune("sentiment", model=tiny("distilbert"), data=[data], on_nan="skip", **SETTINGS)
    assert all(torch.isfinite(weight).all() for weight in load_file(run / "model" / "model.safetensors").values())
    states = [run / "checkpoints" / f"checkpoint-{n}" / "model.safetensors" for n in (4, 6)]
    four, six = (load_file(path) for path in states)
    assert any(not torch.equal(four[name], six[name]) for name in four)


@pytest.mark.promise("R7")
def test_many_steps_may_not(run_finetune: Run, tiny: Tiny, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        seen = trained_rows(patch)
        run_finetune("sentiment", model=tiny("distilbert"), data=[data], **SETTINGS)
    poison(monkeypatch, set(seen), float("nan"))
    monkeypatch.setattr(engine, "MOST_SKIPPED", 3)
    assert MOST_SKIPPED == 10
    with pytest.raises(NumericsError, match="at step 4, .*It would be the 4th step left out"):
        run_finetune("sentiment", model=tiny("distilbert"), data=[data], on_nan="skip", **SETTINGS)


@pytest.mark.promise("R7")
def test_a_jump_of_the_loss_is_said_once() -> None:
    said: list[str] = []
    spikes, state = Spikes(said.append), type("State", (), {"global_step": 0, "log_history": []})()
    losses = [3.0 - 0.01 * n for n in range(20)] + [9.0, 9.5, 2.8, 2.8, 8.0]
    for step, loss in enumerate(losses, start=1):
        state.global_step = step
        spikes.on_log(None, state, None, logs={"loss": loss, "learning_rate": 1e-3})  # type: ignore[arg-type]
    assert [line.partition(":")[0] for line in said] == ["loss spike at step 21", "loss spike at step 25"]
    assert "9.000 after 2.9" in said[0]
