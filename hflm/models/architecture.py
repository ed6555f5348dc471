"""Models from scratch: any encoder or decoder of transformers, by its model type and a size."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hflm.errors import ModelError, UsageError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Shape:
    """Layers, hidden width and attention heads of a model."""

    layers: int
    width: int
    heads: int


# The miniatures of Turc et al. 2019, with heads of 64.
SIZES: Mapping[str, Shape] = {
    "tiny": Shape(2, 128, 2),
    "mini": Shape(4, 256, 4),
    "small": Shape(4, 512, 8),
    "base": Shape(12, 768, 12),
}
DEFAULT_ARCH = {"mlm": "modernbert", "wwm": "modernbert", "clm": "llama"}
# Rotary positions turn pairs of numbers, so a head of theirs is even.
ROTARY = {"modernbert", "llama", "qwen2", "qwen3", "mistral", "gemma", "gpt_neox"}
# A gated feed-forward layer has three matrices: 8/3 of the width makes as many parameters as 4 x with two.
GATED = {"modernbert", "llama", "qwen2", "qwen3", "mistral", "gemma"}


def choose_shape(*, size: str, layers: int | None, width: int | None, heads: int | None) -> Shape:
    """Take a size by its name and override what is given; a width alone brings heads of 64."""
    if size not in SIZES:
        guess = difflib.get_close_matches(size, SIZES, 1)
        fix = f"Did you mean {guess[0]!r}?" if guess else f"Choose one of {', '.join(SIZES)}."
        raise UsageError(f"--size is {size!r}.", fix=fix)
    base = SIZES[size]
    if width and not heads:
        heads = max(1, width // 64)
    return Shape(layers or base.layers, width or base.width, heads or base.heads)


def check_shape(arch: str, shape: Shape, *, objective: str) -> None:
    """Raise ModelError where the architecture is unknown, does not fit the objective, or the heads do not fit."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    names = {"clm": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES}.get(objective, MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    other = MODEL_FOR_MASKED_LM_MAPPING_NAMES if objective == "clm" else MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if objective == "clm" and arch in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ModelError(
            f"{arch} is an encoder and predicts masked tokens.", fix="Pass --objective mlm, or --arch llama."
        )
    if arch not in names and arch in other:
        raise ModelError(f"{arch} is a decoder and predicts next tokens.", fix="Pass --objective clm, or --arch bert.")
    if arch not in names:
        guess = difflib.get_close_matches(arch, list(names), 1)
        fix = f"Did you mean {guess[0]!r}?" if guess else "Try modernbert, bert, roberta, distilbert, llama or gpt2."
        raise ModelError(f"transformers has no architecture {arch!r} for --objective {objective}.", fix=fix)
    if shape.width % shape.heads:
        near = min((n for n in range(1, shape.width + 1) if shape.width % n == 0), key=lambda n: abs(n - shape.heads))
        raise ModelError(f"{shape.heads} heads do not divide a width of {shape.width}.", fix=f"Pass --heads {near}.")
    if arch in ROTARY and (shape.width // shape.heads) % 2:
        raise ModelError(
            f"{arch} needs heads of an even width; {shape.width} / {shape.heads} is {shape.width // shape.heads}.",
            fix="Change --heads or --width.",
        )


def build_config(
    *,
    arch: str,
    shape: Shape,
    vocab_size: int,
    max_length: int,
    tokenizer: "PreTrainedTokenizerBase",
    dropout: float = 0.0,
) -> "PretrainedConfig":
    """Build the configuration of a model from scratch; every special id comes from the tokenizer."""
    from transformers import AutoConfig

    kind = type(AutoConfig.for_model(arch))
    known = set(kind().to_dict())
    names = kind.attribute_map
    values: dict[str, Any] = {
        "vocab_size": vocab_size,
        names.get("hidden_size", "hidden_size"): shape.width,
        names.get("num_hidden_layers", "num_hidden_layers"): shape.layers,
        names.get("num_attention_heads", "num_attention_heads"): shape.heads,
        **_feed_forward(arch, shape.width),
        **_positions(arch, max_length),
        **{
            f"{name}_token_id": getattr(tokenizer, f"{name}_token_id", None)
            for name in ("pad", "bos", "eos", "cls", "sep")
        },
        **{name: dropout for name in known if "drop" in name and name != "classifier_dropout"},
        **EXTRAS.get(arch, {}),
    }
    if "num_key_value_heads" in known:
        values["num_key_value_heads"] = shape.heads
    if "head_dim" in known:
        values["head_dim"] = shape.width // shape.heads
    if "embedding_size" in known:
        values["embedding_size"] = shape.width
    known |= {"tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"} | set(names)
    return kind(**{"tie_word_embeddings": True, **{name: value for name, value in values.items() if name in known}})


EXTRAS: Mapping[str, Mapping[str, Any]] = {
    # Disentangled attention (He et al. 2021): content to position and back, positions in the scores only.
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "position_buckets": 64,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "type_vocab_size": 0,
    },
}


def _feed_forward(arch: str, width: int) -> dict[str, int]:
    size = -(-width * 8 // 3 // 64) * 64 if arch in GATED else 4 * width
    return {"intermediate_size": size, "hidden_dim": size, "n_inner": size, "ffn_dim": size}


def _positions(arch: str, max_length: int) -> dict[str, int]:
    # RoBERTa and its kin count positions from the padding id on, and so need two more.
    size = max_length + 2 if arch in {"roberta", "xlm-roberta", "camembert", "longformer"} else max_length
    return {"max_position_embeddings": size, "n_positions": size}


def build_model(config: "PretrainedConfig", *, objective: str, seed: int) -> "PreTrainedModel":
    """Build a model with weights drawn from `seed`; the global random state is left as it was."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    factory = AutoModelForCausalLM if objective == "clm" else AutoModelForMaskedLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = factory.from_config(config)  # type: ignore[no-untyped-call]
    return model


def count_parameters(model: "PreTrainedModel") -> int:
    """Count the parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
