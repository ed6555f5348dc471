"""From settings and data to a Trainer: the model, the family, the split of a batch, the number of steps."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from hflm.config import PretrainConfig
from hflm.data.masking import Masking
from hflm.engine.budget import probe
from hflm.engine.device import Device, choose_device, fast_attention
from hflm.engine.optimizer import build_optimizer
from hflm.engine.order import Order
from hflm.engine.schedule import factor, warmup_steps
from hflm.engine.split import Split, split_batch
from hflm.engine.trainer import EngineTrainer, eval_sums, quiet_libraries
from hflm.errors import CheckpointError, UsageError
from hflm.families.language_model import CausalLM, Family, MaskedLM
from hflm.models.architecture import build_config, build_model, choose_shape, count_parameters, position_offset
from hflm.models.attention import BIDIRECTIONAL, CAUSAL
from hflm.models.load import load_language_model
from hflm.models.tokenizer import continuation_flags, special_flags
from hflm.prepare import Prepared, prepare
from hflm.run import RunFolder, read_json, write_json
from hflm.settings import seconds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EVALUATIONS = 5
DEFAULT_EPOCHS = 3.0


@dataclass(frozen=True)
class Setup:
    """Everything that training needs, built and checked."""

    config: PretrainConfig
    run: RunFolder
    arch: str
    data: Prepared
    model: "PreTrainedModel"
    family: Family
    device: Device
    split: Split
    steps: int


def set_up(config: PretrainConfig, run: RunFolder, *, arch: str, say: Callable[[str], None]) -> Setup:
    """Prepare the data and build the model; nothing is written into the run folder yet."""
    quiet_libraries()
    _check_arguments(config.training_arguments)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.precision)
    loaded = load_language_model(config.model, objective=config.objective) if config.model else None
    arch = loaded.config.model_type if loaded else arch
    max_length = _length(config, loaded)
    data = prepare(config, arch=arch, max_length=max_length, pack=arch in BIDIRECTIONAL | CAUSAL, say=say)
    model = loaded or _build(config, arch, data, max_length)
    if arch in BIDIRECTIONAL | CAUSAL and (attention := fast_attention(device, max_length=max_length)):
        model.set_attn_implementation(attention)
    family = _family(config, data, model)
    split = split_batch(
        config.batch_size, micro_batch=config.micro_batch_size, processes=1, max_length=max_length,
        gpu=device.kind == "cuda",
    )  # fmt: skip
    say(f"model: {arch}, {count_parameters(model):,} parameters, {device.kind} {device.precision}")
    say(f"batch: {split}")
    model.to(device.kind)  # type: ignore[arg-type]
    return Setup(config, run, arch, data, model, family, device, split, steps=0)


def _check_arguments(names: Iterable[str]) -> None:
    from transformers import TrainingArguments

    unknown = set(names) - set(TrainingArguments.__dataclass_fields__)
    if unknown:
        raise UsageError(
            f"transformers.TrainingArguments has no {sorted(unknown)[0]!r}.", fix="Check training_arguments."
        )


def _length(config: PretrainConfig, loaded: "PreTrainedModel | None") -> int:
    if loaded is None:
        return config.max_length
    limit = getattr(loaded.config, "max_position_embeddings", config.max_length)
    limit -= position_offset(loaded.config.model_type, pad_token_id=loaded.config.pad_token_id)
    return min(config.max_length, limit)


def _build(config: PretrainConfig, arch: str, data: Prepared, max_length: int) -> "PreTrainedModel":
    shape = choose_shape(size=config.size, layers=config.layers, width=config.width, heads=config.heads)
    built = build_config(
        arch=arch, shape=shape, vocab_size=len(data.tokenizer), max_length=max_length, tokenizer=data.tokenizer,
        dropout=config.dropout,
    )  # fmt: skip
    return build_model(built, objective=config.objective, seed=config.seed)


def _family(config: PretrainConfig, data: Prepared, model: "PreTrainedModel") -> Family:
    if config.objective == "clm":
        return CausalLM()
    if data.tokenizer.mask_token_id is None:
        raise UsageError("The tokenizer has no mask token.", fix="Pass --objective clm, or another --tokenizer.")
    masking = Masking(
        probability=config.mlm_probability,
        mask_id=data.tokenizer.mask_token_id,
        special=special_flags(data.tokenizer),
        continuation=continuation_flags(data.tokenizer) if config.objective == "wwm" else None,
        seed=config.seed,
    )
    family = MaskedLM(masking)
    family.prepare(model)
    return family


def fix_steps(setup: Setup, *, resume: bool, spent: float, say: Callable[[str], None]) -> Setup:
    """Fix the number of steps: as recorded, as asked, or as many as the budget holds."""
    config, run = setup.config, setup.run
    if resume:
        if not run.plan.exists():
            raise CheckpointError(f"{run.path} never began to train.", fix="Start it again with --overwrite.")
        plan = read_json(run.plan)
        if plan["data"] != setup.data.key:
            raise UsageError(
                f"The data of {run.path} has changed since the run began "
                f"(was {plan['data'][:8]}, is {setup.data.key[:8]}).",
                fix="Restore it, or start a new run.",
            )
        return replace(setup, steps=int(plan["steps"]))
    steps, plan = config.max_steps, {"data": setup.data.key, "split": str(setup.split)}
    if config.budget:
        steps, plan["step_seconds"] = _steps_in(setup, seconds(config.budget) - spent)
        say(f"budget: {config.budget} holds {steps:,} steps of {1000 * float(plan['step_seconds']):.0f} ms")
    elif steps is None:
        rows = setup.data.report["rows"]
        steps = math.ceil((config.epochs or DEFAULT_EPOCHS) * rows / config.batch_size)
    write_json(run.plan, {"steps": steps, **plan})
    return replace(setup, steps=steps)


def _steps_in(setup: Setup, left: float) -> tuple[int, float]:
    """Probe steps and evaluation, and return how many steps fit in the seconds left, and the time of one."""
    rows = setup.data.stream(10**9) if setup.data.stream else setup.data.rows
    assert rows is not None
    context = partial(_autocast, setup.device)
    begin = time.perf_counter()
    sample = range(min(len(setup.data.eval_rows), 64))
    one = [setup.data.eval_rows[index] for index in sample]
    eval_sums(setup.model, one, family=setup.family, batch_size=32, context=context, device=setup.device.kind)
    evaluation = (time.perf_counter() - begin) * len(setup.data.eval_rows) / len(one)
    found = probe(
        setup.model, family=setup.family, rows=rows, order=_order(setup, steps=10**6), split=setup.split,
        make_optimizer=_optimizer(setup), context=context, seconds=min(10.0, 0.05 * left),
        device=setup.device.kind,
    )  # fmt: skip
    left -= time.perf_counter() - begin
    steps = int((left - EVALUATIONS * evaluation) / (found.step_seconds * 1.02))
    if steps < 10:
        raise UsageError(
            f"--budget {setup.config.budget} holds {max(steps, 0)} steps of {found.step_seconds:.2f} s.",
            fix="Give more time, or a smaller --size or --batch-size.",
        )
    return steps, found.step_seconds


def _autocast(device: Device) -> Any:
    return torch.autocast(device.kind, dtype=device.dtype, enabled=device.precision != "fp32")


def _optimizer(setup: Setup) -> Any:
    config = setup.config
    return partial(
        build_optimizer, name=config.optimizer, lr=config.learning_rate, weight_decay=config.weight_decay,
        dtype=torch.bfloat16 if setup.device.precision == "bf16" else torch.float32,
    )  # fmt: skip


def _order(setup: Setup, *, steps: int) -> Any:
    total = steps * setup.config.batch_size
    if setup.data.stream:
        return Order(total, total=total, seed=setup.config.seed, shuffle=False)
    assert setup.data.rows is not None
    return Order(len(setup.data.rows), total=total, seed=setup.config.seed)


def make_trainer(setup: Setup, *, callbacks: list[Any]) -> EngineTrainer:
    """Map the settings onto the Trainer."""
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

    config, steps = setup.config, setup.steps
    warmup = warmup_steps(config.warmup, steps=steps)
    rows = setup.data.stream(steps * config.batch_size) if setup.data.stream else setup.data.rows
    assert rows is not None
    trainer = EngineTrainer(
        model=setup.model, args=_training_arguments(setup), family=setup.family, rows=rows,
        eval_rows=setup.data.eval_rows, order=_order(setup, steps=steps), make_optimizer=_optimizer(setup),
        rate=partial(factor, name=config.schedule, steps=steps, warmup=warmup, decay=config.decay),
        keep=config.save_total_limit, callbacks=callbacks,
    )  # fmt: skip
    if config.patience:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=config.patience))
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


def _training_arguments(setup: Setup) -> Any:
    from transformers import TrainingArguments

    config = setup.config
    every = config.eval_steps or math.ceil(setup.steps / EVALUATIONS)
    values: dict[str, Any] = {
        "output_dir": str(setup.run.checkpoints),
        "per_device_train_batch_size": setup.split.micro_batch,
        "gradient_accumulation_steps": setup.split.accumulation,
        "per_device_eval_batch_size": 32,
        "max_steps": setup.steps,
        "learning_rate": config.learning_rate,
        "max_grad_norm": config.max_grad_norm,
        "bf16": setup.device.precision == "bf16",
        "fp16": setup.device.precision == "fp16",
        "use_cpu": setup.device.kind == "cpu",
        "torch_compile": config.torch_compile,
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": config.save_steps or every,
        "logging_steps": config.logging_steps,
        "logging_nan_inf_filter": False,
        "metric_for_best_model": "loss",
        "greater_is_better": False,
        "seed": config.seed,
        "report_to": list(config.report_to) or "none",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "run_name": setup.run.path.name,
    }
    return TrainingArguments(**{**values, **config.training_arguments})


def tokens_per_step(setup: Setup) -> int:
    """Return the tokens of a global batch."""
    return int(setup.config.batch_size * setup.data.eval_rows.ids.shape[1])
