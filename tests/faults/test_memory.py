"""Memory that runs out: smaller micro-batches, the same global batch, said once, and the run goes on so."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.cli.app import main
from hflm.engine.checkpoints import ordered
from hflm.errors import Interrupted, UsageError
from hflm.families.family import Sums
from hflm.families.language_model import MaskedLM

Run = Callable[..., Path]


def room_for(monkeypatch: pytest.MonkeyPatch, rows: int, *, after: int = 0) -> list[int]:
    """Let memory run out in training with more than `rows` rows; return the sizes of the batches that went through."""
    real, sizes = MaskedLM.sums, list[int]()

    def sums(self: MaskedLM, model: Any, batch: Any) -> Sums:
        size = len(batch["input_ids"])
        if torch.is_grad_enabled():
            if size > rows and len(sizes) >= after:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")
            sizes.append(size)
        return real(self, model, batch)

    monkeypatch.setattr(MaskedLM, "sums", sums)
    return sizes


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.promise("R5")
@pytest.mark.parametrize(("rows", "after"), [(4, 0), (4, 3), (1, 2)])
def test_the_batch_is_split_and_stays_the_same(
    run_pretrain: Run, monkeypatch: pytest.MonkeyPatch, rows: int, after: int
) -> None:
    settings: dict[str, Any] = {"batch_size": 8, "max_steps": 6, "optimizer": "adamw"}
    whole = run_pretrain(**settings)
    sizes = room_for(monkeypatch, rows, after=after)
    run = run_pretrain(**settings)
    assert sizes == [8] * after + [rows] * ((6 - after) * 8 // rows)
    assert losses(run) == pytest.approx(losses(whole), rel=1e-5)
    one, two = (load_file(at / "model" / "model.safetensors") for at in (whole, run))
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4
    plan = json.loads((run / "plan.json").read_text())
    assert plan["micro_batch"] == rows and plan["settings"]["batch_size"] == 8


def test_it_is_said_once_and_goes_on_so(
    run_pretrain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hflm.engine.callbacks import Recorder

    real = Recorder.on_step_end

    def stop(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        real(self, args, state, control, **more)
        if state.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    sizes = room_for(monkeypatch, 2, after=2)
    folder = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Recorder, "on_step_end", stop)
        run_pretrain(folder, batch_size=8, max_steps=8, save_steps=8, eval_steps=8)
    assert [path.name for path in ordered(folder / "checkpoints")][-1] == "checkpoint-4"
    before = len(sizes)
    capsys.readouterr()
    assert main(["resume", str(folder)]) == 0
    assert set(sizes[before:]) == {2}, "what did not fit is not tried again"
    assert "out of memory" not in capsys.readouterr().out


def test_a_row_that_does_not_fit(run_pretrain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, 0)
    with pytest.raises(UsageError, match=r"Out of memory at step 1 with micro-batches of 1\. Take a smaller model"):
        run_pretrain(batch_size=8)
