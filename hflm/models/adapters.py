"""LoRA: small matrices beside frozen weights, trained alone and merged in the end (Hu et al. 2022)."""

from typing import Any

from hflm.errors import ModelError, UsageError


def add_lora(model: Any, *, rank: int, seed: int) -> None:
    """Put LoRA matrices of `rank` beside every linear layer but the head, and freeze the rest.

    The model keeps its class, so that everything that knows it still does. Raises ModelError where it has no
    layers that LoRA knows.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    heads = ("classifier", "score") if hasattr(model.config, "id2label") else ()
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=_targets(model))
    trained = [name for name, _ in model.named_parameters() if name.split(".")[0] in heads]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            raise ModelError(f"LoRA does not fit {model.config.model_type}.", fix="Leave --lora-rank away.") from error
    for name, weight in model.named_parameters():
        weight.requires_grad = "lora_" in name or name in trained


def _targets(model: Any) -> list[str]:
    from torch import nn

    output = model.get_output_embeddings()
    found = set()
    for name, module in model.named_modules():
        linear = isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
        if linear and module is not output and name.split(".")[0] not in ("classifier", "score", "lm_head"):
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


def freeze_layers(model: Any, count: int) -> None:
    """Freeze the embeddings and the first `count` layers; raises UsageError where there are not as many."""
    layers = _layers(model)
    if count > len(layers):
        raise UsageError(f"--freeze {count}: the model has {len(layers)} layers.", fix="Freeze fewer.")
    for module in (model.get_input_embeddings(), *layers[:count]):
        for weight in module.parameters():
            weight.requires_grad = False


def _layers(model: Any) -> list[Any]:
    """Return the longest list of modules: the layers, of the encoder where there are two as long."""
    from torch import nn

    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])
