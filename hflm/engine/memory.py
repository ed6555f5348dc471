"""Out of memory: to know it when it is raised, and a split of the batch that takes less."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from hflm.engine import ranks
from hflm.engine.split import Split

Found = TypeVar("Found")
Item = TypeVar("Item")

# The allocators of CPU, CUDA and MPS; torch has a class for some of them only.
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "CUDNN_STATUS_ALLOC_FAILED")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory is short."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def in_halves(act: Callable[[int], Found], size: int, *, told: Callable[[int], None]) -> tuple[Found, int]:
    """Do what takes the memory of a batch of `size`; where that is short, with half of it, which is returned too.

    One of several ranks cannot choose another size by itself: there the error is raised.
    """
    while True:
        try:
            return act(size), size
        except Exception as error:
            if size == 1 or not out_of_memory(error) or ranks.world() > 1:
                raise
        # Outside of the handler, which would keep what the batch held.
        size //= 2
        told(size)


def piecewise(act: Callable[[Sequence[Item]], list[Found]], items: Sequence[Item]) -> list[Found]:
    """Do a batch of items at once; where memory is short, each half of them by itself."""
    try:
        return act(items)
    except Exception as error:
        if len(items) == 1 or not out_of_memory(error):
            raise
    give_back()
    middle = len(items) // 2
    return [*piecewise(act, items[:middle]), *piecewise(act, items[middle:])]


def halved(split: Split) -> Split | None:
    """Return the split of the same global batch with micro-batches of half the size or less; None where they are 1."""
    share = split.micro_batch * split.accumulation
    if split.micro_batch == 1:
        return None
    micro = max(size for size in range(1, split.micro_batch // 2 + 1) if share % size == 0)
    return replace(split, micro_batch=micro, accumulation=share // micro)


def give_back() -> None:
    """Give freed memory back to the system, so that a smaller step finds it."""
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
