"""Memory that runs out in the middle of an update: weights that were half moved are not gone on with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.engine.optimizer import Muon
from hflm.errors import UsageError

Run = Callable[..., Path]


def short_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """Let memory run out in one update, after the first group of matrices was moved."""
    real, calls = Muon.step, [0]

    def act(self: Any, *words: Any) -> Any:
        calls[0] += 1
        if calls[0] == step:
            with torch.no_grad():
                self.param_groups[0]["params"][0].add_(1.0)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *words)

    patch.setattr(Muon, "step", act)


def test_it_goes_on_from_what_was_saved(run_pretrain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {
        "optimizer": "muon", "max_steps": 6, "eval_steps": 2, "save_steps": 2, "batch_size": 4, "micro_batch_size": 4,
    }  # fmt: skip
    straight = run_pretrain(**settings)
    short_at(5, monkeypatch)
    found = run_pretrain(**settings)
    assert json.loads((found / "plan.json").read_text())["micro_batch"] == 2
    one, other = (load_file(run / "model" / "model.safetensors") for run in (straight, found))
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_without_anything_saved_it_ends(run_pretrain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    short_at(3, monkeypatch)
    with pytest.raises(UsageError, match=r"while weights were moved.*--overwrite --micro-batch-size 2"):
        run_pretrain(optimizer="muon", max_steps=6, eval_steps=6, save_steps=6, batch_size=4, micro_batch_size=4)


def test_with_smaller_micro_batches_the_model_is_prepared_anew(
    run_pretrain: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Accelerate takes for prepared, it neither compiles nor computes in fp16."""
    from accelerate import Accelerator

    real, prepared = Accelerator.prepare_model, []

    def prepare_model(self: Any, model: Any, *words: Any, **named: Any) -> Any:
        prepared.append(getattr(model, "_is_accelerate_prepared", False))
        return real(self, model, *words, **named)

    monkeypatch.setattr(Accelerator, "prepare_model", prepare_model)
    short_at(3, monkeypatch)
    run_pretrain(optimizer="muon", max_steps=4, eval_steps=2, save_steps=2, batch_size=4, micro_batch_size=4)
    assert prepared == [False, False]
