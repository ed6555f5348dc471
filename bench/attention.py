"""Attention alone: scaled_dot_product_attention against plain products, forward and backward, with a mask.

python -m bench attention
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TOKENS, HEADS, HEAD = 4096, 4, 64


def eager(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attend by two matrix products and a softmax, as transformers' eager attention does."""
    scores = query @ key.transpose(-1, -2) * HEAD**-0.5 + mask  # [B, H, T, T]
    return torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype) @ value


def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attend by torch's own kernel."""
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def median_ms(attend: Callable[..., Tensor], inputs: list[Tensor], mask: Tensor, rounds: int) -> float:
    """Time forward and backward."""
    times = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        attend(*inputs, mask).sum().backward()
        times.append(time.perf_counter() - begin)
    return 1000 * sorted(times[1:])[rounds // 2]


def measure(rounds: int) -> list[dict[str, Any]]:
    """Return one row for each precision and length."""
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        for length in (64, 128, 256, 512, 1024):
            shape = (TOKENS // length, HEADS, length, HEAD)
            inputs = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3)]
            allowed = torch.ones(shape[0], 1, length, length, dtype=torch.bool)
            added = torch.zeros(allowed.shape, dtype=dtype)
            rows.append(
                {
                    "precision": str(dtype).removeprefix("torch."),
                    "length": length,
                    "sdpa_ms": median_ms(fused, inputs, allowed, rounds),
                    "eager_ms": median_ms(eager, inputs, added, rounds),
                }  # fmt: skip
            )
    return rows
