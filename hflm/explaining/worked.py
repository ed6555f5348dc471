"""One row of attention worked out with the numbers of the model: softmax(q K^T * scale) (Vaswani et al. 2017, 3.2.1).

Queries and keys are taken where transformers multiplies them: after their projections and the turns of positions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hflm.explaining.opened import Opened
from hflm.explaining.pieces import Piece
from hflm.explaining.reading import Floats, View

RECORDED = "hflm_recorded"
# Keys that are written out; what the others weigh is summed.
SHOWN = 8


@dataclass(frozen=True)
class Term:
    """A key: its token, q . k, that times the scale plus what is added, e to it less the greatest, and the weight."""

    token: str
    product: float
    added: float
    score: float
    exponential: float
    weight: float


@dataclass(frozen=True)
class Worked:
    """The row of one query in one head, the keys that weigh most first; `rest` is the weight of the others."""

    layer: int
    head: int
    token: str
    place: int
    width: int
    scale: float
    query: list[float]
    key: list[float]
    terms: list[Term]
    total: float
    rest: float


def work_out(opened: Opened, view: View, pieces: list[Piece], *, place: int) -> Worked | None:
    """Work out the row of the token at `place`, in the head where it looks hardest at another word.

    Returns None where a model computes attention in another way than by this formula.
    """
    layer, head = _telling_head(view.weights, pieces, place)
    ids = torch.tensor([[piece.id for piece in pieces]], device=opened.device)
    seen = _record(opened, ids)
    if len(seen) <= layer:
        return None
    query, keys, scale, added = seen[layer]
    keys = keys.repeat_interleave(query.size(1) // keys.size(1), dim=1)  # grouped heads share their keys
    q, k = query[0, head, place].double(), keys[0, head].double()  # [d], [T, d]
    products = k @ q
    more = added[0, head if added.size(1) > 1 else 0, place if added.size(2) > 1 else 0].double()
    scores = products * scale + more
    powers = (scores - scores.max()).exp()
    weights = powers / powers.sum()
    if not np.allclose(weights.cpu().numpy(), view.weights[layer, head, place], atol=1e-4):
        return None
    order = weights.argsort(descending=True)[:SHOWN].tolist()
    terms = [
        Term(pieces[one].text, float(products[one]), float(more[one]), float(scores[one]), float(powers[one]),
             float(weights[one]))
        for one in order
    ]  # fmt: skip
    return Worked(
        layer=layer, head=head, token=pieces[place].text, place=place, width=len(q), scale=scale,
        query=q[:4].tolist(), key=k[order[0]][:4].tolist(), terms=terms, total=float(powers.sum()),
        rest=float(1 - sum(term.weight for term in terms)),
    )  # fmt: skip


def _telling_head(weights: Floats, pieces: list[Piece], place: int) -> tuple[int, int]:
    rows = weights[:, :, place].copy()  # [L, H, T]
    dull = [at for at, piece in enumerate(pieces) if piece.special or at == place]
    if len(dull) < len(pieces):
        rows[:, :, dull] = 0
    layer, head, _ = np.unravel_index(int(rows.argmax()), rows.shape)
    return int(layer), int(head)


@torch.no_grad()
def _record(opened: Opened, ids: Tensor) -> list[tuple[Tensor, Tensor, float, Tensor]]:
    """Return queries [1, H, T, d], keys, scale, and what is added to the scores [1, H or 1, T or 1, T], by layer."""
    seen: list[tuple[Tensor, Tensor, float, Tensor]] = []
    model = opened.model.get_encoder() if opened.kind == "seq2seq" else opened.model
    with _recording(opened.model, seen):
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return seen


@contextmanager
def _recording(model: Any, seen: list[tuple[Tensor, Tensor, float, Tensor]]) -> Iterator[None]:
    """Have the model's attention computed by a function that writes down what it is given."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None = None,
        dropout: float = 0.0, position_bias: Tensor | None = None, **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        scale = query.size(-1) ** -0.5 if scaling is None else float(scaling)
        groups = query.size(1) // key.size(1)
        added = torch.zeros(1, 1, query.size(2), key.size(2), device=query.device)
        for one in (mask, position_bias):
            added = added if one is None else added + one
        seen.append((query, key, scale, added))
        scores = query @ key.repeat_interleave(groups, dim=1).transpose(2, 3) * scale + added
        weights = scores.softmax(-1)
        return (weights @ value.repeat_interleave(groups, dim=1)).transpose(1, 2).contiguous(), weights

    AttentionInterface.register(RECORDED, attend)
    AttentionMaskInterface.register(RECORDED, eager_mask)
    try:
        model.set_attn_implementation(RECORDED)
        yield
    finally:
        model.set_attn_implementation("eager")
