"""A dry run: read the rows, load the model, time a few steps, and say what the run would take.

hflm plan --task sentiment --model bert-base-cased --data reviews.jsonl
"""

import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.finetune import announce, check_model, prepare_finetune, training_of
from hflm.finetune_config import FinetuneConfig
from hflm.run import RunFolder
from hflm.task import Task

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch


def plan(config: FinetuneConfig, task: Task, *, watch: "Watch") -> dict[str, Any]:
    """Return the report of a run that is not made: rows, lengths, steps, seconds, bytes; nothing is written."""
    from functools import partial

    from hflm.engine.budget import evaluation_seconds, probe
    from hflm.training import EVALUATIONS, autocast, fix_steps
    from hflm.training import _optimizer as make_optimizer

    def say(text: str) -> None:
        watch("note", {"text": text})

    check_model(config)
    began = time.perf_counter()
    fitted = prepare_finetune(config, task, say=say)
    training = training_of(fitted, RunFolder(Path("plan")))
    training = fix_steps(training, resume=False, spent=time.perf_counter() - began, say=say)
    report = announce(fitted, training, say=say)
    context = partial(autocast, fitted.device)
    evaluation = evaluation_seconds(
        fitted.model, fitted.eval, family=fitted.family, context=context, device=fitted.device.kind
    )
    found = probe(
        fitted.model, family=fitted.family, rows=fitted.train, order=training.order(10**6), split=training.split,
        make_optimizer=make_optimizer(training), context=context, seconds=8.0, most=30.0, device=fitted.device.kind,
    )  # fmt: skip
    seconds = training.steps * found.step_seconds + EVALUATIONS * evaluation
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    say(f"time: {seconds / 60:.1f} minutes to train, at {found.step_seconds * 1000:.0f} ms a step, without the test")
    say(f"memory: {peak / 2**30:.2f} GiB")
    return {**report, "step_seconds": found.step_seconds, "seconds": seconds, "peak_memory_bytes": peak}
