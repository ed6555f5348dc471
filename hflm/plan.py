"""A dry run: read the rows, load the model, time a few steps, and say what the run would take.

hflm plan --task sentiment --model bert-base-cased --data reviews.jsonl
"""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.finetune import announce, check_model, prepare_finetune, training_of
from hflm.finetune_config import FinetuneConfig
from hflm.run import RunFolder
from hflm.task import Task

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# Seconds that a plan takes, where the machine is able to: reading and loading take what they take, steps the rest.
WHOLE, LEAST, MOST = 45.0, 4.0, 20.0


def plan(config: FinetuneConfig, task: Task, *, watch: "Watch") -> dict[str, Any]:
    """Return the report of a run that is not made: rows, lengths, steps, seconds, bytes; nothing is written."""
    from dataclasses import asdict

    from hflm.finetuning.estimate import estimate, lines
    from hflm.training.steps import fix_steps
    from hflm.training.train import in_memory

    def say(text: str) -> None:
        watch("note", {"text": text})

    check_model(config, task)
    if config.processes != "1":
        say(f"--processes {config.processes}: steps, time and memory below are those of one process")
    began = time.perf_counter()
    fitted = prepare_finetune(config, task, say=say)
    training = training_of(fitted, RunFolder(Path("plan")))
    training = fix_steps(training, resume=False, spent=time.perf_counter() - began, say=say)
    report = announce(fitted, training, say=say)
    left = WHOLE - (time.perf_counter() - began)
    within = min(MOST, max(LEAST, left))
    _, found = in_memory(training, partial(estimate, fitted, within=within), say=say)
    for line in lines(found):
        say(line)
    return {**report, **asdict(found)}
