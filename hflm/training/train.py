"""Training, whatever is trained: the number of steps, the Trainer, signals; used by every job that trains."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hflm.engine import checkpoints, ranks
from hflm.engine.callbacks import Recorder, SaveBest, StopOnSignal, Watch
from hflm.engine.device import Device
from hflm.engine.evaluating import CatchUp, Patience
from hflm.engine.memory import give_back, halved, out_of_memory
from hflm.engine.numbers import Spikes
from hflm.engine.optimizer import build_optimizer
from hflm.engine.order import Order, Readable
from hflm.engine.schedule import factor, warmup_steps
from hflm.engine.split import Split
from hflm.engine.trainer import EngineTrainer
from hflm.errors import Interrupted, UsageError
from hflm.families.family import Family
from hflm.run import RunFolder
from hflm.sealed import write_plan
from hflm.settings import to_dict
from hflm.training.recorded import steps_logged
from hflm.training_settings import TrainingSettings

EVALUATIONS = 5
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training needs: `rows`, or a function from a number of rows to a stream of them; `count` rows a pass.

    `order` gives the order of a number of steps; `key` stands for the content of the data, and `inputs` for that of
    each thing that the run began with; `name_row` names a row for people; `plan` is what the run folder is to
    record beside the steps.
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
    name_row: Callable[[int], str] = "row {}".format
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


def planned(training: Training, **more: Any) -> Training:
    """Put into the plan what a run that goes on, or is done again, must find unchanged."""
    plan = {
        "steps": training.steps, "evaluations": training.evaluations, "data": training.key,
        "inputs": dict(training.inputs), "split": str(training.split), "micro_batch": training.split.micro_batch,
        "threads": torch.get_num_threads(), "settings": to_dict(training.config),
    }  # fmt: skip
    return replace(training, plan={**training.plan, **plan, **more})


def autocast(device: Device) -> Any:
    """Return the context in which a device computes in its precision."""
    return torch.autocast(device.kind, dtype=device.dtype, enabled=device.precision != "fp32")


def optimizer_of(training: Training) -> Any:
    config = training.config
    assert config.learning_rate is not None, "worked out by now"
    return partial(
        build_optimizer, name=config.optimizer, lr=config.learning_rate, weight_decay=config.weight_decay,
        dtype=torch.bfloat16 if training.device.precision == "bf16" else torch.float32,
    )  # fmt: skip


def train(training: Training, *, resume: bool, watch: Watch) -> Trained:
    """Train to the end and evaluate; raises Interrupted where a signal stopped it, saved."""
    if ranks.first():
        write_plan(training.run, training.plan)
    start = ranks.agreed(_newest(training, watch) if resume and ranks.first() else None)
    signals = StopOnSignal()
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
            f"Stopped by a signal after step {trainer.state.global_step} of {training.steps}; everything is saved.",
            fix=f"Go on with `hflm resume {training.run.path}`.",
        )
    best = _restore_best(training, trainer, say=say) if _keeps_best(training) else None
    spent = time.perf_counter() - began
    last = _evaluation_of(trainer, best or trainer.state.global_step) or trainer.evaluate()
    return Trained(trainer.state.global_step, spent, recorder.step_seconds(), last, best)


def _newest(training: Training, watch: Watch) -> Path | None:
    """Return the checkpoint to go on from; None where the run was ended before it had saved one."""
    folder = training.run.checkpoints
    if not checkpoints.ordered(folder) and steps_logged(training.run) < save_every(training):
        watch("note", {"text": "the run was ended before its first checkpoint: it begins again"})
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
            if not out_of_memory(error):
                raise
        # Outside of the handler: the error holds on to what the step had in memory.
        training = smaller(training, trainer.state.global_step + 1, say=say)
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        start = trainer.save_last_step() or start
        write_plan(training.run, training.plan)


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
    if wrong := ranks.agreed(checkpoints.problem(folder) if ranks.first() else None):
        say(f"the best weights, of step {step:,}, are lost ({wrong}): those of the last step are kept")
        return None
    for file in sorted(folder.glob("*.safetensors")):
        training.model.load_state_dict(load_file(file), strict=False)
    training.model.tie_weights()
    return int(step)


def make_trainer(
    training: Training, *, callbacks: list[Any], say: Say = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> EngineTrainer:  # fmt: skip
    """Map the settings onto the Trainer."""
    from transformers import PrinterCallback, ProgressCallback

    config, steps = training.config, training.steps
    warmup = warmup_steps(config.warmup, steps=steps)
    trainer = EngineTrainer(
        model=training.model, args=_training_arguments(training), family=training.family,
        rows=training.rows_for(steps * config.batch_size), eval_rows=training.eval_rows, order=training.order(steps),
        make_optimizer=optimizer_of(training), keep=config.save_total_limit, callbacks=callbacks,
        skip_bad=config.on_nan == "skip", name_row=training.name_row, say=say,
        stopped=stopped,
        rate=partial(factor, name=config.schedule, steps=steps, warmup=warmup, decay=config.decay),
    )  # fmt: skip
    metric, larger = training.best
    if _keeps_best(training):
        trainer.add_callback(SaveBest(metric, larger=larger))
    # Before patience is looked at: an evaluation that is done late counts.
    trainer.add_callback(CatchUp(trainer.catch_up))
    if config.patience:
        trainer.add_callback(Patience(metric, larger=larger, patience=config.patience))
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


def _evaluate_every(training: Training) -> int:
    return training.config.eval_steps or math.ceil(training.steps / training.evaluations)


def save_every(training: Training) -> int:
    return training.config.save_steps or _evaluate_every(training)


def _training_arguments(training: Training) -> Any:
    from transformers import TrainingArguments

    config = training.config
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
        "eval_steps": _evaluate_every(training),
        "save_strategy": "steps",
        "save_steps": save_every(training),
        "logging_steps": config.logging_steps,
        "logging_nan_inf_filter": False,
        "metric_for_best_model": metric,
        "greater_is_better": larger,
        "seed": config.seed,
        "report_to": [name for name in config.report_to if name != "none"] or "none",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "run_name": training.run.path.name,
    }
    if ranks.world() > 1:
        values["ddp_find_unused_parameters"] = has_idle_weights(training)
    arguments = TrainingArguments(**{**values, **config.training_arguments})
    # With more, the Trainer would put a process that is alone into nn.DataParallel.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def has_idle_weights(training: Training) -> bool:
    """Tell whether there are weights to train that a step gives no gradient, for which DDP would wait.

    Looking for them at every step takes time, so it is looked for once. A row of the evaluation is tried: a stream of
    training rows does not go back.
    """
    from hflm.engine.order import Placed

    model, family = training.model, training.family
    batch = family.collate([Placed(training.eval_rows)[0, 0]])
    with torch.random.fork_rng(devices=[]):
        model.train()
        with autocast(training.device):
            family.sums(model, {name: value.to(training.device.kind) for name, value in batch.items()}).loss.backward()
    idle = any(weight.requires_grad and weight.grad is None for weight in model.parameters())
    model.zero_grad()
    return bool(ranks.agreed(idle))
