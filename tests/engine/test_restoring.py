"""A run that goes on has every weight of its checkpoint, whatever its file calls them, and the rates of now."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from hflm.engine import checkpoints
from hflm.engine.optimizer import build_optimizer
from hflm.engine.restoring import rates_of_now, unlike
from hflm.errors import CheckpointError
from tests.tiny import moods, write

Tiny = Callable[[str], str]


def old_names(folder: Path) -> Path:
    """Give weights the names that BERT's first files have, which transformers still reads."""
    file = folder / "model.safetensors"
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weight
        for name, weight in load_file(file).items()
    }
    assert any(name.endswith("gamma") for name in weights)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


@pytest.mark.promise("R3")
def test_weights_that_were_loaded_by_other_names_go_on(
    run_finetune: Callable[..., Path], tiny: Tiny, tmp_path: Path
) -> None:
    """A run that was stopped and goes on comes to the weights of one that was not; the best are all brought back."""
    model = old_names(Path(shutil.copytree(tiny("bert"), tmp_path / "bert")))
    data = str(write(tmp_path / "rows.jsonl", moods()))
    settings: dict[str, Any] = {"model": str(model), "train_file": data, "validation_file": data, "learning_rate": 1e-2}
    whole = run_finetune("sentiment", **settings)
    names = set(load_file(whole / "checkpoints" / "checkpoint-4" / "model.safetensors"))
    assert any(name.endswith("LayerNorm.weight") for name in names), "names as they are in memory"
    part = Path(shutil.copytree(whole, tmp_path / "part"))
    shutil.rmtree(part / "checkpoints" / "checkpoint-8")
    shutil.rmtree(part / "model")
    (part / "metrics.json").unlink()
    run_finetune("sentiment", folder=part, resume=True, **settings)
    one, other = (load_file(run / "model" / "model.safetensors") for run in (whole, part))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    best = json.loads((whole / "metrics.json").read_text())["best_step"]
    kept = load_file(whole / "checkpoints" / f"checkpoint-{best}" / "model.safetensors")
    # The model folder has the names of the files that it was loaded from.
    new = {name.replace("gamma", "weight").replace("beta", "bias"): weight for name, weight in one.items()}
    assert set(new) == set(kept) and all(torch.equal(weight, new[name]) for name, weight in kept.items())


def broken_off(finished: Path, folder: Path) -> tuple[Path, Path]:
    """Copy a run that is done as one that is not; return it and its newest checkpoint."""
    run = Path(shutil.copytree(finished, folder))
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "model")
    return run, checkpoints.ordered(run / "checkpoints")[-1]


def describe_anew(checkpoint: Path) -> None:
    """Write the list of a checkpoint's files as they are now."""
    files = [path for path in checkpoint.iterdir() if path.name != checkpoints.MANIFEST]
    (checkpoint / checkpoints.MANIFEST).write_text(
        json.dumps({path.name: checkpoints.describe(path) for path in files})
    )


def test_a_checkpoint_of_another_model_is_refused(
    run_pretrain: Callable[..., Path], finished: Path, tmp_path: Path
) -> None:
    run, newest = broken_off(finished, tmp_path / "run")
    old_names(newest)
    describe_anew(newest)
    with pytest.raises(CheckpointError, match="weights are missing and .* have other names, as .*LayerNorm"):
        run_pretrain(run, resume=True)


def test_weights_that_are_one_are_written_once(tiny: Tiny, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny("gpt2"))
    model.save_pretrained(tmp_path)
    assert unlike(model, tmp_path) is None
    weights = load_file(tmp_path / "model.safetensors")
    gone = sorted(weights)[0]
    save_file({name: weight for name, weight in weights.items() if name != gone}, tmp_path / "model.safetensors")
    assert str(unlike(model, tmp_path)).endswith(f"as {gone}")


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_rates_that_were_changed_are_kept(name: str) -> None:
    """The rate and the decay of now, at the place of the schedule that was reached; all the same where none changed."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))

    def make(lr: float, decay: float) -> tuple[Any, Any]:
        optimizer = build_optimizer(copy.deepcopy(model), name=name, lr=lr, weight_decay=decay)
        return optimizer, LambdaLR(optimizer, lambda step: 1 / (step + 1))

    saved, schedule = make(0.4, 0.1)
    for _ in range(3):
        saved.step()
        schedule.step()
    states = copy.deepcopy((saved.state_dict(), schedule.state_dict()))
    for lr, decay in ((0.4, 0.1), (0.2, 0.0)):
        optimizer, again = make(lr, decay)
        wanted = [group["weight_decay"] for group in optimizer.param_groups]
        with rates_of_now(optimizer, again):
            optimizer.load_state_dict(copy.deepcopy(states[0]))
            again.load_state_dict(states[1])
        assert [group["lr"] for group in optimizer.param_groups] == [lr / 4] * len(optimizer.param_groups)
        parts = getattr(optimizer, "parts", (optimizer,))
        assert [group["weight_decay"] for part in parts for group in part.param_groups] == wanted
        optimizer.step()
        again.step()
        assert again.get_last_lr() == [lr * (1 / 5)] * len(optimizer.param_groups)


@pytest.mark.promise("R3")
def test_a_run_that_was_begun_in_fp16_goes_on_in_another_precision(
    run_pretrain: Callable[..., Path], finished: Path, tmp_path: Path
) -> None:
    """Its checkpoint has the state of a scaler, which other precisions do not have."""
    run, newest = broken_off(finished, tmp_path / "run")
    torch.save({"scale": 65536.0, "_growth_tracker": 0}, newest / "scaler.pt")
    describe_anew(newest)
    run_pretrain(run, resume=True)
    assert (run / "model" / "model.safetensors").exists()
