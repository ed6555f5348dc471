"""Several documents in one row, without attention from one to another."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Model types whose forward takes a ready mask [B, 1, T, T] as it is and positions [B, T]; each is proved in
# tests/models/test_attention.py. Any other gets one document a row.
BIDIRECTIONAL = {"bert", "roberta", "xlm-roberta", "distilbert", "electra", "modernbert"}
CAUSAL = {"llama", "gpt2", "qwen2", "qwen3", "mistral"}
# These count positions from the padding id on.
OFFSET = {"roberta", "xlm-roberta"}


def supports_packing(config: "PretrainedConfig") -> bool:
    """Tell whether rows may hold several documents for this model."""
    return config.model_type in BIDIRECTIONAL | CAUSAL


def packed_inputs(segments: Tensor, *, config: "PretrainedConfig") -> dict[str, Any]:
    """Return the mask and the positions for rows whose documents are numbered by `segments` [B, T], -1 for padding.

    Empty where every row is one whole document: the fastest path. Masks are boolean, True where attention goes.
    Padding attends to itself alone, so that no row of scores is empty.
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
    mask = same[:, None]  # [B, 1, T, T]
    starts = torch.ones_like(segments, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    positions = place - (place * starts).cummax(dim=1).values  # [B, T]
    if config.model_type in OFFSET:
        positions = positions + config.pad_token_id + 1
    if config.model_type == "modernbert":
        # As transformers cuts it: half a window to each side, its ends included.
        near = (place[:, None] - place[None, :]).abs() <= config.sliding_window
        return {"attention_mask": {"full_attention": mask, "sliding_attention": mask & near}, "position_ids": positions}
    return {"attention_mask": mask, "position_ids": positions}
