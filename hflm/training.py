"""Training, whatever is trained: the number of steps, the Trainer, signals; used by every job that trains."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from hflm.engine import checkpoints
from hflm.engine.budget import probe
from hflm.engine.callbacks import Recorder, StopOnSignal, Watch
from hflm.engine.device import Device
from hflm.engine.optimizer import build_optimizer
from hflm.engine.order import Order, Readable
from hflm.engine.schedule import factor, warmup_steps
from hflm.engine.split import Split
from hflm.engine.trainer import EngineTrainer, eval_sums
from hflm.errors import CheckpointError, Interrupted, UsageError
from hflm.families.family import Family
from hflm.run import RunFolder, read_json, write_json
from hflm.settings import flag, seconds
from hflm.training_settings import TrainingSettings

EVALUATIONS = 5
DEFAULT_EPOCHS = 3.0
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training needs: `rows`, or a function from a number of rows to a stream of them; `count` rows a pass.

    `order` gives the order of a number of steps; `key` stands for the content of the data.
    """

    config: TrainingSettings
    run: RunFolder
    model: Any
    family: Family
    device: Device
    split: Split
    rows: Readable | Callable[[int], Readable]
    count: int | None
    eval_rows: Readable
    order: Callable[[int], Order]
    key: str
    tokens_per_step: float
    keep_best: bool = False
    best: tuple[str, bool] = ("loss", False)
    steps: int = 0

    def rows_for(self, length: int) -> Readable:
        """Return the rows; of a stream, its first `length`."""
        return self.rows(length) if callable(self.rows) else self.rows


@dataclass(frozen=True)
class Trained:
    """What a training came to: steps done, seconds spent and of one step, and the evaluation of the model it left."""

    steps: int
    seconds: float
    step_seconds: float
    evaluation: Mapping[str, float]
    best_step: int | None


def fix_steps(training: Training, *, resume: bool, spent: float, say: Say) -> Training:
    """Fix the number of steps: as recorded, as asked, or as many as the budget holds."""
    config, run = training.config, training.run
    if resume:
        if not run.plan.exists():
            raise CheckpointError(f"{run.path} never began to train.", fix="Start it again with --overwrite.")
        plan = read_json(run.plan)
        if plan["data"] != training.key:
            raise UsageError(
                f"The data of {run.path} has changed since the run began "
                f"(was {plan['data'][:8]}, is {training.key[:8]}).",
                fix="Restore it, or start a new run.",
            )
        return replace(training, steps=int(plan["steps"]))
    steps, plan = config.max_steps, {"data": training.key, "split": str(training.split)}
    if config.budget:
        steps, plan["step_seconds"] = _steps_in(training, seconds(config.budget) - spent)
        say(f"budget: {config.budget} holds {steps:,} steps of {1000 * float(plan['step_seconds']):.0f} ms")
    elif steps is None:
        steps = steps_of(config, training.count)
    write_json(run.plan, {"steps": steps, **plan})
    return replace(training, steps=steps)


def steps_of(config: TrainingSettings, rows: int | None) -> int:
    """Count the steps of the epochs asked for, or of the usual three."""
    if rows is None:
        raise UsageError("A stream has no known length.", fix="Pass --max-steps or --budget.")
    return max(1, math.ceil((config.epochs or DEFAULT_EPOCHS) * rows / config.batch_size))


def _steps_in(training: Training, left: float) -> tuple[int, float]:
    """Probe steps and evaluation, and return how many steps fit in the seconds left, and the time of one."""
    context = partial(autocast, training.device)
    begin = time.perf_counter()
    sample = range(min(len(training.eval_rows), 64))
    one = [training.eval_rows[index] for index in sample]
    eval_sums(training.model, one, family=training.family, batch_size=32, context=context, device=training.device.kind)
    evaluation = (time.perf_counter() - begin) * len(training.eval_rows) / len(one)
    found = probe(
        training.model, family=training.family, rows=training.rows_for(10**9), order=training.order(10**6),
        split=training.split, make_optimizer=_optimizer(training), context=context, seconds=min(10.0, 0.05 * left),
        device=training.device.kind,
    )  # fmt: skip
    left -= time.perf_counter() - begin
    steps = int((left - EVALUATIONS * evaluation) / (found.step_seconds * 1.02))
    if steps < 10:
        raise UsageError(
            f"--budget {training.config.budget} holds {max(steps, 0)} steps of {found.step_seconds:.2f} s.",
            fix="Give more time or a smaller model or batch; where other programs are busy, fewer --threads.",
        )
    return steps, found.step_seconds


def autocast(device: Device) -> Any:
    """Return the context in which a device computes in its precision."""
    return torch.autocast(device.kind, dtype=device.dtype, enabled=device.precision != "fp32")


def _optimizer(training: Training) -> Any:
    config = training.config
    return partial(
        build_optimizer, name=config.optimizer, lr=config.learning_rate, weight_decay=config.weight_decay,
        dtype=torch.bfloat16 if training.device.precision == "bf16" else torch.float32,
    )  # fmt: skip


def train(training: Training, *, resume: bool, watch: Watch) -> Trained:
    """Train to the end and evaluate; raises Interrupted where a signal stopped it, saved."""
    start = checkpoints.newest_valid(training.run.checkpoints) if resume else None
    signals = StopOnSignal()
    epochs = training.config.batch_size / training.count if training.count else None
    recorder = Recorder(
        training.run.log, watch=watch, tokens_per_step=training.tokens_per_step, epochs_per_step=epochs
    )  # fmt: skip
    trainer = make_trainer(training, callbacks=[recorder, signals])
    began = time.perf_counter()
    with signals.listening():
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    if signals.received is not None:
        raise Interrupted(
            f"Stopped by a signal after step {trainer.state.global_step} of {training.steps}; everything is saved.",
            fix=f"Go on with `hflm {training.config.job} -o {training.run.path} --resume`.",
        )
    best = _restore_best(training, trainer) if training.keep_best or training.config.patience else None
    spent = time.perf_counter() - began
    last = (None if best else _last_evaluation(trainer)) or trainer.evaluate()
    return Trained(trainer.state.global_step, spent, recorder.step_seconds(), last, best)


def _last_evaluation(trainer: Any) -> dict[str, float] | None:
    entry = trainer.state.log_history[-2:] if trainer.state.log_history else []
    found = [line for line in entry if "eval_loss" in line and line["step"] == trainer.state.global_step]
    return found[-1] if found else None


def _restore_best(training: Training, trainer: EngineTrainer) -> int | None:
    """Give the model the weights of its best evaluation; return its step, or None where the last is the best."""
    from safetensors.torch import load_file

    step = trainer.state.best_global_step
    folder = training.run.checkpoints / f"{checkpoints.PREFIX}{step}"
    if step is None or step == trainer.state.global_step or not folder.is_dir():
        return None
    weights = load_file(folder / "model.safetensors", device=str(trainer.args.device))
    training.model.load_state_dict(weights, strict=False)
    training.model.tie_weights()
    return int(step)


def make_trainer(training: Training, *, callbacks: list[Any]) -> EngineTrainer:
    """Map the settings onto the Trainer."""
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

    config, steps = training.config, training.steps
    warmup = warmup_steps(config.warmup, steps=steps)
    trainer = EngineTrainer(
        model=training.model, args=_training_arguments(training), family=training.family,
        rows=training.rows_for(steps * config.batch_size), eval_rows=training.eval_rows, order=training.order(steps),
        make_optimizer=_optimizer(training), keep=config.save_total_limit, callbacks=callbacks,
        rate=partial(factor, name=config.schedule, steps=steps, warmup=warmup, decay=config.decay),
    )  # fmt: skip
    if config.patience:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=config.patience))
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


# What hflm names itself, and would otherwise be set twice.
OWN = {
    "output_dir": "output_dir", "per_device_train_batch_size": "micro_batch_size", "max_steps": "max_steps",
    "gradient_accumulation_steps": "micro_batch_size", "num_train_epochs": "epochs", "learning_rate": "learning_rate",
    "max_grad_norm": "max_grad_norm", "bf16": "precision", "fp16": "precision", "torch_compile": "torch_compile",
    "eval_steps": "eval_steps", "save_steps": "save_steps", "save_total_limit": "save_total_limit",
    "logging_steps": "logging_steps", "seed": "seed", "report_to": "report_to", "weight_decay": "weight_decay",
    "warmup_steps": "warmup", "lr_scheduler_type": "schedule", "optim": "optimizer",
}  # fmt: skip


def check_arguments(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a field that transformers lacks, that hflm sets itself, or whose value does not fit."""
    from transformers import TrainingArguments

    unknown = sorted(set(given) - set(TrainingArguments.__dataclass_fields__))
    if unknown:
        raise UsageError(f"transformers.TrainingArguments has no {unknown[0]!r}.", fix="Check training_arguments.")
    for name in given:
        if name in OWN:
            raise UsageError(f"training_arguments sets {name!r}.", fix=f"Set --{flag(OWN[name])} instead.")
    try:
        TrainingArguments(output_dir="unused", use_cpu=True, report_to="none", **{**_PLAIN, **given})
    except (ValueError, TypeError, ImportError, AttributeError) as error:
        raise UsageError(f"training_arguments: {_first_line(error)}.", fix="Check their values.") from error


# Enough for any strategy that a user asks for to be consistent.
_PLAIN: Mapping[str, Any] = {"eval_strategy": "steps", "eval_steps": 1, "save_steps": 1}


def _first_line(error: Exception) -> str:
    lines: Iterable[str] = str(error).strip().splitlines() or [type(error).__name__]
    return next(iter(lines)).rstrip(".")


def _training_arguments(training: Training) -> Any:
    from transformers import TrainingArguments

    config = training.config
    every = config.eval_steps or math.ceil(training.steps / EVALUATIONS)
    metric, larger = training.best
    values: dict[str, Any] = {
        "output_dir": str(training.run.checkpoints),
        "per_device_train_batch_size": training.split.micro_batch,
        "gradient_accumulation_steps": training.split.accumulation,
        "per_device_eval_batch_size": 32,
        "max_steps": training.steps,
        "learning_rate": config.learning_rate,
        "max_grad_norm": config.max_grad_norm,
        "bf16": training.device.precision == "bf16",
        "fp16": training.device.precision == "fp16",
        "use_cpu": training.device.kind == "cpu",
        "torch_compile": config.torch_compile,
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": config.save_steps or every,
        "logging_steps": config.logging_steps,
        "logging_nan_inf_filter": False,
        "metric_for_best_model": metric,
        "greater_is_better": larger,
        "seed": config.seed,
        "report_to": list(config.report_to) or "none",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "run_name": training.run.path.name,
    }
    return TrainingArguments(**{**values, **config.training_arguments})
