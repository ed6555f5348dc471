"""Hashes that stand for a model or a tokenizer: the same for the same content, wherever it lies."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def weights_key(model: "PreTrainedModel") -> str:
    """Hash the weights of a model, by name."""
    digest = hashlib.sha256()
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:24]


def tokenizer_key(tokenizer: Any) -> str:
    """Hash all that a tokenizer does with a text; of one without a fast form, its vocabulary."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    content = fast.to_str() if fast is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    template = json.dumps(getattr(tokenizer, "chat_template", None), sort_keys=True)
    return hashlib.sha256(f"{content}{template}".encode()).hexdigest()[:24]
