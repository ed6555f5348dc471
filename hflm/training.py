"""Training, whatever is trained: the number of steps, the Trainer, signals; used by every job that trains."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from hflm.engine import checkpoints
from hflm.engine.budget import evaluation_seconds, probe, saving_seconds, steps_within
from hflm.engine.callbacks import Recorder, SaveBest, StopOnSignal, Watch
from hflm.engine.device import Device
from hflm.engine.optimizer import build_optimizer
from hflm.engine.order import Order, Readable
from hflm.engine.schedule import factor, warmup_steps
from hflm.engine.split import Split
from hflm.engine.trainer import EngineTrainer
from hflm.errors import CheckpointError, Interrupted, UsageError
from hflm.families.family import Family
from hflm.run import RunFolder, read_json, write_json
from hflm.settings import seconds
from hflm.training_settings import TrainingSettings

EVALUATIONS = 5
DEFAULT_EPOCHS = 3.0
# Seconds kept of a budget for the end.
ENDING = 3.0
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training needs: `rows`, or a function from a number of rows to a stream of them; `count` rows a pass.

    `order` gives the order of a number of steps; `key` stands for the content of the data, and `inputs` for that of
    each thing that the run began with; `plan` is what the run folder is to record beside the steps.
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
    evaluations: int = EVALUATIONS
    inputs: Mapping[str, str] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)

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
    """Fix the number of steps: as recorded, as asked, or as many as the budget holds; `train` records them."""
    config = training.config
    if resume:
        plan = _recorded(training)
        return replace(training, steps=plan["steps"], evaluations=plan.get("evaluations", EVALUATIONS), plan=plan)
    steps, evaluations = config.max_steps, EVALUATIONS
    plan = {"data": training.key, "inputs": dict(training.inputs), "split": str(training.split)}
    if config.budget:
        steps, evaluations, plan["step_seconds"] = _steps_in(training, seconds(config.budget), spent=spent)
        say(f"budget: {config.budget} holds {steps:,} steps of {1000 * float(plan['step_seconds']):.0f} ms")
    elif steps is None:
        steps = steps_of(config, training.count)
    plan = {"steps": steps, "evaluations": evaluations, **plan}
    return replace(training, steps=steps, evaluations=evaluations, plan=plan)


def _recorded(training: Training) -> dict[str, Any]:
    """Read the plan of a run that goes on; raises UsageError where what the run began with is no longer the same."""
    run = training.run
    if not run.plan.exists():
        raise CheckpointError(f"{run.path} never began to train.", fix="Start it again with --overwrite.")
    plan = read_json(run.plan)
    before, now = {**plan.get("inputs", {}), "data": plan["data"]}, {**training.inputs, "data": training.key}
    # What is named on its own comes first: the key of the data hangs on the tokenizer too.
    for name in sorted(before, key=lambda name: name == "data"):
        if before[name] != now.get(name, ""):
            raise UsageError(
                f"The {name} of {run.path} has changed since the run began "
                f"(was {before[name][:8]}, is {now.get(name, '')[:8] or 'gone'}).",
                fix="Restore it, or start a new run.",
            )
    return plan


def steps_of(config: TrainingSettings, rows: int | None) -> int:
    """Count the steps of the epochs asked for, or of the usual three."""
    if rows is None:
        raise UsageError("A stream has no known length.", fix="Pass --max-steps or --budget.")
    return max(1, math.ceil((config.epochs or DEFAULT_EPOCHS) * rows / config.batch_size))


def _steps_in(training: Training, budget: float, *, spent: float) -> tuple[int, int, float]:
    """Probe steps, evaluation and saving; return how many steps and evaluations the budget holds, and a step's time."""
    config, device = training.config, training.device.kind
    context, begin, left = partial(autocast, training.device), time.perf_counter(), budget - spent
    evaluation = evaluation_seconds(
        training.model, training.eval_rows, family=training.family, context=context, device=device
    )
    saving = saving_seconds(
        training.model, next(path for path in training.run.path.absolute().parents if path.is_dir())
    )
    found = probe(
        training.model, family=training.family, rows=training.rows_for(10**9), order=training.order(10**6),
        split=training.split, make_optimizer=make_optimizer(training), context=context, seconds=min(10.0, 0.05 * left),
        most=0.2 * left, device=device,
    )  # fmt: skip
    # At the end the model is saved once more, the machine measured and a picture drawn.
    left -= time.perf_counter() - begin + saving + min(ENDING, 0.1 * budget)
    pauses = [(evaluation, config.eval_steps), (saving, config.save_steps or config.eval_steps)]
    # Few evaluations rather than few steps: they may take a fifth of the time.
    usual = max(1, min(EVALUATIONS, int(0.2 * left / (evaluation + saving))))
    steps = steps_within(left, step=found.step_seconds, pauses=pauses, usual=usual)
    if steps < 10:
        raise UsageError(
            f"--budget {config.budget} holds {steps} steps of {found.step_seconds:.2f} s: preparing, evaluating and "
            f"saving take {budget - left + usual * (evaluation + saving):.1f} s.",
            fix="Give more time or a smaller model or batch; where other programs are busy, fewer --threads.",
        )
    return steps, usual, found.step_seconds


def autocast(device: Device) -> Any:
    """Return the context in which a device computes in its precision."""
    return torch.autocast(device.kind, dtype=device.dtype, enabled=device.precision != "fp32")


def make_optimizer(training: Training) -> Any:
    """Return the function from a model to its optimizer."""
    config = training.config
    return partial(
        build_optimizer, name=config.optimizer, lr=config.learning_rate, weight_decay=config.weight_decay,
        dtype=torch.bfloat16 if training.device.precision == "bf16" else torch.float32,
    )  # fmt: skip


def train(training: Training, *, resume: bool, watch: Watch) -> Trained:
    """Train to the end and evaluate; raises Interrupted where a signal stopped it, saved."""
    if not resume:
        write_json(training.run.plan, training.plan)
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
    best = _restore_best(training, trainer) if _keeps_best(training) else None
    spent = time.perf_counter() - began
    last = (None if best else _last_evaluation(trainer)) or trainer.evaluate()
    return Trained(trainer.state.global_step, spent, recorder.step_seconds(), last, best)


def _last_evaluation(trainer: Any) -> dict[str, float] | None:
    entry = trainer.state.log_history[-2:] if trainer.state.log_history else []
    found = [line for line in entry if "eval_loss" in line and line["step"] == trainer.state.global_step]
    return found[-1] if found else None


def _keeps_best(training: Training) -> bool:
    return training.keep_best or training.config.patience is not None


def _restore_best(training: Training, trainer: EngineTrainer) -> int | None:
    """Give the model the weights of its best evaluation; return its step, or None where the last is the best."""
    from safetensors.torch import load_file

    step = trainer.state.best_global_step
    folder = training.run.checkpoints / f"{checkpoints.PREFIX}{step}"
    if step is None or step == trainer.state.global_step or not folder.is_dir():
        return None
    for file in sorted(folder.glob("*.safetensors")):
        training.model.load_state_dict(load_file(file, device=str(trainer.args.device)), strict=False)
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
        make_optimizer=make_optimizer(training), keep=config.save_total_limit, callbacks=callbacks,
        rate=partial(factor, name=config.schedule, steps=steps, warmup=warmup, decay=config.decay),
    )  # fmt: skip
    if _keeps_best(training):
        metric, larger = training.best
        trainer.add_callback(SaveBest(metric, larger=larger))
    if config.patience:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=config.patience))
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


def _training_arguments(training: Training) -> Any:
    from transformers import TrainingArguments

    config = training.config
    every = config.eval_steps or math.ceil(training.steps / training.evaluations)
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
