"""What an encoder is worth: two that were pretrained for the same time, fine-tuned in the same way on another task.

The plain side is the Trainer of F2, with the batch size that was best there and the learning rate that was, or half of
it, whichever comes to the lower loss: at the higher one a run may fail to learn anything. Its seconds are those of its
steps alone. hflm's side is `hflm pretrain --budget` as it comes, whose seconds have everything in them:
the start, the probe, evaluations. Both read the same novels with the same tokenizer. Both are then fine-tuned by
`hflm finetune --task sentiment` on the same sentences of Rotten Tomatoes, at the learning rate that is better on the
validation rows, with the same seeds, and tested on others. hflm's encoder is fine-tuned once more with its class read
off the first token, as ModernBERT comes, and not off the mean of all.

python -m bench downstream
"""

import json
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.beside import run_beside, threads
from bench.kept import measured
from bench.machine import machine
from bench.sooner import command, run_first
from bench.tuning import write_rows
from hflm.metrics.paired import compare_statistics
from hflm.metrics.result import Statistics

ROWS = {"train": 3_000, "validation": 600, "test": 2_000}
SEEDS, RATES = (1, 2, 3), ("5e-4", "1e-3")
FIRST = "hflm, first token"


def pretrained(folder: Path, *, size: str, seconds: float) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Train the encoders, one after the other, and return where the two lie and what they came to."""
    best = measured(machine(), "f2")["plain"]
    run_first(size)
    usual: dict[str, Any] = {"size": size, "count": threads(1), "seconds": seconds, "folder": folder}
    tried = run_beside(
        [
            command("plain", **usual, lr=lr, batch_size=best["batch_size"], save=folder / f"plain-{lr}")
            for lr in (best["lr"], best["lr"] / 2)
        ],
        at_once=1,
    )
    plain = min(tried, key=lambda run: run["eval_loss"])
    (ours,) = run_beside([command("hflm", **usual, seed=1)], at_once=1)
    kept = ("eval_loss", "steps", "parameters")
    return {
        "plain": (
            folder / f"plain-{plain['lr']}",
            {
                **{name: plain[name] for name in (*kept, "lr", "batch_size")},
                "tried": [{name: run[name] for name in ("lr", "eval_loss")} for run in tried],
            },
        ),
        "hflm": (Path(ours["run"]), {name: ours[name] for name in kept}),
    }


def first_token(run: Path, folder: Path) -> Path:
    """Copy the model of a run, and have its class read off the first token."""
    shutil.copytree(run / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "classifier_pooling": "cls"}))
    return folder


def tuned(model: Path, rows: Path, *, seed: int, rate: str) -> dict[str, Any]:
    """Fine-tune an encoder with a seed, and return its run and its accuracies."""
    files = [word for split in ROWS for word in (f"--{split}-file", str(rows / f"{split}.jsonl"))]
    words = ["hflm", "finetune", "--task", "sentiment", "--model", str(model), *files, "--learning-rate", rate]
    out = rows / f"{model.name}-{rate}-{seed}"
    (found,) = run_beside([[*words, "--seed", str(seed), "--json", "-o", str(out)]], at_once=1)
    test = found["test"]["scores"]["accuracy"]["value"]
    return {"run": str(out), "lr": rate, "seed": seed, "eval": found["eval_accuracy"], "accuracy": test}


def right(runs: Sequence[str]) -> Statistics:
    """Return for each test row in how many of the runs its class was told, as a share."""
    told = []
    for run in runs:
        rows = Path(run, "predictions.jsonl").read_text(encoding="utf-8").split("\n")
        found = [json.loads(row) for row in rows if row]
        told.append([float(row["prediction"] == row["reference"]) for row in found])
    share = np.mean(told, axis=0)
    return Statistics(
        rows=np.stack([share, np.ones_like(share)], axis=1), scores=lambda sums: {"accuracy": float(sums[0] / sums[1])}
    )


def difference(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, float]:
    """Compare runs row by row: the difference of accuracy, its 95 % interval, and its p-value."""
    (found,) = compare_statistics(right(ours), right(theirs))
    return {name: getattr(found, name) for name in ("difference", "low", "high", "p_value")}


def measure(*, size: str = "mini", seconds: float = 300) -> dict[str, Any]:
    """Pretrain and fine-tune both, and compare them row by row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows"
        rows.mkdir()
        write_rows(rows, ROWS)
        models = pretrained(folder, size=size, seconds=seconds)
        runs = {}
        for side, (path, _) in models.items():
            swept = [tuned(path, rows, seed=SEEDS[0], rate=rate) for rate in RATES]
            best = max(swept, key=lambda run: run["eval"])
            runs[side] = [best, *(tuned(path, rows, seed=seed, rate=best["lr"]) for seed in SEEDS[1:])]
        other = first_token(models["hflm"][0], folder / "first-token")
        runs[FIRST] = [
            max((tuned(other, rows, seed=SEEDS[0], rate=rate) for rate in RATES), key=lambda run: run["eval"])
        ]
        ours, theirs = ([str(run["run"]) for run in runs[side]] for side in ("hflm", "plain"))
        compared = difference(ours, theirs)
        each = [difference([one], [other]) for one, other in zip(ours, theirs, strict=True)]
    for found in runs.values():
        for run in found:
            run.pop("run")
    return {
        "size": size, "seconds": seconds, "rows": ROWS,
        "pretrained": {side: found for side, (_, found) in models.items()}, "tuned": runs, "compared": compared,
        "each_seed": each,
        "median": {side: statistics.median(run["accuracy"] for run in found) for side, found in runs.items()},
    }  # fmt: skip
