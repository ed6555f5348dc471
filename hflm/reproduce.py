"""Doing a run again, from its own folder, and comparing every figure.

hflm reproduce out -o again
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.errors import Interrupted, UsageError
from hflm.finetune_config import FinetuneConfig
from hflm.plots import read_log
from hflm.resume import kind_of, resume, settings_of, start
from hflm.run import RunFolder, read_json, read_object, results
from hflm.sealed import check_results, damage, open_plan
from hflm.settings import to_dict
from hflm.training.recorded import check_records, read_plan
from hflm.training_settings import TrainingSettings

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# What the clock, the machine or the command decide, and not the training.
FREE = {
    "started", "seconds", "first_step", "step_seconds", "tokens_per_second", "flops_per_second", "matmul_ceiling",
    "model_flops_utilisation", "peak_memory_bytes", "rows_per_second", "speedup", "batch",
}  # fmt: skip
# What runs did not always keep: where the first has none there is nothing to compare.
NEWER = {"best_step"}


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
    """What doing a run again came to; `done_before` says that nothing was trained now, and what is there compared."""

    run: str
    again: str
    figures: tuple[Figure, ...]
    done_before: bool = False

    @property
    def same(self) -> bool:
        """True where every figure agrees."""
        return all(figure.same for figure in self.figures)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        figures = [{**asdict(figure), "same": figure.same} for figure in self.figures]
        told = {"run": self.run, "again": self.again, "done_before": self.done_before, "same": self.same}
        return {**told, "figures": figures}


def reproduce(
    run: Path, folder: Path, *, overwrite: bool, watch: "Watch", machines: Mapping[str, Any] | None = None
) -> Reproduction:  # fmt: skip
    """Do a finished run again in `folder`, with its settings, steps, split and threads, and compare the figures.

    Where that was begun in `folder` before, it goes on, unless `overwrite`; what is done already is compared.
    `machines` are the settings that say which machines do it together, where that are several.

    Raises UsageError where the run is not done, where data, tokenizer, recipe or weights are not what they were, or
    where `folder` holds another run, or a copy of this one; Interrupted where a signal stopped it.
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
    held = RunFolder(folder)
    # One that was ended while its folder was made has no plan yet, and goes on as it began.
    anew = not overwrite and held.is_ours() and held.never_began()
    done_before = not overwrite and results(held) is not None and damage(held) is None
    try:
        if overwrite or anew or not held.is_ours():
            start(config, recorded, folder, resume=anew, overwrite=overwrite, like=recorded, watch=watch)
        else:
            _check_begun(config, recorded, held, plan)
            resume(folder, watch=watch, machines=machines)
    except Interrupted as error:
        command = shlex.join(["hflm", "reproduce", str(run), "-o", str(folder)])
        raise Interrupted(error.problem, fix=f"Go on with `{command}`, which compares in the end.") from error
    return replace(compare(recorded, held), done_before=done_before)


def _check_begun(config: TrainingSettings, recorded: RunFolder, held: RunFolder, plan: Mapping[str, Any]) -> None:
    """Raise UsageError where `held` is a copy, or another run than that of `config`, which does this `plan` again."""
    fix = "Name another --output-dir, or replace it with --overwrite."
    if _is_copy(held, recorded):
        raise UsageError(f"{held.path} is a copy of {recorded.path}: nothing of it was done again.", fix=fix)
    # A recipe is known by its content, which is among the inputs: its path hangs on where one is.
    given = {name: value for name, value in to_dict(config).items() if name != "task"}
    try:
        begun = open_plan(held)
        settings_of(type(config), held, given)
    except UsageError:
        begun = {}
    if begun.get("changes") or not _as_planned(begun, plan):
        raise UsageError(f"{held.path} holds a run that does not do {recorded.path} again.", fix=fix)


def _as_planned(begun: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    """Tell whether a run does what another one planned, of which earlier versions kept less."""
    same = all(begun.get(name) == plan.get(name) for name in ("steps", "data"))
    turned = begun.get("turns", []) == plan.get("turns", [])
    inputs, wanted = begun.get("inputs", {}), plan.get("inputs", {})
    return bool(same and turned and {**inputs, **wanted} == inputs)


def _is_copy(held: RunFolder, recorded: RunFolder) -> bool:
    """Tell whether a folder is a copy of a run: what it keeps of its beginning is the same."""
    one, two = _beginning(held), _beginning(recorded)
    # Two runs of one process may begin within the second that is kept; the log keeps thousandths.
    logged = {str(line.get("time")) for run in (held, recorded) for line in read_log(run.log)[:1]}
    return one is not None and one == two and len(logged) < 2


def _beginning(run: RunFolder) -> tuple[Any, Any] | None:
    """Return when and by which command a run began; None where that is lost."""
    try:
        found = read_object(run.environment, or_else=ValueError())
    except ValueError:
        return None
    return found.get("started"), found.get("command")


def compare(one: RunFolder, two: RunFolder) -> Reproduction:
    """Compare the figures of two runs, and their weights byte by byte."""
    was, now = dict(figures(read_json(one.metrics))), dict(figures(read_json(two.metrics)))
    names = [*was, *(name for name in now if name not in was and name not in NEWER)]
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
