"""How far a student's probabilities are from a teacher's, without keeping copies of either."""

from typing import Any

import torch
from torch import Tensor

from hflm.families.cross_entropy import PIECE


def divergence(logits: Tensor, taught: Tensor, *, temperature: float, weights: Tensor | None = None) -> Tensor:
    """Sum T^2 x KL(teacher || student) over rows of logits [M, C], both softened by the temperature T.

    T^2 keeps the gradient as large as that of labels, whatever T is (Hinton et al. 2015). `weights` [M] count rows
    for more. In float32 whatever the logits are in; the gradient, T x (student - teacher), is worked out on the way
    forward, piece by piece.
    """
    loss: Tensor = _Divergence.apply(logits, taught, temperature, weights)  # type: ignore[no-untyped-call]
    return loss


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, taught: Tensor, temperature: float, weights: Tensor | None) -> Tensor:
        dtype = torch.float32 if logits.dtype == torch.float16 else logits.dtype
        gradient = torch.empty_like(logits, dtype=dtype)
        loss, rows = logits.new_zeros((), dtype=torch.float32), max(1, PIECE // max(1, logits.size(-1)))
        for start in range(0, len(logits), rows):
            piece = slice(start, start + rows)
            ours = torch.log_softmax(logits[piece].float() / temperature, dim=-1)  # [m, C]
            theirs = torch.log_softmax(taught[piece].float() / temperature, dim=-1)
            target = theirs.exp()
            weight = 1.0 if weights is None else weights[piece, None]
            # A class that the teacher rules out adds nothing, where 0 x -inf would be no number.
            gaps = (target * (theirs - ours)).masked_fill(target == 0, 0.0)
            loss += temperature**2 * (gaps * weight).sum()
            gradient[piece] = temperature * weight * (ours.exp_() - target)
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * outer[0]).to(ctx.dtype), None, None, None
