"""Where a run ran: versions, machine, command."""

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("hflm", "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy")


def environment() -> dict[str, Any]:
    """Describe this process for the run folder; paths of the user's are kept only in the command."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["hflm", *sys.argv[1:]]),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def processor() -> str:
    """Return the processor's name as its maker gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Count the cores that this process may use: those of its affinity, or fewer where a container has a quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return min(count, max(1, -(-int(share) // int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return count


def fast_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether this processor multiplies bfloat16 faster than float32.

    AMX does. So does AVX512-BF16 on AMD's cores; Intel's have the instruction and take twice the time of float32 with
    it: 83 GFLOP/s against 154 on a core of a Xeon whose AMX was not passed on to its virtual machine.
    """
    try:
        words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return "amx_bf16" in words or ("avx512_bf16" in words and "GenuineIntel" not in words)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
