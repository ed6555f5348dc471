"""A shallower copy of a model: some of its layers, taken evenly, and everything else as it is."""

import copy
from pathlib import Path
from typing import Any

from hflm.errors import ModelError, UsageError

# What configurations call the number of layers, of the only stack or of encoder and decoder.
COUNTS = {
    "": ("num_hidden_layers",), "encoder": ("encoder_layers", "num_layers"),
    "decoder": ("decoder_layers", "num_decoder_layers"),
}  # fmt: skip

# Settings that, where they are lists, say something of every layer, by its number. They are known by their names: lists
# of other things, as of labels or languages, may be as long by chance.
OF_LAYERS = {
    "activation_sparsity_pattern", "attention_layers", "attention_window", "attn_layers", "indexer_types",
    "intermediate_size", "layer_rope_theta", "layer_types", "layers_block_type", "mlp_layer_types", "moe_topk",
    "no_rope_layers", "num_attention_heads_per_layer", "num_experts", "swiglu_limits", "swiglu_limits_shared",
}  # fmt: skip


def evenly(layers: int, count: int) -> list[int]:
    """Choose `count` of so many layers, evenly, the first and the last among them.

    6 of 12 are 0, 2, 4, 7, 9 and 11, those of DistilBERT (Sanh et al. 2019); a single one is the first.
    """
    return [round(n * (layers - 1) / max(count - 1, 1)) for n in range(count)]


def save_shallow(model: Any, layers: int, folder: Path, *, keep: str = "evenly") -> None:
    """Write a copy of `model` with so many layers into `folder`; of an encoder-decoder, in each of its two stacks.

    `keep` takes the layers evenly, or the first ones, which may do better where few are left (Sajjad et al. 2020).
    Raises UsageError where the model does not have more layers, ModelError where it does not keep them in a list.
    """
    student = copy.deepcopy(model)
    config = student.config
    for name, stack in _stacks(student).items():
        setting, list_of = _layers(stack, config, COUNTS[name])
        if layers > len(list_of):
            raise UsageError(f"--student-layers {layers}: the teacher has {len(list_of)}.", fix="Ask for fewer.")
        kept = evenly(len(list_of), layers) if keep == "evenly" else list(range(layers))
        setattr(config, setting, layers)
        _keep_settings(config, kept, layers=len(list_of))
        _keep(student, list_of, kept)
    student.save_pretrained(folder)


def _keep_settings(config: Any, kept: list[int], *, layers: int) -> None:
    """Leave of lists with a setting for each of so many layers those of the layers that are kept."""
    for name, found in list(vars(config).items()):
        # Some may be longer than the stack. Of an encoder-decoder they are the encoder's, which comes first.
        if name in OF_LAYERS and isinstance(found, (list, tuple)) and len(found) >= layers:
            setattr(config, name, [found[layer] for layer in kept])
    if config.model_type == "gpt_neo":
        # It reads its kinds of attention as pairs of a pattern and how often that comes.
        config.attention_types = [[config.attention_layers, 1]]


def _stacks(model: Any) -> dict[str, Any]:
    if model.config.is_encoder_decoder:
        return {"encoder": model.get_encoder(), "decoder": model.get_decoder()}
    return {"": model.base_model}


def _layers(stack: Any, config: Any, settings: tuple[str, ...]) -> tuple[str, Any]:
    """Return the setting that counts the layers of a stack, and the outermost list of as many modules."""
    from torch import nn

    for part in stack.modules():
        for setting in settings:
            if isinstance(part, nn.ModuleList) and getattr(config, setting, None) == len(part):
                return setting, part
    raise ModelError(f"{config.model_type} does not keep its layers in a list.", fix="Name a --student of its own.")


def side_by_side(model: Any, list_of: Any) -> list[Any]:
    """Return a list of modules and those as long beside it: XLM and FlauBERT keep each part of their layers in one."""
    from torch import nn

    for module in model.modules():
        children = list(module.children())
        if any(child is list_of for child in children):
            return [child for child in children if isinstance(child, nn.ModuleList) and len(child) == len(list_of)]
    return [list_of]


def _keep(model: Any, list_of: Any, kept: list[int]) -> None:
    """Put a list of the layers that are kept in the place of all."""
    from torch import nn

    parts = side_by_side(model, list_of)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if any(child is part for part in parts):
                setattr(module, name, nn.ModuleList([child[layer] for layer in kept]))
