"""The loss of a global batch is the same, however it is split: micro-batches x accumulation (transformers#47688)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hflm.finetune import prepare_finetune, training_of
from hflm.finetune_config import resolve_finetune
from hflm.recipe_files import load_task
from hflm.run import RunFolder
from hflm.training.steps import fix_steps
from hflm.training.train import train
from tests.tiny import asked, moods, pairs, tagged, write

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "classes": ("sentiment", "bert", {}),
    "classes, weighted": ("sentiment", "bert", {"class_weights": "balanced"}),
    "classes, weighted and smoothed": (
        "sentiment", "distilbert", {"class_weights": "balanced", "label_smoothing": 0.1},
    ),
    "classes of a decoder": ("sentiment", "gpt2", {"label_smoothing": 0.1}),
    "tags": ("tagging", "bert", {"label_smoothing": 0.1}),
    "t5": ("summarization", "t5", {}),
    "t5, smoothed": ("summarization", "t5", {"label_smoothing": 0.1}),
    "bart": ("summarization", "bart", {"label_smoothing": 0.1}),
    "marian": ("summarization", "marian", {"label_smoothing": 0.1}),
    "gpt2": ("generation", "gpt2", {}),
    "gpt2, smoothed": ("generation", "gpt2", {"label_smoothing": 0.1}),
    "llama": ("summarization", "llama", {}),
    "llama, lora": ("generation", "llama", {"lora_rank": 4, "label_smoothing": 0.1}),
}  # fmt: skip
ROWS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "sentiment": lambda count: [row for row in moods(count) if row["label"] == "good" or row["text"] < "c"],
    "tagging": lambda count: [*tagged(count), {"tokens": ["ran"] * 9, "tags": ["O"] * 9}],
    "summarization": pairs,
    "generation": asked,
}


def trained(
    case: str, micro_batch: int, tiny: Callable[[str], str], folder: Path
) -> tuple[tuple[float, float], dict[str, Any]]:
    """Train three steps; return loss and gradient norm of the first, and the weights after the last."""
    name, model, more = CASES[case]
    recipe = load_task(name)
    held = str(write(folder / "held.jsonl", ROWS[name](12)))
    flags = {
        "model": tiny(model), "train_file": str(write(folder / "train.jsonl", ROWS[name](40))),
        "validation_file": held, "test_fraction": 0.0, "max_steps": 3, "batch_size": 8, "micro_batch_size": micro_batch,
        "precision": "fp32", "logging_steps": 1, "eval_steps": 3, "learning_rate": 3e-4, "max_source_length": 32,
        **more,
    }  # fmt: skip
    config = resolve_finetune(recipe, name=name, file={}, flags=flags, where="a test")
    said: list[str] = []
    fitted = prepare_finetune(config, recipe, say=said.append)
    run = RunFolder(folder / f"{micro_batch}")
    run.create()
    training = fix_steps(training_of(fitted, run), resume=False, spent=0.0, say=said.append)
    assert str(training.split) == f"8 = {micro_batch} (micro-batch) x {8 // micro_batch} (accumulation) x 1 (processes)"
    train(training, resume=False, watch=lambda kind, content: None)
    first = json.loads(run.log.read_text().splitlines()[0])
    return (first["loss"], first["grad_norm"]), {key: value.clone() for key, value in fitted.model.state_dict().items()}


@pytest.mark.promise("R5")
@pytest.mark.parametrize("case", CASES)
def test_however_a_batch_is_split(case: str, tiny: Callable[[str], str], tmp_path: Path) -> None:
    (loss, norm), weights = trained(case, 8, tiny, tmp_path)
    for micro_batch in (2, 1):
        (other, steep), changed = trained(case, micro_batch, tiny, tmp_path)
        assert other == pytest.approx(loss, rel=1e-6)
        # Adam forgives a wrong scale of the gradient, clipping does not.
        assert steep == pytest.approx(norm, rel=1e-4)
        for name, weight in weights.items():
            # Adam turns gradients of nothing but rounding into whole steps: keys' biases have no effect on softmax.
            if not name.endswith(("k_proj.bias", "key.bias", "k_lin.bias", "c_attn.bias")):
                assert (changed[name] - weight).abs().max() < 1e-5, name


@pytest.mark.promise("R5")
def test_the_loss_is_the_mean_over_the_targets(tiny: Callable[[str], str], tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    (loss, _), _ = trained("t5", 8, tiny, tmp_path)
    folder = tiny("t5")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    # Whichever eight rows came first: a model that knows nothing is about as surprised by all of them.
    texts = pairs(40)
    batch = tokenizer([f"summarize: {row['document']}" for row in texts], text_target=[row["summary"] for row in texts])
    losses, count = 0.0, 0
    for source, target in zip(batch["input_ids"], batch["labels"], strict=True):
        labels = torch.tensor([target[1:] if target[0] == tokenizer.pad_token_id else target])
        with torch.no_grad():
            losses += model(input_ids=torch.tensor([source]), labels=labels).loss.item() * labels.numel()
        count += labels.numel()
    assert loss == pytest.approx(losses / count, rel=0.05)
