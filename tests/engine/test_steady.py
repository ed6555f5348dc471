"""Memory that malloc holds for nothing goes back to the system; what the user has set stays."""

import os
import sys
from pathlib import Path

import pytest
import torch

from hflm.engine import steady
from hflm.engine.steady import Trim, steady_memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is of glibc")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@linux
def test_gaps_between_tensors_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trim = Trim()
    if trim.trim is None:
        pytest.skip("no glibc")
    # Tensors of 64 KiB, every other one freed: they are too small to be mapped one by one.
    every = [torch.ones(16_384) for _ in range(4096)]
    kept = every[::2]
    del every
    before = resident()
    trim.on_step_end(None, None, None)  # type: ignore[arg-type]
    assert before - resident() < 16 << 20, "not so soon"
    monkeypatch.setattr(steady, "EVERY", 0.0)
    trim.on_step_end(None, None, None)  # type: ignore[arg-type]
    assert before - resident() > 64 << 20 and all(one[0] == 1 for one in kept)


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, "5")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "3")
    called: list[tuple[int, int]] = []
    monkeypatch.setattr(steady, "_of_glibc", lambda name: lambda *words: called.append(words))
    steady_memory()
    assert os.environ[name] == "5" and not called
    monkeypatch.delenv(name)
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    steady_memory()
    assert os.environ[name] == str(steady.KEPT) and called == [(steady.M_ARENA_MAX, 1)]
