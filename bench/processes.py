"""F11: two processes with a thread each against one process with two threads, the same global batch."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.exchange import measure as measure_exchange

BATCH, STEPS = 32, 24
# Name: processes, threads of all of them together.
SIDES = {"1 process x 1 thread": (1, 1), "1 process x 2 threads": (1, 2), "2 processes x 1 thread": (2, 2)}
NOTE = "measured while other programs used the machine: to be run again"


def train(*, processes: int, threads: int) -> float:
    """Run the command itself, mini size with AdamW, and return its tokens a second."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        words = [
            "pretrain", "--arch", "bert", "--size", "mini", "--batch-size", BATCH, "--max-length", 128,
            "--vocab-size", 8192, "--optimizer", "adamw", "--max-steps", STEPS, "--eval-steps", STEPS,
            "--max-documents", 4000, "--processes", processes, "--threads", threads, "--overwrite", "-o", run,
        ]  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "hflm", *map(str, words)], check=True, capture_output=True, text=True
        )  # fmt: skip
        return float(json.loads((run / "metrics.json").read_text())["tokens_per_second"])


def measure(rounds: int, *, note: str | None = NOTE) -> dict[str, Any]:
    """Run the sides in turns; then what the two processes spend on talking."""
    seen: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name, (processes, threads) in SIDES.items():
            seen[name].append(train(processes=processes, threads=threads))
    middle = {name: median(values) for name, values in seen.items()}
    exchange = measure_exchange(world=2, size="mini", batch_size=BATCH)
    step = exchange["step_seconds"]
    return {
        "rounds": seen, "median": middle, "note": note,
        "two_over_one": middle["2 processes x 1 thread"] / middle["1 process x 2 threads"],
        "exchange": {
            **exchange, "all_reduce_share": exchange["all_reduce_seconds"] / step,
            "exposed_share": max(0.0, 1 - exchange["silent_seconds"] / step),
        },
    }  # fmt: skip
