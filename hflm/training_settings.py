"""The settings that every training job has: how long, how fast, what is saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hflm.errors import UsageError
from hflm.settings import LENGTHS, Settings, check_choices, check_not_empty, check_numbers, flag, seconds, setting


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How to train, whatever is trained; `None` means: worked out, and printed."""

    budget: str | None = setting(
        None, "Time to train, such as 90s, 10m or 2h; a probe fixes the number of steps.", group="Training"
    )
    max_steps: int | None = setting(None, "Number of optimizer steps.", group="Training")
    epochs: float | None = setting(
        None,
        "Passes over the data; default 3 where no budget and no steps are given.",
        group="Training",
        flags=("--num-train-epochs",),
    )
    batch_size: int = setting(16, "Sequences in one optimizer step, over all processes.", group="Training")
    micro_batch_size: int | None = setting(
        None,
        "Sequences in one forward pass; default: solved from the batch size.",
        group="Training",
        flags=("--per-device-train-batch-size",),
    )
    learning_rate: float | None = setting(2e-3, "Peak learning rate.", group="Training", flags=("--lr",))
    schedule: str = setting(
        "trapezoid", "trapezoid (warm up, hold, decay) or linear (warm up, decay).", group="Training"
    )
    warmup: float = setting(
        0.06,
        "Warm-up: a share of the steps, or a number of steps from 1 on.",
        group="Training",
        flags=("--warmup-steps", "--warmup-ratio"),
    )
    decay: float = setting(0.5, "Share of the steps in which a trapezoid falls to zero.", group="Training")
    optimizer: str = setting(
        "auto",
        "muon (matrices by Muon, the rest by AdamW) or adamw; auto: muon where it costs less than the model itself.",
        group="Training",
    )
    weight_decay: float = setting(0.01, "Weight decay.", group="Training")
    max_grad_norm: float = setting(1.0, "Gradients are clipped to this norm; 0 leaves them alone.", group="Training")
    on_nan: str = setting(
        "stop",
        "What to do where loss or gradient is no finite number: stop, or skip the step (at most 10 of a run).",
        group="Training",
    )
    on_bad_row: str = setting(
        "error",
        "A row that cannot be used: error ends the run before it begins, skip leaves it out, counted.",
        group="Data",
    )
    precision: str = setting("auto", "auto, fp32, bf16 or fp16.", group="Training")
    torch_compile: bool = setting(False, "Compile the model: pays on runs of many minutes.", group="Training")
    seed: int = setting(1, "Seed of the weights, the data order and the masks.", group="Training")
    threads: int | None = setting(None, "CPU threads of all processes of a machine; default: all.", group="Training")

    processes: str = setting("1", "Processes to train with; auto: one for each GPU.", group="Processes")
    strategy: str = setting(
        "ddp",
        "ddp (each process has the whole model), fsdp2 (each keeps a share of weights, gradients and optimizer), zero2 "
        "or zero3 (the same by DeepSpeed).",
        group="Processes",
    )
    max_restarts: int = setting(
        0, "Start again this often, from the newest checkpoint, when a process died or hung.", group="Processes"
    )
    rank_timeout: str = setting(
        "10m", "How long processes wait for one that does not answer before all are ended.", group="Processes"
    )

    machines: int = setting(1, "Machines that train together, each with this command.", group="Processes")
    machine_rank: int = setting(0, "Which of the machines this is, from 0.", group="Processes")
    rendezvous: str = setting("", "HOST:PORT of machine 0, where they meet.", group="Processes")

    eval_steps: int | None = setting(None, "Evaluate every this many steps; default: five times a run.", group="Saving")
    save_steps: int | None = setting(
        None, "Save a checkpoint every this many steps; default: with each evaluation.", group="Saving"
    )
    save_total_limit: int = setting(2, "Checkpoints to keep.", group="Saving")
    logging_steps: int = setting(10, "Log the loss every this many steps.", group="Saving")
    patience: int | None = setting(
        None,
        "Stop after this many evaluations in a row that are no better.",
        group="Saving",
        flags=("--early-stopping-patience",),
    )
    report_to: tuple[str, ...] = setting((), "Also log to tensorboard, wandb or trackio.", group="Saving")
    license: str | None = setting(None, "Licence named in the model card.", group="Saving")
    training_arguments: Mapping[str, Any] = setting(
        {}, "Further fields of transformers.TrainingArguments (in --config only).", group="Saving"
    )

    def check(self) -> None:
        """Raise UsageError where a value is out of its range or two settings contradict each other."""
        check_not_empty(self, NAMED)
        check_choices(self, CHOICES)
        check_numbers(self, positive=POSITIVE, not_negative=NOT_NEGATIVE)
        _check_length(self)
        check_count(self.processes)
        seconds(self.rank_timeout, name="rank_timeout")
        _check_strategy(self)
        _check_machines(self)
        if self.seed > LARGEST_SEED:
            raise UsageError(f"--seed is {self.seed}.", fix=f"It is {LARGEST_SEED} at most.")
        if not 0 <= self.decay < 1:
            raise UsageError(f"--decay is {self.decay}.", fix="It is a share, such as 0.1.")


# numpy takes no larger one.
LARGEST_SEED = 2**32 - 1
CHOICES: dict[str, tuple[str, ...]] = {
    "schedule": ("trapezoid", "linear"),
    "optimizer": ("auto", "muon", "adamw"),
    "on_nan": ("stop", "skip"),
    "on_bad_row": ("error", "skip"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "strategy": ("ddp", "fsdp2", "zero2", "zero3"),
}
POSITIVE = (
    "batch_size", "micro_batch_size", "max_steps", "epochs", "eval_steps", "save_steps", "save_total_limit",
    "logging_steps", "patience", "threads", "machines",
)  # fmt: skip
# Given on the command line, a name on the left puts out what a file says on the right.
PUTS_OUT = {
    "size": ("layers", "heads", "width"), "model": ("arch", "tokenizer", "student_layers"), "arch": ("model",),
    "student_layers": ("model",), "data": ("train_file",), "train_file": ("data",), "freeze": ("lora_rank",),
    "lora_rank": ("freeze",),
}  # fmt: skip
# What an unset variable of a shell leaves empty would be taken for what was not named.
NAMED = (
    "model", "teacher", "arch", "tokenizer", "recipe", "train_file", "validation_file", "test_file", "budget",
    "text_column", "label_column",
)  # fmt: skip
NOT_NEGATIVE = ("learning_rate", "weight_decay", "max_grad_norm", "warmup", "seed", "max_restarts", "machine_rank")
# What a run may be gone on with otherwise than it began: its results do not hang on it.
FREE = ("max_restarts", "rank_timeout", "machines", "machine_rank", "rendezvous")


def _check_strategy(config: TrainingSettings) -> None:
    """Raise UsageError where a model is to be shared out among processes that are not there, or cannot be."""
    if config.strategy == "ddp":
        return
    if config.processes == "1" and config.machines == 1:
        raise UsageError(
            f"--strategy {config.strategy} shares a model out among processes, and there is one.",
            fix="Pass --processes auto or their number, or leave --strategy away.",
        )
    if config.optimizer == "muon":
        raise UsageError(
            f"--optimizer muon needs whole matrices, and --strategy {config.strategy} shares them out.",
            fix="Pass --optimizer adamw.",
        )
    if config.torch_compile or config.precision == "fp16":
        what = "torch-compile" if config.torch_compile else "precision fp16"
        raise UsageError(f"--{what} does not go with --strategy {config.strategy}.", fix="Leave it away.")


def check_count(processes: str) -> None:
    """Raise UsageError for a number of processes that is none."""
    if processes != "auto" and not (processes.isdecimal() and int(processes) > 0):
        raise UsageError(f"--processes is {processes!r}.", fix="It is a number, as 2, or auto.")


def _check_machines(config: TrainingSettings) -> None:
    """Raise UsageError where it is not clear which machines are meant, or they cannot do what is asked."""
    count = config.machines
    if config.machine_rank >= count:
        raise UsageError(f"--machine-rank {config.machine_rank} of --machines {count}.", fix="They count from 0.")
    if count > 1 and not config.rendezvous:
        raise UsageError(f"--machines {count} need a place to meet.", fix="Pass --rendezvous HOST:PORT of machine 0.")
    if count > 1 and config.max_restarts:
        raise UsageError("--max-restarts is for one machine.", fix="Leave it away, and use `hflm resume`.")


def _check_length(config: TrainingSettings) -> None:
    """Raise UsageError where the length of a run is given twice, or its batch cannot be split as asked."""
    lengths = [name for name in LENGTHS if getattr(config, name) is not None]
    if len(lengths) > 1:
        raise UsageError(
            f"--{flag(lengths[0])} and --{flag(lengths[1])} contradict each other.", fix="Give one of them."
        )
    if config.budget:
        seconds(config.budget)
    batch, micro = config.batch_size, config.micro_batch_size
    if micro and batch % micro:
        near = max(n for n in range(1, micro + 1) if batch % n == 0)
        raise UsageError(
            f"--batch-size {batch} is no multiple of --micro-batch-size {micro}.",
            fix=f"Pass --micro-batch-size {near}.",
        )
