"""Where a measurement was taken."""

import os
import platform
from typing import Any

import torch
import transformers

from hflm.engine.device import Device, matmul_ceiling
from hflm.environment import processor


def machine() -> dict[str, Any]:
    """Name the processor, what it multiplies with, the cores this process may use, and the versions that matter."""
    return {
        "processor": processor(),
        "instructions": instructions(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def instructions() -> str:
    """Name the widest of the instructions for matrices: by the name alone, a processor with AMX is one without."""
    known = {
        "AMX": torch.cpu._is_amx_tile_supported,
        "AVX512-BF16": torch.cpu._is_avx512_bf16_supported,
        "AVX-512": torch.cpu._is_avx512_supported,
        "AVX2": torch.cpu._is_avx2_supported,
    }
    return next((name for name, supported in known.items() if supported()), "")


def ceilings() -> dict[str, float]:
    """Measure the GFLOP/s of matrix products in float32 and in bfloat16, as fast as they are at this moment."""
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    return {name: round(matmul_ceiling(Device(kind, name)) / 1e9, 1) for name in ("fp32", "bf16")}
