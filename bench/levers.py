"""What each setting of the pretraining recipe is worth: the same time with one of them changed at a time.

What a changed step costs is measured first, in one process that takes its steps and those of the recipe in turns. From
there on nothing depends on the clock: each run has as many steps as take the time of the recipe's. They train on two
novels and are scored on a third, which F2 does not score. A difference counts as one where it is
larger than what seeds differ by.

python -m bench levers
python -m bench.levers cost --arch bert      # what a step costs, to that of the recipe
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.beside import run_beside, threads
from bench.side import value_of
from bench.table import between
from hflm.config import resolve
from hflm.data.corpus import embedded_corpus
from hflm.engine.budget import take_step
from hflm.engine.order import Placed
from hflm.engine.trainer import quiet_libraries
from hflm.models.architecture import DEFAULT_ARCH
from hflm.pretraining.assemble import Setup, set_up
from hflm.recipe_files import load_task
from hflm.run import RunFolder
from hflm.training.training import autocast, optimizer_of

SEEDS, STEPS, TIMED = (1, 2, 3), 200, 24
# What is changed -> the words that change it; in the order tried.
LEVERS: dict[str, tuple[str, ...]] = {
    "BERT's layers, not ModernBERT's": ("--arch", "bert"),
    "AdamW for all, at the same rate": ("--optimizer", "adamw"),
    "AdamW for all, at a quarter of the rate": ("--optimizer", "adamw", "--learning-rate", "1e-3"),
    "half the learning rate": ("--learning-rate", "2e-3"),
    "twice the learning rate": ("--learning-rate", "8e-3"),
    "15 % masked": ("--mlm-probability", "0.15"),
    "40 % masked": ("--mlm-probability", "0.40"),
    "half the batch": ("--batch-size", "8"),
    "twice the batch": ("--batch-size", "32"),
    "a linear schedule": ("--schedule", "linear"),
    "a decay over a fifth": ("--decay", "0.2"),
    "dropout 0.1": ("--dropout", "0.1"),
    "rows of 64 tokens, twice as many": ("--max-length", "64", "--batch-size", "32"),
    "float32": ("--precision", "fp32"),
    "the classic recipe": ("--recipe", "classic"),
}
# What the first table made worth a look: steps, and the words that change the recipe.
FURTHER: dict[str, tuple[int, tuple[str, ...]]] = {
    "twice the learning rate, another seed": (200, ("--learning-rate", "8e-3", "--seed", "2")),
    "four times the learning rate": (200, ("--learning-rate", "16e-3")),
    "twice the learning rate, a decay over a fifth": (200, ("--learning-rate", "8e-3", "--decay", "0.2")),
    "size small": (70, ("--size", "small")),
    "size small, twice the learning rate": (70, ("--size", "small", "--learning-rate", "8e-3")),
    "700 steps": (700, ()),
    "700 steps, twice the learning rate": (700, ("--learning-rate", "8e-3")),
}
# These change no cost.
FREE = {"--learning-rate", "--schedule", "--decay"}
PAGE, BEGIN, END = Path("docs/performance.md"), "<!-- levers -->", "<!-- /levers -->"


class Side:
    """A run that is set up, and can take a step."""

    def __init__(self, setup: Setup) -> None:
        self.training, self.times = setup.training, list[float]()
        self.rows, self.places = Placed(self.training.rows_for(10**6)), iter(self.training.order(10**6))
        self.optimizer = optimizer_of(self.training)(self.training.model)
        self.training.model.train()

    def items(self, count: int | None = None) -> list[Any]:
        """Return the next rows, as many as the recipe has in a batch, or `count`."""
        many = count or self.training.split.micro_batch
        return [self.rows[place] for _, place in zip(range(many), self.places, strict=False)]

    def step(self, count: int | None = None) -> None:
        """Take an optimizer step over as many rows as the recipe has, or `count`, and keep its seconds."""
        begin, run = time.perf_counter(), self.training
        take_step(
            run.model, self.optimizer, self.items(count), family=run.family, split=run.split,
            context=partial(autocast, run.device), device=run.device.kind,
        )  # fmt: skip
        self.times.append(time.perf_counter() - begin)


def novels() -> dict[str, Any]:
    """Return the settings that name two of the novels to train on, and a third to be scored on."""
    (*train, scored), _ = embedded_corpus()
    return {"data": tuple(map(str, train)), "eval_data": (str(scored),), "documents": "file"}


def prepared(words: Sequence[str], folder: Path, **more: Any) -> Side:
    """Set a run up that has these settings changed."""
    names = (word.removeprefix("--").replace("-", "_") for word in words[::2])
    flags = {name: value_of(value) for name, value in zip(names, words[1::2], strict=True)}
    recipe = load_task(flags.pop("recipe", "pretraining")).defaults
    config = resolve(recipe=recipe, flags={"threads": threads(1), **flags, **more})
    arch = config.arch or DEFAULT_ARCH[config.objective]
    return Side(set_up(config, RunFolder(folder), arch=arch, say=lambda _: None))


def cost(words: Sequence[str]) -> float:
    """Return the time of a step with these settings to that of the recipe, steps of both taken in turns."""
    with tempfile.TemporaryDirectory() as name:
        sides = [prepared(changed, Path(name)) for changed in ((), words)]
        for _ in range(TIMED):
            for side in sides:
                side.step()
    usual, changed = (statistics.median(side.times[2:]) for side in sides)
    return changed / usual


def measure(*, size: str = "mini", steps: int = STEPS, at_once: int = 1) -> dict[str, Any]:
    """Run the recipe with each of the seeds, then every lever once; return costs, steps and losses."""
    costs = {}
    for what, words in LEVERS.items():
        costs[what] = 1.0
        if not FREE.issuperset(words[::2]):
            (found,) = run_beside([["bench.levers", "cost", *words]], at_once=1)
            costs[what] = found["cost"]
    runs: list[tuple[int, tuple[str, ...]]] = [(steps, ("--seed", str(seed))) for seed in SEEDS]
    runs += [(round(steps / costs[what]), words) for what, words in LEVERS.items()]
    losses = trained([*runs, *FURTHER.values()], size=size, at_once=at_once)
    usual, changed, further = losses[: len(SEEDS)], losses[len(SEEDS) : len(runs)], losses[len(runs) :]
    return {
        "size": size, "steps": steps, "recipe": usual, "noise": 2 * statistics.stdev(usual),
        "median": {"recipe": statistics.median(usual)},
        "levers": {
            what: {"cost": costs[what], "steps": count, "eval_loss": loss}
            for what, (count, _), loss in zip(LEVERS, runs[len(SEEDS) :], changed, strict=True)
        },
        "further": {
            what: {"steps": count, "eval_loss": loss}
            for (what, (count, _)), loss in zip(FURTHER.items(), further, strict=True)
        },
    }  # fmt: skip


def trained(runs: Sequence[tuple[int, Sequence[str]]], *, size: str, at_once: int) -> list[float]:
    """Train for so many steps with these words each, and return the losses on the novel that is held out."""
    texts = novels()
    with tempfile.TemporaryDirectory() as name:
        commands = [
            ["hflm", "pretrain", *texts["data"], "--eval-data", *texts["eval_data"], "--documents", texts["documents"],
             "--size", size, "--max-steps", str(count), "--eval-steps", str(count),
             "--threads", str(threads(at_once)), "--json", "-o", f"{name}/{number}", *words]
            for number, (count, words) in enumerate(runs)
        ]  # fmt: skip
        return [run["eval_loss"] for run in run_beside(commands, at_once=at_once)]


def verdict(gap: float, noise: float) -> str:
    """Say whether a loss that is so much higher than another differs by more than seeds do."""
    return "the same" if abs(gap) <= noise else "better" if gap < 0 else "worse"


def lines(found: dict[str, Any]) -> str:
    """Return what came out, in Markdown."""
    recipe, noise = found["median"]["recipe"], found["noise"]
    rows = ["", f"| {found['size']} | a step costs | steps in the same time | eval loss | more than the recipe | |",
            "|---|---|---|---|---|---|",
            f"| the recipe, median of {len(found['recipe'])} seeds | 1.00 | {found['steps']} | {recipe:.3f} | "
            f"seeds: {noise:.3f} |  |"]  # fmt: skip
    for what, run in found["levers"].items():
        gap = run["eval_loss"] - recipe
        rows.append(
            f"| {what} | {run['cost']:.2f} | {run['steps']} | {run['eval_loss']:.3f} | {gap:+.3f} | "
            f"{verdict(gap, noise)} |"
        )
    rows += ["", "| further runs | steps | eval loss |", "|---|---|---|"]
    rows += [f"| {what} | {run['steps']} | {run['eval_loss']:.3f} |" for what, run in found["further"].items()]
    return "\n".join([*rows, ""])


def write(found: dict[str, Any]) -> None:
    """Put the table into the page."""
    PAGE.write_text(between(PAGE.read_text(), BEGIN, END, lines(found)))


if __name__ == "__main__":
    quiet_libraries()
    print(json.dumps({"cost": cost(sys.argv[2:])}))
