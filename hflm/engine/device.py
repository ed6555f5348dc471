"""What the machine can do: device, precision, and the speed of its matrix products."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hflm.environment import fast_bf16
from hflm.errors import UsageError

# Tokens of a row that is short for attention on a CPU.
SHORT = 256
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """Where a run computes: cuda, mps or cpu, and in which precision."""

    kind: str
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]


def choose_device(precision: str) -> Device:
    """Choose the device, and for `auto` the precision in which it is fastest.

    By rule and not by measurement: ranks must agree, and a run that goes on must find what it began with.
    """
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16" if _fast_bf16(kind) else "fp16" if kind == "cuda" else "fp32"
    if precision == "fp16" and kind != "cuda":
        raise UsageError(f"--precision fp16 needs a CUDA device; this is {kind}.", fix="Pass --precision bf16 or fp32.")
    return Device(kind, precision)


def use_fast_attention(model: Any, device: Device, *, usual: int, longest: int | None = None) -> None:
    """Give a model the attention of transformers that is fastest here for rows of a usual length, or leave it its own.

    On a CPU in bfloat16 scaled_dot_product_attention takes 1.6 times as long as plain products at 128 tokens, forward
    and backward, and less from 256 on (`python -m bench attention`). The scores of plain products are kept for the
    backward pass, and grow with the square of the length: where the longest row is long, each batch has its own.
    """
    if device.kind != "cpu" or device.precision != "bf16" or usual >= SHORT:
        return
    own = model.config._attn_implementation
    model.set_attn_implementation("eager")
    if longest is not None and longest >= SHORT and own != "eager":
        model.register_forward_pre_hook(partial(_attend_by_length, own=own), with_kwargs=True)


def whole_attention(model: Any, device: Device) -> bool:
    """Give a model its whole attention where its sparse one does not compute, and tell whether that is so.

    BigBird puts float32 into bfloat16 on a CPU, where transformers' autocast leaves softmax as it is.
    """
    body = model.base_model
    sparse = getattr(body, "attention_type", "") == "block_sparse"
    if not sparse or (device.kind, device.precision) != ("cpu", "bf16"):
        return False
    body.set_attention_type("original_full")
    return True


def _attend_by_length(model: Any, words: Sequence[Any], named: Mapping[str, Any], *, own: str) -> None:
    """Choose the attention for the batch that is about to be read."""
    given = (value for value in (*words, *named.values()) if isinstance(value, torch.Tensor))
    lengths = [value.shape[1] for value in given if value.ndim > 1]
    wanted = "eager" if max(lengths, default=0) < SHORT else own
    if model.config._attn_implementation != wanted:
        model.set_attn_implementation(wanted)


def native_bf16(kind: str) -> bool:
    """Tell whether a device has instructions for bfloat16: then it can be read as it is, which writing waits for."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _fast_bf16(kind: str) -> bool:
    """Tell whether bfloat16 is faster than float32, which training waits for."""
    return native_bf16(kind) and (kind != "cpu" or fast_bf16())


def matmul_ceiling(device: Device, *, size: int = 1024, seconds: float = 0.4) -> float:
    """Measure the floating-point operations a second of square matrix products: the best of the rounds."""
    matrix = torch.ones(size, size, device=device.kind, dtype=device.dtype)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        start = time.perf_counter()
        product = matrix @ matrix
        if device.kind == "cuda":
            torch.cuda.synchronize()
        elif product[0, 0].item() < 0:
            raise ArithmeticError("ones times ones is positive")
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def peak_memory(kind: str) -> int:
    """Return the most bytes that were held so far: on the accelerator where there is one, else by this process."""
    import resource
    import sys

    if kind == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    # What getrusage says begins at the peak of the process that started this one; what Linux itself says does not.
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(rb"^VmHWM:\s*(\d+) kB", status.read_bytes(), re.MULTILINE)):
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
