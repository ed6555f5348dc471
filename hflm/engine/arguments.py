"""Fields of transformers.TrainingArguments that a user sets past hflm: refused where they would do harm or nothing."""

import enum
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from hflm.errors import UsageError
from hflm.settings import flag

# What hflm sets itself, and the setting for it; set here too, one of them would be lost without a word.
OWN = {
    "output_dir": "output_dir", "per_device_train_batch_size": "micro_batch_size", "max_steps": "max_steps",
    "gradient_accumulation_steps": "micro_batch_size", "auto_find_batch_size": "micro_batch_size",
    "num_train_epochs": "epochs", "learning_rate": "learning_rate", "max_grad_norm": "max_grad_norm",
    "bf16": "precision", "fp16": "precision", "torch_compile": "torch_compile", "seed": "seed", "data_seed": "seed",
    "eval_steps": "eval_steps", "eval_strategy": "eval_steps", "save_steps": "save_steps",
    "save_strategy": "save_steps", "save_total_limit": "save_total_limit", "logging_steps": "logging_steps",
    "logging_strategy": "logging_steps", "report_to": "report_to", "weight_decay": "weight_decay",
    "warmup_steps": "warmup", "lr_scheduler_type": "schedule", "lr_scheduler_kwargs": "schedule",
    "optim": "optimizer", "load_best_model_at_end": "patience", "metric_for_best_model": "patience",
    "greater_is_better": "patience", "resume_from_checkpoint": "resume",
}  # fmt: skip
# What would change nothing, or break a run: hflm has an optimizer, a loss, an order of rows and checkpoints of its own.
IDLE = (
    "adam_beta1", "adam_beta2", "adam_epsilon", "optim_args", "optim_target_modules", "label_smoothing_factor",
    "train_sampling_strategy", "length_column_name", "label_names", "remove_unused_columns", "ignore_data_skip",
    "dataloader_drop_last", "dataloader_persistent_workers", "dataloader_prefetch_factor",
    "dataloader_multiprocessing_context", "dataloader_in_order", "prediction_loss_only", "eval_do_concat_batches",
    "eval_accumulation_steps", "eval_delay", "eval_on_start", "include_for_metrics", "batch_eval_metrics",
    "bf16_full_eval", "fp16_full_eval", "use_cpu", "disable_tqdm", "save_only_model", "do_train", "do_eval",
    "do_predict", "push_to_hub", "local_rank",
)  # fmt: skip


def check_arguments(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a field that transformers lacks, that hflm decides, or whose value does not fit."""
    if not given:
        return
    from transformers import TrainingArguments

    known = TrainingArguments.__dataclass_fields__
    for name, value in given.items():
        if name not in known:
            raise UsageError(f"transformers.TrainingArguments has no {name!r}.", fix="Check training_arguments.")
        if name in OWN:
            raise UsageError(f"training_arguments sets {name!r}.", fix=f"Set --{flag(OWN[name])} instead.")
        if name in IDLE:
            raise UsageError(f"training_arguments sets {name!r}, which hflm has no use for.", fix="Leave it away.")
        allowed = _kinds(known[name].type)
        if allowed and not _fits(value, allowed):
            wanted = " or ".join(sorted({"nothing" if kind is type(None) else kind.__name__ for kind in allowed}))
            raise UsageError(f"training_arguments: {name!r} is {value!r}.", fix=f"It must be {wanted}.")
    try:
        TrainingArguments(output_dir="unused", use_cpu=True, report_to="none", **given)
    except (ValueError, TypeError, ImportError, AttributeError) as error:
        raise UsageError(f"training_arguments: {_first_line(error)}.", fix="Check their values.") from error


def _kinds(declared: Any) -> tuple[type, ...]:
    """Return the classes that a type names; none where it cannot be told."""
    if declared is None:
        return (type(None),)
    if isinstance(declared, type) and typing.get_origin(declared) is None:
        return (str,) if issubclass(declared, enum.Enum) else (declared,)
    origin = typing.get_origin(declared)
    if origin in (typing.Union, types.UnionType):
        return tuple(kind for part in typing.get_args(declared) for kind in _kinds(part))
    if origin is typing.Literal:
        return tuple(type(value) for value in typing.get_args(declared))
    return (origin,) if isinstance(origin, type) else ()


def _fits(value: Any, allowed: tuple[type, ...]) -> bool:
    # A bool is an int to Python, and an int is a float to a reader of YAML.
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, allowed) or (isinstance(value, int) and float in allowed)


def _first_line(error: Exception) -> str:
    lines: Iterable[str] = str(error).strip().splitlines() or [type(error).__name__]
    return next(iter(lines)).rstrip(".")
