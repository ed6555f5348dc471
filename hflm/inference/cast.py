"""Weights in the precision that they are multiplied in, held while a model is used.

Autocast turns the float32 weights of every product into bfloat16 each time it is made: once a token, where texts are
written. Turned once, they give the same numbers to the last bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hflm.engine.device import Device


@contextmanager
def cast_once(model: Any, device: Device) -> Iterator[None]:
    """Give every layer that multiplies its weights in the precision of `device`, and take them back after the block.

    Embeddings and norms are no products: a matrix that serves as embedding too is there twice for so long.
    """
    from transformers.pytorch_utils import Conv1D

    own: list[tuple[Any, Any]] = []
    for module in model.modules() if device.precision != "fp32" else ():
        if isinstance(module, (nn.Linear, Conv1D)) and module.weight.dtype == torch.float32:
            own.append((module, module.weight))
            module.weight = nn.Parameter(module.weight.detach().to(device.dtype), requires_grad=False)
    try:
        yield
    finally:
        for module, weight in own:
            module.weight = weight
