"""A dry run of a pretraining: prepare the text, time steps of each size, and say what the time would come to.

hflm plan book.txt --budget 10m
"""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.config import PretrainConfig
from hflm.errors import UsageError
from hflm.models.architecture import DEFAULT_ARCH, SIZES, check_shape, choose_shape
from hflm.run import RunFolder
from hflm.settings import seconds

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch
    from hflm.pretraining.assemble import Setup
    from hflm.pretraining.outlook import Outlook
    from hflm.training.steps import Pace
    from hflm.training.training import Say, Training

# Seconds of a run for which a probe is as long as that of a budget: ten seconds.
PROBED = 200.0
BEYOND = "far from the runs of the law"


def plan_pretraining(config: PretrainConfig, *, watch: "Watch") -> dict[str, Any]:
    """Return steps, seconds, bytes and the forecast of the loss of a run that is not made, and those of other sizes.

    Nothing is written but the prepared text, which the run will find in the cache.
    """
    from hflm.engine.device import peak_memory
    from hflm.pretraining.assemble import set_up
    from hflm.pretraining.forecast import LAW
    from hflm.pretraining.outlook import has_law, outlook_of
    from hflm.pretraining.prepare import pin
    from hflm.training.steps import pace_in_memory

    def say(text: str) -> None:
        watch("note", {"text": text})

    if config.processes != "1" or config.machines > 1:
        say("several processes: steps, time and memory below are those of one")
    arch = config.arch or DEFAULT_ARCH[config.objective]
    if not config.model:
        shape = choose_shape(size=config.size, layers=config.layers, width=config.width, heads=config.heads)
        check_shape(arch, shape, objective=config.objective)
    config = pin(config, say=say)
    run = RunFolder(Path("plan"))
    setup = set_up(config, run, arch=arch, say=say)
    # What the run itself will spend on it: the text is prepared by then.
    began = time.perf_counter()
    set_up(config, run, arch=arch, say=lambda _: None)
    ready = time.perf_counter() - began
    budget = seconds(config.budget) if config.budget else None
    training, pace = pace_in_memory(setup.training, left=(budget or PROBED) - ready, say=say)
    steps, evaluations = _steps(training, pace, budget=budget, ready=ready)
    whole = ready + _seconds(pace, config, steps=steps, evaluations=evaluations)
    memory = peak_memory(setup.device.kind)
    say(f"steps: {steps:,} of {1000 * pace.step:.0f} ms, {steps * training.tokens_per_step:,.0f} tokens")
    say(f"time: {_clock(whole)}, evaluations and saving included")
    say(f"memory: {memory / 2**30:.2f} GiB")
    found = {
        "steps": steps, "step_seconds": pace.step, "seconds": whole, "evaluations": evaluations,
        "peak_memory_bytes": memory, "report": dict(setup.data.report),
    }  # fmt: skip
    if not has_law(config, setup.arch):
        say("loss: no forecast; the law is one of masked tokens, from scratch, with the recipe's own architecture")
        return found
    own = outlook_of(setup, steps=steps, step_seconds=pace.step)
    known = f"the law was off by up to {LAW.error:.0%} on runs that it had not seen"
    say(f"loss: about {own.loss:.2f}; {BEYOND if own.beyond else known}")
    sizes = [own]
    if budget and own.size in SIZES:
        sizes = _compare(setup, own, config=config, budget=budget, ready=ready, say=say)
    return {**found, "forecast_loss": own.loss, "forecast_error": LAW.error, "sizes": [asdict(one) for one in sizes]}


def _steps(training: "Training", pace: "Pace", *, budget: float | None, ready: float) -> tuple[int, int]:
    from hflm.training.steps import steps_at, steps_of
    from hflm.training.training import EVALUATIONS

    if budget:
        return steps_at(pace, training.config, budget=budget, spent=ready)
    return training.config.max_steps or steps_of(training.config, training.count), EVALUATIONS


def _seconds(pace: "Pace", config: PretrainConfig, *, steps: int, evaluations: int) -> float:
    """Return the seconds of a run from its first probe to its results."""
    from hflm.training.steps import ENDING

    evaluated = steps // config.eval_steps if config.eval_steps else evaluations
    saved = steps // config.save_steps if config.save_steps else evaluated
    probing = pace.probing if config.budget else 0.0
    return probing + 1.02 * steps * pace.step + evaluated * pace.evaluation + (saved + 1) * pace.saving + ENDING


def _compare(
    setup: "Setup", own: "Outlook", *, config: PretrainConfig, budget: float, ready: float, say: "Say"
) -> list["Outlook"]:
    """Time the other sizes that the budget holds, say what each would come to, and which comes furthest."""
    from hflm.pretraining.assemble import set_up
    from hflm.pretraining.outlook import other_sizes, outlook_of
    from hflm.training.steps import pace_in_memory

    found = [own]
    for guess in other_sizes(setup, steps=own.steps, step_seconds=own.step_seconds):
        other = set_up(replace(config, size=guess.size), setup.run, arch=setup.arch, say=lambda _: None)
        try:
            training, pace = pace_in_memory(other.training, left=budget - ready, say=lambda _: None)
            steps, _ = _steps(training, pace, budget=budget, ready=ready)
        except UsageError:
            # Too few steps, or too little memory.
            continue
        found.append(outlook_of(other, steps=steps, step_seconds=pace.step))
    found.sort(key=lambda one: list(SIZES).index(one.size))
    say(f"in {_clock(budget)}:")
    say(f"  {'size':<6} {'parameters':>12} {'ms a step':>10} {'steps':>8} {'passes':>7} {'loss':>6}")
    for one in found:
        say(f"  {one.size:<6} {one.parameters:>12,} {1000 * one.step_seconds:>10,.0f} {one.steps:>8,} "
            f"{one.passes:>7.1f} {one.loss:>6.2f}{'  ' + BEYOND if one.beyond else ''}")  # fmt: skip
    best = min(found, key=lambda one: one.loss)
    if not best.beyond:
        say(f"the lowest forecast: --size {best.size}")
    return found


def _clock(spent: float) -> str:
    return f"{spent:.0f} seconds" if spent < 100 else f"{spent / 60:.1f} minutes"
