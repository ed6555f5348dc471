"""The settings of a run: frozen data, one source for flags, help text, YAML and the run folder."""

import difflib
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hflm.errors import UsageError


def setting(default: Any, help: str, *, group: str, flags: tuple[str, ...] = ()) -> Any:
    """Declare one setting: its default, the text of `--help` and the panel it stands in."""
    metadata = {"help": help, "group": group, "flags": flags}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that decides what `hflm pretrain` does; `None` means: worked out, and printed."""

    data: tuple[str, ...] = setting(
        (), "Files, folders, globs or a hub data set id. Default: a small corpus of novels.", group="Data"
    )
    eval_data: tuple[str, ...] = setting(
        (), "Text to evaluate on; default: a part of the data is held out.", group="Data"
    )
    eval_fraction: float = setting(0.05, "Share of the data held out where no --eval-data is given.", group="Data")
    documents: str = setting(
        "auto", "What a document is in a .txt file: line, paragraph (blank lines), file or auto.", group="Data"
    )
    text_column: str | None = setting(None, "Column with the text in .jsonl, .csv and .parquet files.", group="Data")
    clean: str = setting(
        "default", "Cleaning filters: default, all, none, a list, or changes such as +near,-exact.", group="Data"
    )
    max_documents: int | None = setting(None, "Read no more documents than this.", group="Data")
    streaming: bool = setting(False, "Read and tokenize while training: for data larger than the disk.", group="Data")

    tokenizer: str | None = setting(
        None, "wordpiece, bpe or unigram (trained on the data), or an existing tokenizer.", group="Tokenizer"
    )
    vocab_size: int | None = setting(
        None, "Size of a trained vocabulary; default: by the amount of text, at most 32768.", group="Tokenizer"
    )
    lowercase: bool = setting(False, "Lowercase the text in a trained tokenizer.", group="Tokenizer")

    model: str | None = setting(None, "Go on from these weights: a folder, a run or a hub id.", group="Model")
    arch: str | None = setting(
        None,
        "Architecture from scratch: modernbert, bert, roberta, distilbert, deberta-v2, llama, gpt2, ...",
        group="Model",
    )
    size: str = setting("mini", "tiny (2 x 128), mini (4 x 256), small (4 x 512) or base (12 x 768).", group="Model")
    layers: int | None = setting(None, "Number of layers; overrides --size.", group="Model")
    heads: int | None = setting(None, "Number of attention heads; overrides --size.", group="Model")
    width: int | None = setting(None, "Hidden width; overrides --size.", group="Model")
    dropout: float = setting(0.0, "Dropout everywhere in the model.", group="Model")
    max_length: int = setting(128, "Tokens in a packed sequence.", group="Model")

    objective: str = setting(
        "mlm", "mlm (masked tokens), wwm (whole words masked) or clm (next token).", group="Objective"
    )
    mlm_probability: float = setting(
        0.30, "Share of tokens to predict in training; evaluation always uses 0.15.", group="Objective"
    )

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
    learning_rate: float = setting(2e-3, "Peak learning rate.", group="Training", flags=("--lr",))
    schedule: str = setting(
        "trapezoid", "trapezoid (warm up, hold, decay) or linear (warm up, decay).", group="Training"
    )
    warmup: float = setting(
        0.06,
        "Warm-up: a share of the steps, or a number of steps from 1 on.",
        group="Training",
        flags=("--warmup-steps",),
    )
    decay: float = setting(0.5, "Share of the steps in which a trapezoid falls to zero.", group="Training")
    optimizer: str = setting("muon", "muon (matrices by Muon, the rest by AdamW) or adamw.", group="Training")
    weight_decay: float = setting(0.01, "Weight decay.", group="Training")
    max_grad_norm: float = setting(1.0, "Gradients are clipped to this norm; 0 leaves them alone.", group="Training")
    precision: str = setting("auto", "auto, fp32, bf16 or fp16.", group="Training")
    torch_compile: bool = setting(False, "Compile the model: pays on runs of many minutes.", group="Training")
    recipe: str = setting(
        "pretraining",
        "Numbers to start from: pretraining, classic (BERT, Devlin et al. 2019), or your own .py.",
        group="Training",
    )
    seed: int = setting(1, "Seed of the weights, the data order and the masks.", group="Training")
    threads: int | None = setting(None, "CPU threads; default: all cores.", group="Training")

    eval_steps: int | None = setting(None, "Evaluate every this many steps; default: five times a run.", group="Saving")
    save_steps: int | None = setting(
        None, "Save a checkpoint every this many steps; default: with each evaluation.", group="Saving"
    )
    save_total_limit: int = setting(2, "Checkpoints to keep.", group="Saving")
    logging_steps: int = setting(10, "Log the loss every this many steps.", group="Saving")
    patience: int | None = setting(None, "Stop after this many evaluations without a better loss.", group="Saving")
    report_to: tuple[str, ...] = setting((), "Also log to tensorboard, wandb or trackio.", group="Saving")
    license: str | None = setting(None, "Licence named in the model card.", group="Saving")
    training_arguments: Mapping[str, Any] = setting(
        {}, "Any other field of transformers.TrainingArguments (in --config only).", group="Saving"
    )


CHOICES: dict[str, tuple[str, ...]] = {
    "documents": ("auto", "line", "paragraph", "file"),
    "objective": ("mlm", "wwm", "clm"),
    "schedule": ("trapezoid", "linear"),
    "optimizer": ("muon", "adamw"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
}
POSITIVE = (
    "max_length", "batch_size", "micro_batch_size", "vocab_size", "layers", "heads", "width", "max_steps", "epochs",
    "eval_steps", "save_steps", "save_total_limit", "logging_steps", "patience", "max_documents", "threads",
)  # fmt: skip
NOT_NEGATIVE = ("learning_rate", "weight_decay", "max_grad_norm", "warmup", "seed")
# Tokens in a sequence: the two that frame a text, and some text between them.
SHORTEST = 8
SHARES = ("mlm_probability", "dropout", "eval_fraction", "decay")


def resolve(
    *,
    recipe: Mapping[str, Any],
    file: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    where: str = "the command line",
) -> PretrainConfig:
    """Put a configuration together: the recipe's numbers, then the file, then the flags.

    Raises UsageError for an unknown key, a value of the wrong type or out of its range.
    """
    given = {**(file or {}), **(flags or {})}
    # A recipe that starts from scratch gives way to weights that the user names.
    usual = {name: value for name, value in recipe.items() if not (name == "arch" and given.get("model"))}
    if given.get("objective") == "clm":
        usual.pop("arch", None)
    return build({**usual, **given}, where=where)


def build(values: Mapping[str, Any], *, where: str) -> PretrainConfig:
    """Build and check a configuration from plain values; `where` is named in errors."""
    known = {item.name: item for item in fields(PretrainConfig)}
    for name in values:
        if name not in known:
            guess = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {guess[0]!r}?" if guess else "`hflm pretrain --help` lists them all."
            raise UsageError(f"Unknown setting {name!r} in {where}.", fix=hint)
    config = PretrainConfig(**{name: _typed(name, value, where) for name, value in values.items()})
    check(config)
    return config


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping of settings from a YAML file."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.", fix="Check the path given to --config.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{line} is not YAML.", fix="Write one `name: value` a line.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings.", fix="Write one `name: value` a line.")
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def to_dict(config: PretrainConfig) -> dict[str, Any]:
    """Return the settings as plain values that YAML and JSON can hold."""
    values = ((item.name, getattr(config, item.name)) for item in fields(config))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def to_yaml(config: PretrainConfig) -> str:
    """Return the settings as YAML that `--config` reads back."""
    import yaml

    return str(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True))


def check(config: PretrainConfig) -> None:
    """Raise UsageError where a value is out of its range or two settings contradict each other."""
    for name, allowed in CHOICES.items():
        value = getattr(config, name)
        if value not in allowed:
            guess = difflib.get_close_matches(str(value), allowed, 1)
            hint = f"Did you mean {guess[0]!r}?" if guess else f"Choose one of {', '.join(allowed)}."
            raise UsageError(f"--{flag(name)} is {value!r}.", fix=hint)
    _check_ranges(config)
    lengths = [name for name in ("budget", "max_steps", "epochs") if getattr(config, name) is not None]
    if len(lengths) > 1:
        raise UsageError(
            f"--{flag(lengths[0])} and --{flag(lengths[1])} contradict each other.", fix="Give one of them."
        )
    if config.budget is not None:
        seconds(config.budget)
    if config.micro_batch_size and config.batch_size % config.micro_batch_size:
        near = max(n for n in range(1, config.micro_batch_size + 1) if config.batch_size % n == 0)
        raise UsageError(
            f"--batch-size {config.batch_size} is no multiple of --micro-batch-size {config.micro_batch_size}.",
            fix=f"Pass --micro-batch-size {near}.",
        )
    if config.model and config.arch:
        raise UsageError("--model goes on from weights and --arch starts from scratch.", fix="Give one of them.")


def _check_ranges(config: PretrainConfig) -> None:
    for names, low, text in ((POSITIVE, 0.0, "more than 0"), (NOT_NEGATIVE, None, "0 or more")):
        for name in names:
            value = getattr(config, name)
            if value is not None and not (math.isfinite(value) and (value > low if low is not None else value >= 0)):
                raise UsageError(f"--{flag(name)} is {value}.", fix=f"It must be {text}.")
    if config.max_length < SHORTEST:
        raise UsageError(f"--max-length is {config.max_length}.", fix=f"It must be {SHORTEST} or more.")
    for name in SHARES:
        value = getattr(config, name)
        if not 0 <= value < 1 or (name == "mlm_probability" and value == 0):
            raise UsageError(f"--{flag(name)} is {value}.", fix="It is a share, such as 0.1.")


def flag(name: str) -> str:
    """Return a setting's name as it is written on the command line."""
    return name.replace("_", "-")


def seconds(budget: str) -> float:
    """Read a duration such as 90s, 10m, 1.5h or 90 (seconds)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", budget.strip().lower())
    if not match or float(match[1]) == 0:
        raise UsageError(f"--budget {budget!r} is no duration.", fix="Write 90s, 10m or 2h.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _typed(name: str, value: Any, where: str) -> Any:
    """Turn a value from YAML or a flag into the declared type of the setting."""
    declared = typing.get_type_hints(PretrainConfig)[name]
    if typing.get_origin(declared) is types.UnionType:
        if value is None:
            return None
        declared = next(kind for kind in typing.get_args(declared) if kind is not type(None))
    if typing.get_origin(declared) is tuple:
        return (value,) if isinstance(value, str) else tuple(str(item) for item in value or ())
    if typing.get_origin(declared) is Mapping or typing.get_origin(declared) is not None:
        declared = dict
    # YAML 1.1 reads 2e-3 as text: a number that float() understands is what was meant.
    if declared in (int, float) and isinstance(value, str):
        value = _number(value)
    if declared is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if declared is str and isinstance(value, int) and name == "budget":
        value = str(value)
    if not isinstance(value, declared) or (declared is int and isinstance(value, bool)):
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a mapping"}[
            declared
        ]
        raise UsageError(f"{name!r} in {where} is {value!r}.", fix=f"It must be {wanted}.")
    return value


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
