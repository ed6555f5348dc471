"""Names that mean nearly the same, by the cosine of what an encoder makes of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hflm.errors import ModelError
from hflm.models.hub import from_cache_or_hub
from hflm.models.load import model_folder
from hflm.models.tokenizer import load_tokenizer

BATCH, BLOCK = 128, 1024


@torch.inference_mode()
def embed(names: Sequence[str], *, model: str) -> NDArray[np.float32]:
    """Return a vector [D] of length 1 for each name: the mean over its tokens (Reimers and Gurevych 2019).

    A name that has a token which the vocabulary lacks gets zeros: all such tokens are one to the model.
    """
    from transformers import AutoModel

    where = model_folder(model)
    tokenizer = load_tokenizer(where)
    # A decoder's may be set to the left, and without a place for each token it would count them from the padding.
    tokenizer.padding_side = "right"
    encoder = from_cache_or_hub(
        lambda local: AutoModel.from_pretrained(where, trust_remote_code=False, local_files_only=local),
        where, what="weights of", fix="Name an encoder, such as minilm.",
    ).eval()  # fmt: skip
    if encoder.config.is_encoder_decoder:
        raise ModelError(f"{model} is an encoder-decoder.", fix="Name an encoder, such as minilm.")
    found = []
    for at in range(0, len(names), BATCH):
        inputs: Any = tokenizer(
            list(names[at : at + BATCH]), padding=True, truncation=True, max_length=64, return_tensors="pt",
            return_special_tokens_mask=True,
        )  # fmt: skip
        # Of some tokenizers what pads or opens a text has the number of the unknown token too.
        said = inputs.pop("special_tokens_mask") == 0  # [B, T]
        hidden = encoder(**inputs).last_hidden_state  # [B, T, D]
        mask = inputs["attention_mask"].unsqueeze(-1)
        vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
        if tokenizer.unk_token_id is not None:
            vectors[((inputs["input_ids"] == tokenizer.unk_token_id) & said).any(dim=1)] = 0
        found.append(vectors.float().numpy())
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


def pairs_alike(vectors: NDArray[np.float32], *, least: float) -> Iterator[tuple[int, int]]:
    """Yield (one, other) with a cosine of at least `least`; memory is a block of rows against all."""
    for at in range(0, len(vectors), BLOCK):
        cosines = vectors[at : at + BLOCK] @ vectors.T
        for one, other in zip(*np.nonzero(cosines >= least), strict=True):
            if at + int(one) < int(other):
                yield at + int(one), int(other)
