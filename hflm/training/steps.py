"""How many steps a training has: as asked, as many as a budget holds, or as recorded when it began."""

import math
import os
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hflm.engine import ranks
from hflm.engine.budget import evaluation_seconds, probe, saving_seconds, steps_within
from hflm.engine.deadline import Deadline
from hflm.errors import UsageError
from hflm.run import RunFolder
from hflm.settings import LENGTHS, seconds, to_dict
from hflm.training.recorded import accepted, changes, mend, note_machine, read_plan, record_changes, refuse
from hflm.training.room import check_run_fits
from hflm.training.train import in_memory
from hflm.training.training import EVALUATIONS, Say, Training, autocast, optimizer_of, planned, save_every
from hflm.training_settings import TrainingSettings

DEFAULT_EPOCHS = 3.0
# Seconds kept of a budget for the end.
ENDING = 3.0


@dataclass(frozen=True)
class Pace:
    """Seconds of a step, an evaluation and a saving of this run on this machine; and those of finding that out."""

    step: float
    evaluation: float
    saving: float
    probing: float


def fix_steps(
    training: Training, *, resume: bool, spent: float, say: Say, like: RunFolder | None = None,
    allow_change: bool = False,
) -> Training:  # fmt: skip
    """Fix the number of steps: as recorded, as asked, or as many as the budget holds; `train` records them.

    `like` is a run that is to be done again. Raises UsageError where what a run began with is no longer the same.
    """
    config = training.config
    if resume or like:
        return _as_recorded(training, resume=resume, like=like, allow_change=allow_change, say=say)
    steps, evaluations, plan = config.max_steps, EVALUATIONS, dict[str, Any]()
    deadline = None
    if config.budget:
        budget, began = seconds(config.budget), time.perf_counter() - spent
        training, pace = pace_in_memory(training, left=budget - spent, say=say)
        steps, evaluations = ranks.agreed(steps_at(pace, config, budget=budget, spent=spent))
        plan["step_seconds"] = ranks.agreed(pace.step)
        deadline = Deadline(began + budget - _ending(pace, budget=budget), pace.evaluation, pace.saving)
        say(f"budget: {config.budget} holds {steps:,} steps of {1000 * float(plan['step_seconds']):.0f} ms")
    elif steps is None:
        steps = steps_of(config, training.count)
    training = replace(training, steps=steps, evaluations=evaluations, plan=plan, deadline=deadline)
    check_run_fits(training.model, config=config, run=training.run, saves=math.ceil(steps / save_every(training)))
    return planned(training)


def _as_recorded(training: Training, *, resume: bool, like: RunFolder | None, allow_change: bool, say: Say) -> Training:
    """Take steps and split from the plan of a run, and hold the inputs against it."""
    run, config = like or training.run, training.config
    plan = read_plan(run)
    settings = to_dict(config) if resume else {}
    found = changes(plan, key=training.key, inputs=training.inputs, settings=settings) + record_changes(run, plan)
    if not allow_change:
        refuse(found, run)
    for change in found:
        say(f"changed: {change.sentence(run)}")
    if resume and ranks.first():
        mend(run, plan, say=say)
    note_machine(
        run, plan, threads=torch.get_num_threads(), precision=training.device.precision, say=say
    )  # fmt: skip
    fields = {change.field for change in found}
    if "optimizer" in fields:
        raise UsageError(
            f"--optimizer {config.optimizer}: the checkpoints of {run.path} hold the state of another one.",
            fix=f"Pass --optimizer {plan['settings']['optimizer']}, or start a new run.",
        )
    if "budget" in fields and config.budget:
        raise UsageError(
            f"--budget {config.budget}: a run that goes on has the number of steps that it has.",
            fix=f"Pass --max-steps with another one; it has {plan['steps']:,}.",
        )
    steps, turns = plan["steps"], [(at, count) for at, count in plan.get("turns", [])]
    if fields & {*LENGTHS, "batch_size"} and not config.budget:
        steps, turns = config.max_steps or steps_of(config, training.count), []
    micro = plan.get("micro_batch")
    if micro and not fields & {"batch_size", "micro_batch_size", "processes"}:
        share = training.split.micro_batch * training.split.accumulation
        training = replace(training, split=replace(training.split, micro_batch=micro, accumulation=share // micro))
    evaluations = plan.get("evaluations", EVALUATIONS)
    training = replace(training, steps=steps, turns=turns, evaluations=evaluations, plan=plan)
    return planned(training, changes=accepted(plan, found)) if resume else planned(training)


def steps_of(config: TrainingSettings, rows: int | None) -> int:
    """Count the steps of the epochs asked for, or of the usual three."""
    if rows is None:
        raise UsageError("A stream has no known length.", fix="Pass --max-steps or --budget.")
    return max(1, math.ceil((config.epochs or DEFAULT_EPOCHS) * rows / config.batch_size))


def pace_in_memory(training: Training, *, left: float, say: Say) -> tuple[Training, Pace]:
    """Time steps, evaluation and saving; where memory is short, with smaller micro-batches."""
    return in_memory(training, partial(pace_of, left=left), say=say)


def pace_of(training: Training, *, left: float) -> Pace:
    """Time some steps, an evaluation and a saving of a run that has `left` seconds, in a small part of these."""
    context, begin, device = partial(autocast, training.device), time.perf_counter(), training.device.kind
    evaluation = evaluation_seconds(
        training.model, training.eval_rows, family=training.family, context=context, device=device,
        size=training.eval_batch,
    )  # fmt: skip
    saving = saving_seconds(training.model, _disk_of(training.run))
    found = probe(
        training.model, family=training.family, rows=training.rows_for(10**9), order=training.order(10**6),
        split=training.split, make_optimizer=optimizer_of(training), context=context, seconds=min(10.0, 0.05 * left),
        most=0.2 * left, device=device,
    )  # fmt: skip
    return Pace(found.step_seconds, evaluation, saving, time.perf_counter() - begin)


def _disk_of(run: RunFolder) -> Path:
    """Return a folder to try a saving in: the run's own, or the one that it will lie in; a plan may write nowhere."""
    place = run.path.absolute()
    near = next(path for path in (place, *place.parents) if path.is_dir())
    return near if os.access(near, os.W_OK) else Path(tempfile.gettempdir())


def _ending(pace: Pace, *, budget: float) -> float:
    """Return the seconds after the last step: the model is saved again, the machine measured and a picture drawn."""
    return pace.saving + min(ENDING, 0.1 * budget)


def steps_at(pace: Pace, config: TrainingSettings, *, budget: float, spent: float) -> tuple[int, int]:
    """Return how many steps and evaluations a budget of seconds holds at a pace.

    Raises UsageError where these are too few to call it a run.
    """
    left = budget - spent - pace.probing - _ending(pace, budget=budget)
    pauses = [(pace.evaluation, config.eval_steps), (pace.saving, config.save_steps or config.eval_steps)]
    # Few evaluations rather than few steps: they may take a tenth of the time.
    usual = max(1, min(EVALUATIONS, int(0.1 * left / (pace.evaluation + pace.saving))))
    steps = steps_within(left, step=pace.step, pauses=pauses, usual=usual)
    if ranks.agreed(steps) < 10:
        raise UsageError(
            f"--budget {config.budget} holds {steps} steps of {pace.step:.2f} s: preparing, evaluating and "
            f"saving take {budget - left + usual * (pace.evaluation + pace.saving):.1f} s.",
            fix="Give more time or a smaller model or batch; where other programs are busy, fewer --threads.",
        )
    return steps, usual
