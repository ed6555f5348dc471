"""Several documents in one row, without attention from one to another."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hflm.models.architecture import position_offset

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Model types whose forward takes a ready mask [B, 1, T, T] as it is and positions [B, T]; each is proved in
# tests/models/test_attention.py. Any other gets one document a row.
BIDIRECTIONAL = {
    "bert", "roberta", "xlm-roberta", "distilbert", "electra", "modernbert", "albert", "camembert", "ernie", "eurobert",
    "nomic_bert", "data2vec-text", "roberta-prelayernorm",
}  # fmt: skip
CAUSAL = {"llama", "gpt2", "qwen2", "qwen3", "mistral", "gemma", "gpt_neox", "phi", "opt", "olmo2", "smollm3"}


def supports_packing(config: "PretrainedConfig") -> bool:
    """Tell whether rows may hold several documents for this model."""
    return config.model_type in BIDIRECTIONAL | CAUSAL


def packed_inputs(segments: Tensor, *, config: "PretrainedConfig") -> dict[str, Any]:
    """Return the mask and the positions for rows whose documents are numbered by `segments` [B, T], -1 for padding.

    Empty where every row is one whole document: the fastest path. Masks [B, 1, T, T] are boolean, True where
    attention goes; eager attention adds its mask, and gets 0 there and the least float32 elsewhere. A model with local
    layers gets one mask for each kind of layer. Padding attends to itself alone, so that no row of scores is empty.
    """
    # The first column is never padding; one document and no padding means every column equals it.
    if bool((segments == segments[:, :1]).all()):
        return {}
    if not supports_packing(config):
        return {"attention_mask": (segments >= 0).long()}
    length = segments.size(1)
    place = torch.arange(length, device=segments.device)
    same = (segments[:, :, None] == segments[:, None, :]) & (segments >= 0)[:, None, :]
    same |= torch.eye(length, dtype=torch.bool, device=segments.device)
    if config.model_type in CAUSAL:
        same &= place[:, None] >= place[None, :]
    starts = torch.ones_like(segments, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    positions = place - (place * starts).cummax(dim=1).values  # [B, T]
    positions = positions + position_offset(config.model_type, pad_token_id=config.pad_token_id)
    return {"attention_mask": _masks(same[:, None], place, config), "position_ids": positions}


def _masks(mask: Tensor, place: Tensor, config: "PretrainedConfig") -> "Tensor | dict[str, Tensor]":
    """Cut the mask to the window of local layers, as transformers cuts it, and bring it into the form to hand over."""
    window = getattr(config, "sliding_window", None)
    local = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if window is None or not (local or config.model_type == "mistral"):
        return _form(mask, config)
    distance = (place[:, None] - place[None, :]).abs()
    # Half a window to each side, its ends included; or the window back, itself included.
    near = mask & (distance < window if config.model_type in CAUSAL else distance <= window)
    if local:
        return {"full_attention": _form(mask, config), "sliding_attention": _form(near, config)}
    return _form(near, config)


def _form(mask: Tensor, config: "PretrainedConfig") -> Tensor:
    if config._attn_implementation != "eager":
        return mask
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)
