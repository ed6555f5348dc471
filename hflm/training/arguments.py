"""The settings of a training, as the Trainer wants them."""

from typing import Any

import torch

from hflm.engine import ranks
from hflm.engine.order import Placed
from hflm.training.training import Training, autocast, evaluate_every, save_every


def training_arguments(training: Training) -> Any:
    from transformers import TrainingArguments

    config = training.config
    metric, larger = training.best
    values: dict[str, Any] = {
        "output_dir": str(training.run.checkpoints),
        "per_device_train_batch_size": training.split.micro_batch,
        "gradient_accumulation_steps": training.split.accumulation,
        "per_device_eval_batch_size": training.eval_batch,
        "max_steps": training.course.steps,
        "learning_rate": config.learning_rate,
        "max_grad_norm": config.max_grad_norm,
        "bf16": training.device.precision == "bf16",
        "fp16": training.device.precision == "fp16",
        "use_cpu": training.device.kind == "cpu",
        "torch_compile": config.torch_compile,
        "eval_strategy": "steps",
        "eval_steps": evaluate_every(training),
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
    if ranks.world() > 1 and config.strategy == "ddp":
        values["ddp_find_unused_parameters"] = has_idle_weights(training)
    if config.strategy.startswith("zero"):
        values["deepspeed"] = zero_settings(training)
    arguments = TrainingArguments(**{**values, **config.training_arguments})
    # With more, the Trainer would put a process that is alone into nn.DataParallel.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def zero_settings(training: Training) -> dict[str, Any]:
    """Return the configuration of DeepSpeed for zero2 (gradients and optimizer shared out) or zero3 (weights too).

    https://www.deepspeed.ai/docs/config-json
    """
    config, split = training.config, training.split
    return {
        "zero_optimization": {
            "stage": int(config.strategy.removeprefix("zero")), "stage3_gather_16bit_weights_on_model_save": True,
        },
        "train_micro_batch_size_per_gpu": split.micro_batch,
        "gradient_accumulation_steps": split.accumulation,
        "gradient_clipping": config.max_grad_norm,
        "bf16": {"enabled": training.device.precision == "bf16"},
        # The optimizer is hflm's.
        "zero_allow_untested_optimizer": True,
    }  # fmt: skip


def layer_drop(model: Any) -> float:
    """Return how likely a step leaves out a layer, as M2M100 and its like do; 0.0 where none is left out."""
    return max((float(getattr(module, "layerdrop", None) or 0.0) for module in model.modules()), default=0.0)


def has_idle_weights(training: Training) -> bool:
    """Tell whether there are weights to train that a step gives no gradient, for which DDP would wait.

    Looking for them at every step takes time, so it is looked for once. A row of the evaluation is tried: a stream of
    training rows does not go back. Where layers are left out by chance, one trial shows nothing.
    """
    if layer_drop(training.model):
        return True
    model, family = training.model, training.family
    batch = family.collate([Placed(training.eval_rows)[0, 0]])
    with torch.random.fork_rng(devices=[]):
        model.train()
        with autocast(training.device):
            family.sums(model, {name: value.to(training.device.kind) for name, value in batch.items()}).loss.backward()
    idle = any(weight.requires_grad and weight.grad is None for weight in model.parameters())
    model.zero_grad()
    return bool(ranks.agreed(idle))
