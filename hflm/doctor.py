"""Examine the machine: what is installed, what it can do, and what that means for a run."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hflm.environment import cores, fast_bf16
from hflm.models.hub import hub_state

GIB = 2**30
LEAST = {"torch": (2, 9), "transformers": (5, 20), "accelerate": (1, 0)}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at: its value, what it means for a run, and whether it is as it should be."""

    name: str
    value: str
    meaning: str
    ok: bool = True


def examine(*, timeout: float = 2.0, folder: Path | None = None) -> list[Finding]:
    """Return the findings in the order of `hflm doctor`.

    `timeout` is in seconds, for the hub; `folder` is where a run would write. Imports torch.
    """
    return [
        _python(),
        *(_package(name, least) for name, least in LEAST.items()),
        *_device(),
        *_memory(),
        _disk(folder or Path()),
        _hub(timeout),
    ]


def _python() -> Finding:
    value = ".".join(str(part) for part in sys.version_info[:3])
    ok = sys.version_info >= (3, 11)
    return Finding(name="python", value=value, ok=ok, meaning="supported" if ok else "hflm needs 3.11 or newer")


def _package(name: str, least: tuple[int, int]) -> Finding:
    wanted = ".".join(map(str, least))
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name=name, value="missing", ok=False, meaning=f"pip install '{name}>={wanted}'")
    ok = tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) >= least
    return Finding(name=name, value=found, ok=ok, meaning="supported" if ok else f"hflm needs {wanted} or newer")


def has_kernels(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Tell whether a build of torch, for sm_75 and so on, runs on a GPU: newer ones of a kind run what is older."""
    numbers = [divmod(int(digits), 10) for name in built if (digits := "".join(filter(str.isdigit, name)))]
    return not numbers or capability >= min(numbers)


def _device() -> list[Finding]:
    """Return device, bf16, cores and threads."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding(name="device", value="unknown", ok=False, meaning=f"torch does not load: {error}")]
    fits = True
    if torch.cuda.is_available():
        device, meaning, native = f"cuda: {torch.cuda.get_device_name()}", "trains here", _cuda_bf16()
        fits = has_kernels(torch.cuda.get_device_capability(), torch.cuda.get_arch_list())
        if not fits:
            meaning = "this build of torch has nothing for it: install one for an older CUDA"
    elif torch.backends.mps.is_available():
        device, meaning, native = "mps", "trains here", False
    else:
        device, meaning, native = "cpu", "a mini model learns in minutes; a base model wants a GPU", fast_bf16()
    threads, usable = torch.get_num_threads(), cores()
    return [
        Finding(name="device", value=device, meaning=meaning, ok=fits),
        Finding(
            name="bf16",
            value="fast" if native else "slow",
            meaning="--precision bf16 is faster here" if native else "--precision fp32 is faster here",
        ),
        Finding(name="cores", value=str(usable), meaning="usable by this process"),
        Finding(
            name="threads",
            value=str(threads),
            ok=threads <= usable,
            meaning="torch computes with these"
            if threads <= usable
            else f"more than cores: set OMP_NUM_THREADS={usable}",
        ),
    ]


def _cuda_bf16() -> bool:
    import torch

    # Compute capability 8.0 (Ampere) is the first with bf16 units; torch counts emulation as support.
    return torch.cuda.get_device_capability() >= (8, 0)


def _memory() -> list[Finding]:
    total, available = memory()
    if not total:
        return [Finding(name="memory", value="unknown", meaning="not told by this system")]
    ok = available >= 2 * GIB
    return [
        Finding(
            name="memory",
            value=f"{available / GIB:.1f} of {total / GIB:.1f} GiB available",
            ok=ok,
            meaning="enough for a mini model" if ok else "tight: use --size tiny and a small --micro-batch-size",
        )
    ]


def memory(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int, int]:
    """Return total and available bytes: the machine's, or the container's limit where that is lower; 0, 0 unknown."""
    try:
        lines = dict(line.split(":", 1) for line in proc.read_text().splitlines() if ":" in line)
        total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return 0, 0
    # Version 2 of cgroups, then version 1.
    for limit_file, used_file in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit, used = (int((cgroup / name).read_text()) for name in (limit_file, used_file))
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue
        # Files that were read are counted as used, and go when the room is needed.
        used -= _reclaimable(cgroup / limit_file)
        total, available = min(total, limit), min(available, max(limit - used, 0))
        break
    return total, available


def _reclaimable(limit: Path) -> int:
    try:
        lines = (limit.parent / "memory.stat").read_text().splitlines()
        found = dict(line.split() for line in lines)
        return int(found.get("total_inactive_file") or found.get("inactive_file") or 0)
    except (OSError, ValueError):
        return 0


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    ok = free >= 2 * GIB
    meaning = "room for checkpoints" if ok else "little room: lower --save-total-limit or choose another --output-dir"
    return Finding(name="disk", value=f"{free / GIB:.1f} GiB free", ok=ok, meaning=meaning)


def _hub(timeout: float) -> Finding:
    """Try the hub; being offline is no fault, since local files and folders always work."""
    state = hub_state(timeout=timeout)
    meanings = {
        "offline": "HF_HUB_OFFLINE is set: local files and cached ids only",
        "not reachable": "local files and cached ids only; set HF_HUB_OFFLINE=1 to spare the waiting",
        "reachable": "models and data sets load by id",
    }
    return Finding(name="hub", value=state, meaning=meanings[state])
