"""Stopped and resumed is the straight run, bit by bit, whatever the options; each stopped at three places."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.cli.app import main
from hflm.engine.checkpoints import ordered
from tests.faults.harness import same_state
from tests.tiny import asked, moods, pairs, tagged, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]
WORKER = {"training_arguments": {"dataloader_num_workers": 1}}
PRETRAINING: dict[str, dict[str, Any]] = {
    "bert": {"arch": "bert"},
    "bert, AdamW, dropout": {"arch": "bert", "optimizer": "adamw", "dropout": 0.1},
    "modernbert, Muon": {"arch": "modernbert", "optimizer": "muon"},
    "roberta, whole words": {"arch": "roberta", "objective": "wwm"},
    "whole words": {"objective": "wwm", "dropout": 0.1},
    "llama": {"arch": "llama", "objective": "clm", "dropout": 0.1},
    "gpt2": {"arch": "gpt2", "objective": "clm", "dropout": 0.1},
    "accumulation": {"micro_batch_size": 2, "dropout": 0.1},
    "a worker": {**WORKER, "dropout": 0.1},
    "several passes": {"max_documents": 8, "dropout": 0.1},
    "a stream": {"streaming": True, "eval_data": ["TEXT"], "dropout": 0.1},
    "a stream, several passes": {"streaming": True, "eval_data": ["TEXT"], "max_documents": 8},
    "bf16": {"precision": "bf16", "dropout": 0.1},
    "linear": {"schedule": "linear"},
    "patience": {"patience": 2, "learning_rate": 0.0, "max_steps": 40, "eval_steps": 3},
    "patience, and worse": {"patience": 2, "learning_rate": 0.05, "optimizer": "adamw", "eval_steps": 2},
    "a budget": {"budget": "2s", "max_steps": None, "eval_steps": None, "save_steps": 2},
}
FINETUNING: dict[str, tuple[str, str, Callable[[int], list[dict[str, Any]]], dict[str, Any]]] = {
    "classes": ("sentiment", "bert", moods, {}),
    "classes, accumulation": ("sentiment", "distilbert", moods, {"micro_batch_size": 2}),
    "classes, weighted and smoothed": (
        "sentiment", "bert", moods, {"class_weights": "balanced", "label_smoothing": 0.1},
    ),
    "classes by LoRA": ("sentiment", "llama", moods, {"lora_rank": 2}),
    "tags": ("tagging", "distilbert", tagged, {}),
    "summaries by T5": ("summarization", "t5", pairs, {"label_smoothing": 0.1}),
    "summaries by BART": ("summarization", "bart", pairs, {"gradient_checkpointing": True}),
    "summaries by Marian, a worker": ("summarization", "marian", pairs, WORKER),
    "answers by GPT-2": ("generation", "gpt2", asked, {"freeze": 1}),
    "answers by LoRA": ("generation", "llama", asked, {"lora_rank": 4, "precision": "bf16"}),
    "patience": ("sentiment", "bert", moods, {"patience": 2, "learning_rate": 0.0, "max_steps": 30}),
}  # fmt: skip


def stopped_at(straight: Path, folder: Path, keep: int) -> Path:
    """Copy a finished run as it was when it had saved `keep` checkpoints."""
    shutil.copytree(straight, folder)
    for checkpoint in ordered(folder / "checkpoints")[keep:]:
        shutil.rmtree(checkpoint)
    shutil.rmtree(folder / "model")
    for name in ("metrics.json", "loss.png", "predictions.jsonl"):
        (folder / name).unlink(missing_ok=True)
    return folder


def check(straight: Path, tmp_path: Path, record: Callable[[str, object], None]) -> None:
    """Resume from the first checkpoint, the one in the middle and the last but one."""
    saved = ordered(straight / "checkpoints")
    assert len(saved) >= 3, "too few checkpoints to tell"
    places = sorted({1, len(saved) // 2, len(saved) - 1})
    for keep in places:
        run = stopped_at(straight, tmp_path / f"stopped-{keep}", keep)
        assert main(["resume", str(run), "--json"]) == 0
        assert [path.name for path in ordered(run / "checkpoints")][-1] == saved[-1].name
        for name in ("model/model.safetensors", f"checkpoints/{saved[-1].name}/{weights(saved[-1])}"):
            assert same_state(load_file(straight / name), load_file(run / name))
        for name in ("optimizer.pt", "scheduler.pt"):
            one, two = (torch.load(at / "checkpoints" / saved[-1].name / name, weights_only=True)
                        for at in (straight, run))  # fmt: skip
            assert same_state(one, two)
    record("cases", len(places))


def weights(checkpoint: Path) -> str:
    """Return the name of the file of weights, or of the adapter."""
    (path,) = checkpoint.glob("*.safetensors")
    return path.name


@pytest.mark.slow
@pytest.mark.promise("R3")
@pytest.mark.parametrize("case", PRETRAINING)
def test_pretraining(
    case: str, run_pretrain: Run, text_file: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = {"max_steps": 16, "save_steps": 3, "eval_steps": 5, "save_total_limit": 99, **PRETRAINING[case]}
    if "eval_data" in settings:
        settings["eval_data"] = [str(text_file)]
    check(run_pretrain(**settings), tmp_path, record_property)


@pytest.mark.slow
@pytest.mark.promise("R3")
@pytest.mark.parametrize("case", FINETUNING)
def test_finetuning(
    case: str, run_finetune: Run, tiny: Tiny, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    task, kind, rows, more = FINETUNING[case]
    data = write(tmp_path / "rows.jsonl", rows(60))
    settings = {"max_steps": 12, "save_steps": 2, "eval_steps": 3, "save_total_limit": 99, "batch_size": 4, **more}
    check(run_finetune(task, model=tiny(kind), data=[str(data)], **settings), tmp_path, record_property)
