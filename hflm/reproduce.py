"""Doing a run again, from its own folder, and comparing every figure.

hflm reproduce out -o again
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.errors import UsageError
from hflm.finetune_config import FinetuneConfig
from hflm.resume import kind_of, settings_of, start
from hflm.run import RunFolder, read_json, results
from hflm.sealed import check_results
from hflm.training.recorded import check_records, read_plan

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# What the clock, the machine or the command decide, and not the training.
FREE = {
    "started", "seconds", "first_step", "step_seconds", "tokens_per_second", "flops_per_second", "matmul_ceiling",
    "model_flops_utilisation", "peak_memory_bytes", "rows_per_second", "speedup", "batch",
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A figure of the first run and of the second."""

    name: str
    was: Any
    now: Any

    @property
    def same(self) -> bool:
        return bool(self.was == self.now)


@dataclass(frozen=True)
class Reproduction:
    """What doing a run again came to."""

    run: str
    again: str
    figures: tuple[Figure, ...]

    @property
    def same(self) -> bool:
        """True where every figure agrees."""
        return all(figure.same for figure in self.figures)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        figures = [{**asdict(figure), "same": figure.same} for figure in self.figures]
        return {"run": self.run, "again": self.again, "same": self.same, "figures": figures}


def reproduce(
    run: Path, folder: Path, *, overwrite: bool, watch: "Watch", machines: Mapping[str, Any] | None = None
) -> Reproduction:  # fmt: skip
    """Do a finished run again in `folder`, with its settings, steps, split and threads, and compare the figures.

    `machines` are the settings that say which machines do it together, where that are several.

    Raises UsageError where the run is not done, or where data, tokenizer, recipe or weights are not what they were.
    """
    recorded = RunFolder.open(run)
    if run.resolve().is_relative_to(folder.resolve()):
        raise UsageError("A run cannot be done again in its own folder, or above it.", fix="Name another --output-dir.")
    if results(recorded) is None:
        raise UsageError(f"{run} is not done: there is nothing to compare with.", fix=f"First `hflm resume {run}`.")
    check_results(recorded, under="model/")
    plan = read_plan(recorded)
    check_records(recorded)
    if plan.get("changes"):
        fields = ", ".join(change["field"] for change in plan["changes"])
        raise UsageError(f"{run} went on after a change ({fields}): no one command does it again.", fix="Run it anew.")
    config = settings_of(kind_of(recorded), recorded, machines)
    # A budget would be measured anew; what it came to is in the plan.
    every = config.eval_steps or -(-plan["steps"] // plan["evaluations"])
    config = replace(
        config, budget=None, epochs=None, max_steps=plan["steps"], eval_steps=every,
        threads=plan["threads"] * (int(config.processes) // config.machines) if "threads" in plan else config.threads,
    )  # fmt: skip
    if isinstance(config, FinetuneConfig):
        config = replace(config, task=str(recorded.recipe))
    start(config, recorded, folder, resume=False, overwrite=overwrite, like=recorded, watch=watch)
    return compare(recorded, RunFolder(folder))


def compare(one: RunFolder, two: RunFolder) -> Reproduction:
    """Compare the figures of two runs, and their weights byte by byte."""
    was, now = dict(figures(read_json(one.metrics))), dict(figures(read_json(two.metrics)))
    names = [*was, *(name for name in now if name not in was)]
    found = [Figure(name, was.get(name), now.get(name)) for name in names]
    return Reproduction(str(one.path), str(two.path), (*found, Figure("weights", _weights(one), _weights(two))))


def figures(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of every figure that training and data decide."""
    for name, value in metrics.items():
        if name in FREE:
            continue
        if isinstance(value, Mapping):
            yield from figures(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _weights(run: RunFolder) -> str | None:
    """Hash the weights of a run's model, as they lie in its files."""
    from hashlib import file_digest, sha256

    files = sorted(run.model.glob("*.safetensors"))
    total = sha256()
    for path in files:
        with path.open("rb") as stream:
            total.update(file_digest(stream, "sha256").digest())
    return total.hexdigest()[:24] if files else None
