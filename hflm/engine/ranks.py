"""The processes of a run, called ranks: which one this is, what they agree on, and who goes first.

A process that is alone is rank 0 of 1, and everything here does nothing for it.
"""

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch._C import _distributed_c10d as c10d

from hflm.environment import cores

# Reading and cleaning may take hours, and whoever waits for rank 0 to do it waits as long. A rank that dies
# meanwhile closes its connections, which the others notice at once.
PATIENT = timedelta(days=30)
_patient: Any = None
_alone = False
T = TypeVar("T")


def join(*, timeout: float, patience: timedelta = PATIENT) -> None:
    """Meet the other ranks, as the environment names them; a collective fails where one is missing for `timeout` s.

    For what they agree on they wait for each other as long as `patience`.
    """
    global _patient
    # Small things that ranks agree on stay on the CPU; gradients on GPUs go through NCCL.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    place, limit = os.environ, timedelta(seconds=timeout)
    kept = c10d.TCPStore(place["MASTER_ADDR"], int(place["MASTER_PORT"]), is_master=False, timeout=limit)
    # The store is the launcher's, and lives on where ranks are started again: what those before left is not for these.
    store = c10d.PrefixStore(f"try-{place['TORCHELASTIC_RESTART_COUNT']}", kept)
    distributed.init_process_group(
        backend, store=store, rank=int(place["RANK"]), world_size=int(place["WORLD_SIZE"]), timeout=limit
    )
    _patient = distributed.new_group(backend="gloo", timeout=patience)


def joined() -> bool:
    """Tell whether this process is one of several that hflm started, or the only one that it started."""
    return _patient is not None


def world() -> int:
    """Return how many ranks there are."""
    return distributed.get_world_size() if joined() and not _alone else 1


def rank() -> int:
    """Return the number of this rank, from 0."""
    return distributed.get_rank() if joined() and not _alone else 0


def first() -> bool:
    """Tell whether this is the rank that writes, and speaks."""
    return rank() == 0


def agreed(value: Any) -> Any:
    """Return rank 0's value on every rank; however long that takes."""
    if world() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0, group=_patient)
    return held[0]


def meet() -> None:
    """Wait until all have come here, as before rank 0 writes over what others read; however long that takes."""
    gathered(None)


def gathered(value: Any) -> list[Any]:
    """Return the values of all ranks, in their order, on every rank; however long that takes."""
    if world() == 1:
        return [value]
    held = [None] * world()
    distributed.all_gather_object(held, value, group=_patient)
    return held


def share(items: Iterable[T]) -> Iterator[T]:
    """Yield those of the items that fall to this rank; together the ranks take each exactly once."""
    return itertools.islice(items, rank(), None, world())


def merged(own: dict[int, T]) -> dict[int, T]:
    """Return what all ranks found, by number, on every rank."""
    return {number: value for found in gathered(own) for number, value in found.items()}


def summed(values: torch.Tensor) -> torch.Tensor:
    """Return the sums of all ranks' values, on every rank."""
    if world() > 1:
        distributed.all_reduce(values)
    return values


def anywhere(flag: bool) -> bool:
    """Tell on every rank whether something is so on any of them."""
    if world() == 1:
        return flag
    return bool(summed(torch.tensor(int(flag))).item())


@contextmanager
def alone() -> Iterator[None]:
    """Let this rank work as if there were no others, while they do something else: what it measures is its own."""
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


@contextmanager
def first_ahead() -> Iterator[None]:
    """Let the first rank of each machine run the block before the others: what it caches is then there for them."""
    ahead = not joined() or os.environ.get("LOCAL_RANK", "0") == "0"
    if not ahead:
        meet()
    yield
    if ahead:
        meet()


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return what this rank holds of a tensor, which may be a share of its rows."""
    share: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return share


def average_gradients(model: Any) -> None:
    """Do to the gradients of a model what DDP does, at once and at the end: for measuring what a step takes."""
    if world() == 1:
        return
    found = [weight.grad for weight in model.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in found])
    distributed.all_reduce(flat)


def use_threads(threads: int | None) -> None:
    """Share `threads`, or all cores, among the ranks of this machine; a process that is alone is torch's own affair."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if joined() else 1
    # torch counts the cores that it sees, of which a container may use a few at a time.
    if threads or here > 1 or cores() < torch.get_num_threads():
        torch.set_num_threads(max(1, (threads or cores()) // here))
