"""FSDP2: two ranks that keep a share of the weights each come to what two with the whole model come to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.faults.harness import Zygote, same_run, stopped_after
from tests.faults.test_ranks_agree import agree, logged
from tests.tiny import asked, moods, pairs, tagged, write

Tiny = Callable[[str], str]
PRETRAINING: dict[str, tuple[object, ...]] = {
    # A norm that every gradient is above: where clipping went wrong, the weights would.
    "llama, clipped": ("--arch", "llama", "--objective", "clm", "--max-grad-norm", 0.05),
    "not clipped": ("--arch", "llama", "--objective", "clm", "--max-grad-norm", 0),
    "gpt2, accumulation": ("--arch", "gpt2", "--objective", "clm", "--micro-batch-size", 1),
    "bert": ("--arch", "bert"),
    "modernbert": ("--arch", "modernbert"),
    "deberta": ("--arch", "deberta-v2"),
    "a stream": ("--arch", "bert", "--streaming", "--eval-data", "TEXT"),
    "patience": ("--arch", "bert", "--patience", 1, "--eval-steps", 1, "--lr", 0.0),
}
FINETUNING: dict[str, tuple[str, str, Callable[[int], list[dict[str, Any]]], tuple[object, ...]]] = {
    "classes": ("sentiment", "bert", moods, ("--label-smoothing", 0.1)),
    "classes of a decoder by LoRA": ("sentiment", "llama", moods, ("--lora-rank", 2)),
    "tags": ("tagging", "distilbert", tagged, ()),
    "summaries by T5": ("summarization", "t5", pairs, ()),
    "summaries by BART, recomputed": ("summarization", "bart", pairs, ("--gradient-checkpointing",)),
    "answers, the best comes back": ("generation", "llama", asked, ("--patience", 2, "--eval-steps", 1)),
}
SOON = ("llama, clipped",)


def pretraining(text: Path, run: Path, *more: object, steps: int = 4) -> list[object]:
    """Return the words of a tiny `hflm pretrain` with two ranks."""
    words = [text if word == "TEXT" else word for word in more]
    return [
        "pretrain", text, "--layers", 2, "--width", 64, "--heads", 2, "--vocab-size", 500, "--max-length", 32,
        "--batch-size", 8, "--max-steps", steps, "--logging-steps", 1, "--eval-steps", 2, "--precision", "fp32",
        "--max-documents", 60, "--lr", 1e-4, "--optimizer", "adamw", "--processes", 2, *words, "-o", run,
    ]  # fmt: skip


def ran(zygote: Zygote, *words: object) -> str:
    victim = zygote.run(*words)
    assert victim.code == 0, victim.said()
    return victim.said()


@pytest.mark.promise("R5")
@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=() if name in SOON else pytest.mark.slow) for name in PRETRAINING]
)
def test_pretraining(zygote: Zygote, text_file: Path, tmp_path: Path, case: str) -> None:
    for strategy in ("ddp", "fsdp2"):
        words = pretraining(text_file, tmp_path / strategy, *PRETRAINING[case])
        ran(zygote, *words, "--strategy", strategy)
    agree(tmp_path / "ddp", tmp_path / "fsdp2")
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("ddp", "fsdp2"))
    assert two["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-5)


@pytest.mark.promise("R5")
@pytest.mark.slow
@pytest.mark.parametrize("case", FINETUNING)
def test_finetuning(zygote: Zygote, tiny: Tiny, tmp_path: Path, case: str) -> None:
    task, kind, rows, more = FINETUNING[case]
    data = write(tmp_path / "rows.jsonl", rows(61))
    for strategy in ("ddp", "fsdp2"):
        ran(
            zygote, "finetune", "--task", task, "--model", tiny(kind), "--data", data, "--max-steps", 4,
            "--batch-size", 8, "--logging-steps", 1, "--eval-steps", 2, "--precision", "fp32",
            "--max-source-length", 32, "--max-target-length", 16, "--lr", 1e-4, "--processes", 2, *more,
            "--strategy", strategy, "-o", tmp_path / strategy,
        )  # fmt: skip
    agree(tmp_path / "ddp", tmp_path / "fsdp2")
    one, two = ((tmp_path / name / "predictions.jsonl").read_text().splitlines() for name in ("ddp", "fsdp2"))
    assert [json.loads(line)["prediction"] for line in one] == [json.loads(line)["prediction"] for line in two]


@pytest.mark.promise("R3")
@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--precision", "bf16"), ("--dropout", 0.1)], ids=["fp32", "bf16", "dropout"])
def test_stopped_and_resumed(zygote: Zygote, text_file: Path, tmp_path: Path, more: tuple[object, ...]) -> None:
    straight = tmp_path / "straight"
    kept = ("--arch", "bert", "--strategy", "fsdp2", "--save-steps", 2, "--save-total-limit", 99, *more)
    ran(zygote, *pretraining(text_file, straight, *kept, steps=8))
    run = stopped_after(straight, tmp_path / "run", 4)
    ran(zygote, "resume", run)
    assert same_run(run, straight)


@pytest.mark.promise("R3")
@pytest.mark.slow
def test_adapters_stopped_and_resumed(zygote: Zygote, tiny: Tiny, tmp_path: Path) -> None:
    data, straight, run = write(tmp_path / "rows.jsonl", pairs(60)), tmp_path / "straight", tmp_path / "run"
    ran(
        zygote, "finetune", "--task", "summarization", "--model", tiny("llama"), "--lora-rank", 2, "--data", data,
        "--max-steps", 6, "--batch-size", 4, "--save-steps", 2, "--eval-steps", 3, "--save-total-limit", 99,
        "--max-source-length", 32, "--max-target-length", 8, "--processes", 2, "--strategy", "fsdp2", "-o", straight,
    )  # fmt: skip
    shutil.copytree(straight, run)
    for step in (3, 4, 6):
        shutil.rmtree(run / "checkpoints" / f"checkpoint-{step}", ignore_errors=True)
    (run / "metrics.json").unlink()
    ran(zygote, "resume", run)
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (straight, run))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.promise("R3")
@pytest.mark.slow
@pytest.mark.parametrize(("processes", "strategy"), [(4, "fsdp2"), (2, "ddp"), (1, "ddp")])
def test_other_ranks_go_on(zygote: Zygote, text_file: Path, tmp_path: Path, processes: int, strategy: str) -> None:
    """A checkpoint is whole, so any number of ranks and either strategy can read it: said, and only when asked for."""
    straight = tmp_path / "straight"
    words = ("--arch", "bert", "--save-steps", 2, "--save-total-limit", 99)
    ran(zygote, *pretraining(text_file, straight, *words, "--strategy", "fsdp2", steps=8))
    run = stopped_after(straight, tmp_path / "run", 4)
    again = [*pretraining(text_file, run, *words, steps=8), "--strategy", strategy]
    again[again.index("--processes") + 1] = processes
    refused = zygote.run(*again, "--resume")
    assert refused.code == 2 and "Traceback" not in refused.said()
    said = ran(zygote, *again, "--resume", "--allow-change")
    assert "changed: --" in said
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (straight, run))
    assert one.keys() == two.keys() and max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5


@pytest.mark.promise("R2")
@pytest.mark.slow
def test_a_checkpoint_is_that_of_one_process(zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    found = {}
    for strategy in ("ddp", "fsdp2"):
        ran(zygote, *pretraining(text_file, tmp_path / strategy, "--arch", "bert", "--strategy", strategy))
        folder = tmp_path / strategy / "checkpoints" / "checkpoint-4"
        state = torch.load(folder / "optimizer.pt", weights_only=True)
        found[strategy] = (
            sorted(path.name for path in folder.iterdir()),
            {name: value.shape for name, value in load_file(folder / "model.safetensors").items()},
            {number: {name: each[name].shape for name in each} for number, each in state["state"].items()},
            [group["params"] for group in state["param_groups"]],
        )
    assert found["ddp"] == found["fsdp2"]


@pytest.mark.slow
def test_the_model_opens_as_any_other(zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    run = tmp_path / "run"
    ran(zygote, *pretraining(text_file, run, "--arch", "bert", "--strategy", "fsdp2", "--precision", "bf16"))
    model = AutoModelForMaskedLM.from_pretrained(run / "model")
    assert type(model).__name__ == "BertForMaskedLM" and model.config.architectures == ["BertForMaskedLM"]
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in model.parameters())
    losses = [line["loss"] for line in logged(run) if "loss" in line]
    assert len(losses) == 4 and losses[-1] < losses[0]


@pytest.mark.promise("R7")
@pytest.mark.slow
def test_numbers_that_are_none(zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    """A learning rate that spoils the weights: all ranks end together, in one line."""
    words = pretraining(text_file, tmp_path / "run", "--arch", "bert", "--strategy", "fsdp2", steps=8)
    victim = zygote.run(*words, "--lr", 1e30, "--max-grad-norm", 0)
    assert victim.code == 4, victim.said()
    assert len([line for line in victim.said().splitlines() if line.startswith("error:")]) == 1
