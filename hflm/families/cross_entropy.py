"""The summed cross-entropy of many rows of logits, without keeping copies of them."""

from typing import Any

import torch
from torch import Tensor

# Numbers in one piece of work: small enough for the caches of a CPU, large enough to keep its cores busy.
PIECE = 1 << 22


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum -log p(label) over logits [M, V] and labels [M], in float32 whatever the logits are in.

    The gradient, softmax minus one-hot, is worked out on the way forward and kept in the dtype of the logits:
    one tensor of their size in place of the four that log_softmax and its backward hold.
    """
    if torch.is_grad_enabled() and logits.requires_grad:
        loss: Tensor = _Summed.apply(logits, labels)  # type: ignore[no-untyped-call]
        return loss
    pieces = [_surprise(*piece)[0] for piece in _pieces(logits, labels)]
    return torch.stack(pieces).sum() if pieces else logits.new_zeros((), dtype=torch.float32)


def _pieces(logits: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    rows = max(1, PIECE // max(1, logits.size(-1)))
    return list(zip(logits.split(rows), labels.split(rows), strict=True)) if len(logits) else []


def _surprise(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    # Summed in float32: a bfloat16 sum over thousands of positions has three digits.
    scores = torch.log_softmax(logits, dim=-1, dtype=torch.float32)  # [m, V]
    return -scores.gather(-1, labels[:, None]).sum(), scores


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        # The scaler of fp16 comes after this: until then small probabilities need the range of float32.
        dtype = torch.float32 if logits.dtype == torch.float16 else logits.dtype
        gradient = torch.empty_like(logits, dtype=dtype)
        loss, place = logits.new_zeros((), dtype=torch.float32), 0
        for piece, wanted in _pieces(logits, labels):
            surprise, scores = _surprise(piece, wanted)
            loss += surprise
            # d(-log p(label)) / d logits = p - one-hot(label)
            scores.exp_().scatter_add_(1, wanted[:, None], scores.new_full((len(wanted), 1), -1.0))
            gradient[place : place + len(wanted)] = scores
            place += len(wanted)
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * outer[0]).to(ctx.dtype), None
