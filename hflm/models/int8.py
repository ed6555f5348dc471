"""Weights in eight bits: each row of a matrix is whole numbers from -127 to 127 and one scale.

The product of few rows reads the eight bits themselves, beside rows in bfloat16; for many rows the weights are widened
first to the type of the rows, which costs less than it saves.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Plain:
    """A matrix [N, K] as it is, and its bias."""

    weight: Tensor
    bias: Tensor | None = None

    def few(self, rows: Tensor) -> Tensor:
        """Return the product [M, N] with rows [M, K]; one row gives the same numbers alone and among others."""
        if len(rows) == 1 and rows.dtype == torch.bfloat16:
            # A lone row goes another way through the library, and its last bits differ.
            return functional.linear(rows.expand(2, -1), self.weight, self.bias)[:1]
        return functional.linear(rows, self.weight, self.bias)

    many = few


@dataclass(frozen=True)
class Int8:
    """A matrix [N, K] in eight bits, its scales [N], and its bias."""

    weight: Tensor
    scales: Tensor
    bias: Tensor | None = None

    def few(self, rows: Tensor) -> Tensor:
        """Return the product [M, N] with rows [M, K], for the step of a few rows."""
        found = torch._weight_int8pack_mm(rows.to(torch.bfloat16), self.weight, self.scales).to(rows.dtype)
        return found if self.bias is None else found + self.bias

    def many(self, rows: Tensor) -> Tensor:
        """Return the product [M, N] with rows [M, K], for a whole prompt."""
        if len(rows) == 1:
            return self.many(rows.expand(2, -1))[:1]
        found = functional.linear(rows, self.weight.to(rows.dtype)) * self.scales
        return found if self.bias is None else found + self.bias


Matrix = Plain | Int8


# The product reads this many numbers at a time, and does not look where a row of other length ends.
STRIDE = 32


def quantize(weight: Tensor, bias: Tensor | None = None, *, dtype: torch.dtype = torch.bfloat16) -> Matrix:
    """Round a matrix [N, K] to eight bits, row by row; one whose sides the product cannot take stays whole, in `dtype`.

    `dtype` is that of the rows it will meet.
    """
    if weight.size(0) % STRIDE or weight.size(1) % STRIDE:
        return Plain(weight.to(dtype), None if bias is None else bias.to(dtype))
    wide = weight.float()
    # The scale is rounded first: then the whole numbers make up for what it lost.
    scales = (wide.abs().amax(dim=1) / 127).clamp_min(1e-8).to(torch.bfloat16)  # [N]
    numbers = (wide / scales.float()[:, None]).round().clamp(-127, 127).to(torch.int8)  # [N, K]
    return Int8(numbers, scales, None if bias is None else bias.to(torch.bfloat16))
