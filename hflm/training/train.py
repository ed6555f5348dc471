"""Training, whatever is trained: the number of steps, the Trainer, signals; used by every job that trains."""

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hflm.engine import checkpoints, ranks
from hflm.engine.callbacks import Recorder, SaveBest, StopOnSignal, Watch, interruptible
from hflm.engine.deadline import KeepDeadline
from hflm.engine.evaluating import CatchUp, Patience
from hflm.engine.memory import give_back, halved, out_of_memory
from hflm.engine.numbers import Spikes
from hflm.engine.optimizer import is_untouched
from hflm.engine.restoring import unlike
from hflm.engine.schedule import Course, factor, warmup_steps
from hflm.engine.steady import Trim
from hflm.engine.trainer import EngineTrainer
from hflm.engine.workers import lost_worker
from hflm.errors import CheckpointError, Interrupted, RankError, UsageError
from hflm.run import set_aside
from hflm.sealed import write_plan
from hflm.training.arguments import layer_drop, training_arguments
from hflm.training.recorded import read_plan, steps_logged
from hflm.training.training import (
    Say,
    Trained,
    Training,
    evaluate_every,
    first_saving,
    optimizer_of,
    planned,
    save_every,
)

Found = TypeVar("Found")


def train(training: Training, *, resume: bool, watch: Watch) -> Trained:
    """Train to the end and evaluate; raises Interrupted where a signal stopped it, saved."""
    # As the plan has it so far: an interval that was changed on purpose is that of the steps to come.
    first = first_saving(read_plan(training.run)) if resume and ranks.first() else 0
    if ranks.first():
        write_plan(training.run, training.plan)
    start = ranks.agreed(_newest(training, first, watch) if resume and ranks.first() else None)
    if resume and ranks.first():
        # Results that are lost or damaged: nothing is refused any more, and their end is done again.
        set_aside(training.run.metrics)
    signals = StopOnSignal(partial(watch, "stopping", {}))
    epochs = training.config.batch_size / training.count if training.count else None
    recorder = Recorder(
        training.run.log, watch=watch, tokens_per_step=training.tokens_per_step, epochs_per_step=epochs
    )  # fmt: skip

    def say(text: str) -> None:
        watch("note", {"text": text})

    began = time.perf_counter()
    with signals.listening():
        trainer = _train_in_memory(training, start, recorder=recorder, signals=signals, say=say)
        stopped = signals.came()
    if stopped:
        raise Interrupted(
            f"Stopped by a signal after step {trainer.state.global_step} of {trainer.state.max_steps}; "
            "everything is saved.",
            fix=f"Go on with `hflm resume {shlex.quote(str(training.run.path))}`.",
        )
    with interruptible(training.run.path):
        trainer.make_whole()
        best = _restore_best(training, trainer, say=say) if _keeps_best(training) else None
        spent = time.perf_counter() - began
        last = _evaluation_of(trainer, best or trainer.state.global_step) or trainer.evaluate()
    return Trained(trainer.state.global_step, spent, recorder.step_seconds(), last, best, recorder.first)


def _newest(training: Training, first: int, watch: Watch) -> Path | None:
    """Return the checkpoint to go on from; None where the run was ended before it had saved one, at step `first`.

    That step is logged before the saving is done, after an evaluation that may take long.
    """
    folder = training.run.checkpoints
    checkpoints.bring_back(folder)
    if not checkpoints.ordered(folder) and steps_logged(training.run) <= first:
        watch("note", {"text": "the run was ended before its first checkpoint: it begins again"})
        # Its steps are taken again, maybe with another first saving, and would tell of more than was done since.
        training.run.log.unlink(missing_ok=True)
        return None
    return checkpoints.newest_valid(folder)


def _train_in_memory(
    training: Training, start: Path | None, *, recorder: Recorder, signals: StopOnSignal, say: Say
) -> EngineTrainer:
    """Train to the end or a signal, from `start`; where memory runs out, go on with smaller micro-batches."""
    while True:
        trainer = make_trainer(training, callbacks=[recorder, signals, Spikes(say)], say=say, stopped=signals.came)
        try:
            trainer.train(resume_from_checkpoint=str(start) if start else None)
            return trainer
        except Exception as error:
            if lost := lost_worker(error):
                raise _without_worker(training, lost) from error
            if not out_of_memory(error):
                raise
        # Outside of the handler: the error holds on to what the step had in memory.
        training = smaller(training, trainer.state.global_step + 1, say=say)
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        # By this mark the next Trainer would take the model for prepared, and neither compile it nor compute in fp16.
        training.model.__dict__.pop("_is_accelerate_prepared", None)
        broke_off = trainer.updating == trainer.state.global_step
        start = trainer.save_last_step() or (_before_update(training, trainer) if broke_off else start)
        write_plan(training.run, training.plan)


def _without_worker(training: Training, lost: str) -> RankError:
    """Return the error of a run whose data worker has died, as where memory was short."""
    return RankError(
        f"{lost.rstrip('.')}. What was saved before is whole.",
        fix=f"Go on with `hflm resume {shlex.quote(str(training.run.path))}`; where memory was short, give it more.",
    )


def _before_update(training: Training, trainer: EngineTrainer) -> Path | None:
    """Return the newest checkpoint, where memory ran out in an update; None where it had moved nothing yet.

    Raises UsageError where weights were moved, and there is nothing to go back to.
    """
    try:
        return checkpoints.newest_valid(training.run.checkpoints)
    except CheckpointError as error:
        if is_untouched(trainer.optimizer):
            return None
        raise UsageError(
            "Out of memory while weights were moved, before anything was saved.",
            fix=f"Begin anew with --overwrite --micro-batch-size {training.split.micro_batch}.",
        ) from error


def smaller(training: Training, step: int, *, say: Say) -> Training:
    """Split the global batch into smaller micro-batches; raises UsageError where there are none."""
    give_back()
    was, split = training.split, halved(training.split)
    if split is None or was.processes > 1:
        fix = "Take a smaller model, fewer tokens a row, or --gradient-checkpointing where the job has it."
        if split is not None:
            fix = f"Pass --micro-batch-size {split.micro_batch}."
        raise UsageError(f"Out of memory at step {step:,} with micro-batches of {was.micro_batch}.", fix=fix)
    say(f"out of memory at step {step:,}: micro-batches of {split.micro_batch} from here on, not {was.micro_batch}; "
        f"the global batch stays {training.config.batch_size}")  # fmt: skip
    return planned(replace(training, split=split)) if training.steps else replace(training, split=split)


def in_memory(training: Training, act: Callable[[Training], Found], *, say: Say) -> tuple[Training, Found]:
    """Do what takes the memory of a step; where that is short, with smaller micro-batches, which are returned too."""
    while True:
        try:
            return training, act(training)
        except Exception as error:
            if not out_of_memory(error):
                raise
        # Outside of the handler: the error holds on to what the step had in memory.
        training = smaller(training, 1, say=say)


def _evaluation_of(trainer: Any, step: int) -> dict[str, float] | None:
    """Return the evaluation that was made after a step: the weights are those again, to the last bit."""
    found = [line for line in trainer.state.log_history if "eval_loss" in line and line["step"] == step]
    return found[-1] if found else None


def _keeps_best(training: Training) -> bool:
    return training.keep_best or training.config.patience is not None


def _restore_best(training: Training, trainer: EngineTrainer, *, say: Say) -> int | None:
    """Give the model the weights of its best evaluation; return its step, or None where the last is the best."""
    from safetensors.torch import load_file

    step = trainer.state.best_global_step
    if step is None or step == trainer.state.global_step:
        return None
    folder = training.run.checkpoints / f"{checkpoints.PREFIX}{step}"
    wrong = (checkpoints.problem(folder) or unlike(training.model, folder)) if ranks.first() else None
    if wrong := ranks.agreed(wrong):
        say(f"the best weights, of step {step:,}, are lost ({wrong}): those of the last step are kept")
        return None
    for file in sorted(folder.glob("*.safetensors")):
        training.model.load_state_dict(load_file(file), strict=False)
    training.model.tie_weights()
    return int(step)


def _turned(training: Training, say: Say, each: float) -> None:
    """Record that the number of steps was reckoned anew, and say so."""
    if ranks.first():
        write_plan(training.run, planned(training).plan)
    (at, steps), before = training.turns[-1], Course(training.steps, training.turns[:-1]).steps
    say(f"budget: steps take {1000 * each:.0f} ms at step {at:,}: {steps:,} of them in all, not {before:,}")


def _trainer_kind(training: Training) -> type[EngineTrainer]:
    """Return the Trainer of the strategy; raises UsageError for a model that it cannot share out."""
    if training.config.strategy != "fsdp2" or ranks.world() == 1:
        return EngineTrainer
    if drop := layer_drop(training.model):
        # A rank would wait for ever for the shares of a layer that another has left out.
        raise UsageError(
            f"--strategy fsdp2: {training.model.config.model_type} leaves out layers by chance (layerdrop {drop:g}), "
            "other ones in each process.",
            fix="Pass --strategy ddp.",
        )
    from hflm.engine.sharded import ShardedTrainer

    return ShardedTrainer


def make_trainer(
    training: Training, *, callbacks: list[Any], say: Say = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> EngineTrainer:  # fmt: skip
    """Map the settings onto the Trainer."""
    from transformers import PrinterCallback, ProgressCallback

    config, steps, course = training.config, training.steps, training.course
    warmup = warmup_steps(config.warmup, steps=steps)

    def rate(step: int) -> float:
        return factor(course.place(step), name=config.schedule, steps=steps, warmup=warmup, decay=config.decay)

    trainer = _trainer_kind(training)(
        model=training.model, args=training_arguments(training), family=training.family,
        rows=training.rows_for(training.room * config.batch_size), eval_rows=training.eval_rows,
        order=training.order(training.room),
        make_optimizer=optimizer_of(training), keep=config.save_total_limit, callbacks=callbacks,
        skip_bad=config.on_nan == "skip", name_row=training.name_row, say=say,
        stopped=stopped, rate=rate,
    )  # fmt: skip
    if training.deadline:
        trainer.add_callback(
            KeepDeadline(
                training.deadline, course, eval_every=evaluate_every(training), save_every=save_every(training),
                turned=partial(_turned, training, say),
            )
        )  # fmt: skip
    metric, larger = training.best
    if _keeps_best(training):
        trainer.add_callback(SaveBest(metric, larger=larger, rows=training.best_rows))
    # Before patience is looked at: an evaluation that is done late counts.
    trainer.add_callback(CatchUp(trainer.catch_up))
    if training.device.kind == "cpu":
        trainer.add_callback(Trim())
    if config.patience:
        trainer.add_callback(Patience(metric, larger=larger, patience=config.patience))
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer
