"""Memory of a process that stays flat, where batches have ever other lengths."""

import ctypes
import os
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# malloc.h of glibc: how many arenas malloc may have.
M_ARENA_MAX = -8
# Compiled matrix products that oneDNN keeps, one for each shape, of about a MiB; its own number is 1024. With 64 a
# small model of one length took a quarter longer, as it has more shapes than that; from 128 on it did not.
KEPT = 256
# Seconds after which what malloc holds for nothing goes back to the system; that takes about 0.04 of one for a GiB.
EVERY = 3.0


def steady_memory() -> None:
    """Keep what this process holds on a CPU flat; to be called before it computes.

    Every thread of backward has an arena of malloc, in which tensors of ever other sizes leave gaps, and oneDNN keeps
    a compiled product for each shape that it has seen: a small encoder-decoder grew from 1.8 to 4.1 GiB in 2,000
    steps. `MALLOC_ARENA_MAX` and `ONEDNN_PRIMITIVE_CACHE_CAPACITY`, where they are set, win over this.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KEPT))
    set_malloc = _of_glibc("mallopt")
    if set_malloc and "MALLOC_ARENA_MAX" not in os.environ:
        set_malloc(M_ARENA_MAX, 1)


class Trim(TrainerCallback):
    """Gives memory back that malloc holds in gaps between tensors."""

    def __init__(self) -> None:
        self.trim = _of_glibc("malloc_trim")
        self.last = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Trim, now and then."""
        if self.trim and time.monotonic() - self.last > EVERY:
            self.trim(0)
            self.last = time.monotonic()


def _of_glibc(name: str) -> Callable[..., Any] | None:
    """Return a function of glibc; other libraries of C do not have these."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None
