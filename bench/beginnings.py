"""What the beginning of a run is worth: weights that are drawn otherwise, and batches that grow.

hflm has no setting for either, so the steps are taken here, by its own parts: rows, order, optimizer, schedule. All
runs have the time of the recipe's steps, at the price of a step of each batch that is measured first; nothing depends
on the clock after that. They train and are scored on the novels of `bench.levers`.

What gains there may lose in a longer run: `longer` gives the two best 700 steps.

python -m bench beginnings
python -m bench longer
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.beside import run_beside
from bench.levers import SEEDS, STEPS, Side, novels, prepared, verdict
from bench.table import between
from hflm.engine.evaluating import eval_sums
from hflm.engine.schedule import factor, warmup_steps
from hflm.training.training import autocast

# What ends a block of ModernBERT, and is added to what the block was given.
LAST = ("attn.Wo.weight", "mlp.Wo.weight")
Redraw = Callable[[str, torch.nn.Parameter], float]
INITIAL: dict[str, Redraw] = {
    "all matrices half as large": lambda name, weight: 0.5,
    "all matrices three times as large (1 / sqrt(width))": lambda name, weight: 3.0,
    "embeddings three times as large": lambda name, weight: 3.0 if "embeddings" in name else 1.0,
    "the last matrix of each block zero": lambda name, weight: 0.0 if name.endswith(LAST) else 1.0,
}
# Rows of a batch, each for the same share of the time.
GROWING: dict[str, tuple[int, ...]] = {
    "8 rows, then 16": (8, 16),
    "4 rows, 8, 16": (4, 8, 16),
    "8 rows, 16, 32": (8, 16, 32),
    "16 rows, then 8": (16, 8),
}
BEST = ("all matrices three times as large (1 / sqrt(width))", "8 rows, then 16")
LONGER = 700
PAGE, BEGIN, END = Path("docs/performance.md"), "<!-- beginnings -->", "<!-- /beginnings -->"
LONGER_BEGIN, LONGER_END = "<!-- longer -->", "<!-- /longer -->"


def stages(batches: Sequence[int], costs: dict[int, float], *, steps: int) -> list[tuple[int, int]]:
    """Return rows and steps of each stage, all of them as long as `steps` of the recipe's own."""
    return [(rows, round(steps / len(batches) / costs[rows])) for rows in batches]


def trained(side: Side, plan: Sequence[tuple[int, int]], costs: dict[int, float]) -> float:
    """Train through the stages, with the learning rate by the time that is spent, and return the loss."""
    config, optimizer = side.training.config, side.optimizer
    peaks = [group["lr"] for group in optimizer.param_groups]
    whole, spent = 1000, 0.0
    total = sum(costs[rows] * steps for rows, steps in plan)
    warmup = warmup_steps(config.warmup, steps=whole)
    for rows, steps in plan:
        for _ in range(steps):
            share = factor(
                int(whole * spent / total), name=config.schedule, steps=whole, warmup=warmup, decay=config.decay
            )
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            side.step(rows)
            spent += costs[rows]
    loss, _, count = eval_sums(
        side.training.model, side.training.eval_rows, family=side.training.family, batch_size=32,
        context=partial(autocast, side.training.device),
    )  # fmt: skip
    return loss / count


def redraw(model: Any, scale: Redraw) -> None:
    """Multiply each matrix by what `scale` says of it."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.mul_(scale(name, weight))


def one(plan: Sequence[tuple[int, int]], costs: dict[int, float], *, seed: int, scale: Redraw | None = None) -> float:
    """Return the loss of one run."""
    with tempfile.TemporaryDirectory() as folder:
        side = prepared((), Path(folder), seed=seed, **novels())
        if scale:
            redraw(side.training.model, scale)
        return trained(side, plan, costs)


def measure(
    *, steps: int = STEPS, seeds: Sequence[int] = SEEDS, names: Sequence[str] = (*INITIAL, *GROWING)
) -> dict[str, Any]:
    """Run the recipe with each of the seeds, and each beginning with two of them."""
    costs, usual = {16: 1.0}, [(16, steps)]
    growing = {name: batches for name, batches in GROWING.items() if name in names}
    for rows in sorted({rows for batches in growing.values() for rows in batches} - costs.keys()):
        (found,) = run_beside([["bench.levers", "cost", "--batch-size", str(rows)]], at_once=1)
        costs[rows] = found["cost"]
    plans = {
        name: stages(growing[name], costs, steps=steps) if name in growing else usual for name in names
    }  # fmt: skip
    recipe = [one(usual, costs, seed=seed) for seed in seeds]
    runs = {
        name: [one(plan, costs, seed=seed, scale=INITIAL.get(name)) for seed in seeds[:2]]
        for name, plan in plans.items()
    }
    return {
        "steps": steps, "costs": {str(rows): cost for rows, cost in costs.items()}, "recipe": recipe,
        "noise": 2 * statistics.stdev(recipe), "median": {"recipe": statistics.median(recipe)},
        "plans": plans, "runs": runs,
    }  # fmt: skip


def measure_longer() -> dict[str, Any]:
    """Run the best beginnings for so long that twice the learning rate had lost what it gained."""
    return measure(steps=LONGER, names=BEST)


def lines(found: dict[str, Any]) -> str:
    """Return what came out, in Markdown."""
    recipe, noise = found["median"]["recipe"], found["noise"]
    rows = ["", "| beginning | steps | eval loss of two seeds | more than the recipe | |", "|---|---|---|---|---|",
            f"| the recipe, median of {len(found['recipe'])} seeds | {found['steps']} of 16 rows | {recipe:.3f} | "
            f"seeds: {noise:.3f} |  |"]  # fmt: skip
    for what, losses in found["runs"].items():
        plan = ", ".join(f"{steps} of {count}" for count, steps in found["plans"][what])
        gap = statistics.mean(losses) - recipe
        each = ", ".join(f"{loss:.3f}" for loss in losses)
        rows.append(f"| {what} | {plan} | {each} | {gap:+.3f} | {verdict(gap, noise)} |")
    return "\n".join([*rows, ""])


def write(found: dict[str, Any], begin: str = BEGIN, end: str = END) -> None:
    """Put the table into the page."""
    PAGE.write_text(between(PAGE.read_text(), begin, end, lines(found)))
