"""Out of memory: to know it when it is raised, and a split of the batch that takes less."""

from dataclasses import replace

import torch

from hflm.engine.split import Split

# The allocators of CPU, CUDA and MPS; torch has a class for some of them only.
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "CUDNN_STATUS_ALLOC_FAILED")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory is short."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


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
