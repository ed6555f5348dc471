"""LoRA: small matrices beside frozen weights, trained alone and merged in the end (Hu et al. 2022)."""

from typing import Any

from hflm.errors import ModelError, UsageError
from hflm.models.shallow import side_by_side


def add_lora(model: Any, *, rank: int, seed: int) -> None:
    """Put LoRA matrices of `rank` beside every linear layer but the head, and freeze the rest.

    The model keeps its class, so that everything that knows it still does. Raises ModelError where it has no
    layers that LoRA knows.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    trained = [name for name, _ in model.named_parameters() if _in_new_head(model, name)]
    # GPT-2 keeps its matrices the other way round.
    turned = any(type(module).__name__ == "Conv1D" for module in model.modules())
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=_targets(model), fan_in_fan_out=turned
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            raise ModelError(f"LoRA does not fit {model.config.model_type}.", fix="Leave --lora-rank away.") from error
    for name, weight in model.named_parameters():
        weight.requires_grad = "lora_" in name or name in trained


def _in_new_head(model: Any, name: str) -> bool:
    """Tell whether a weight belongs to a head of classes or tags, or its pooler, which is trained whole."""
    if model.get_output_embeddings() is not None:
        return False
    return not name.startswith(f"{model.base_model_prefix}.") or "pooler" in name.split(".")[1:2]


def _targets(model: Any) -> list[str]:
    from torch import nn

    output = model.get_output_embeddings()
    found = set()
    for name, module in model.named_modules():
        linear = isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
        if linear and module is not output and not _in_new_head(model, name):
            found.add(name)
    return sorted(found)


def merge_lora(model: Any) -> None:
    """Add the LoRA matrices to the weights beside them and take them out: a plain model stays."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent) if parent else model, own, module.get_base_layer())


def recompute(model: Any) -> None:
    """Keep the input of each layer alone, and compute the rest again on the way back: less memory, more time.

    Raises ModelError for an architecture that transformers cannot do it with, such as ALBERT.
    """
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"transformers has no gradient checkpointing for {model.config.model_type}.",
            fix="Leave --gradient-checkpointing away.",
        )
    # transformers 5.23 has renamed it, and will drop the old name.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
    model.config.use_cache = False


def freeze_layers(model: Any, count: int) -> None:
    """Freeze the embeddings and the first `count` layers; raises UsageError where there are not as many."""
    layers = _layers(model)
    if count > len(layers):
        raise UsageError(f"--freeze {count}: the model has {len(layers)} layers.", fix="Freeze fewer.")
    for module in (*_embeddings(model), *(part for layer in layers[:count] for part in layer)):
        for weight in module.parameters():
            weight.requires_grad = False


def _embeddings(model: Any) -> list[Any]:
    """Return what makes vectors of tokens and places: an encoder's block for it, or the tables beside each other."""
    from torch import nn

    table = model.get_input_embeddings()
    parent = next(module for module in model.modules() if any(child is table for child in module.children()))
    if not any(isinstance(module, nn.ModuleList) for module in parent.modules()):
        return [parent]
    return [child for child in parent.children() if isinstance(child, nn.Embedding)]


def _layers(model: Any) -> list[tuple[Any, ...]]:
    """Return the parts of each layer, one or several: those of the longest list of modules, the first of them."""
    from torch import nn

    longest = max((each for each in model.modules() if isinstance(each, nn.ModuleList)), key=len, default=None)
    return [] if longest is None else list(zip(*side_by_side(model, longest), strict=True))
