"""From a time to a number of steps: a short probe measures them, and the run folder records the answer."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from hflm.engine import ranks
from hflm.engine.evaluating import eval_sums
from hflm.engine.memory import in_halves
from hflm.engine.order import Order, Placed, Readable
from hflm.engine.split import Split
from hflm.families.family import Family

# The first steps are slower: memory is fetched, kernels are chosen, and on busy cores threads wait for each other.
WARM_UP = 3
ENOUGH = WARM_UP + 3
# Rows of an evaluation to begin with, and at most; seconds that it may take about.
WARM_UP_ROWS, MOST_ROWS, EVALUATING = 8, 64, 4.0
# A checkpoint holds the weights, and up to two moments of each.
COPIES = 3
Context = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Probe:
    """Seconds of a usual optimizer step, those for each unit of its size, and those that the probe itself took."""

    step_seconds: float
    size_seconds: float
    seconds: float


def probe(
    model: Any, *, family: Family, rows: Readable, order: Order, split: Split,
    make_optimizer: Callable[[Any], Optimizer], context: Context, seconds: float, most: float, device: Any,
    size: Callable[[list[Any]], float] = len,
) -> Probe:  # fmt: skip
    """Time real steps for some `seconds`, `most` at the utmost; neither weights nor random state are moved.

    `size` says of the rows of a micro-batch how much work they are.
    """
    begin = time.perf_counter()
    # Beside the model, not on its device: of a large one a second copy would not fit there.
    kept = [(tensor, tensor.detach().to("cpu", copy=True)) for tensor in moved(model)]
    places, data, times, sizes = iter(order), Placed(rows), list[float](), list[float]()
    optimizer = make_optimizer(model)
    with (
        restored(model, kept),
        torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []),
    ):
        model.train()
        while ranks.agreed(wants_more(times, seconds=seconds, most=most)):
            start = time.perf_counter()
            items = [data[place] for _, place in zip(range(split.micro_batch), places, strict=False)]
            if len(items) < split.micro_batch:
                places = iter(order)
                continue
            take_step(model, optimizer, items, family=family, split=split, context=context, device=device)
            times.append(time.perf_counter() - start)
            sizes.append(split.accumulation * size([item.row for item in items]))
    return Probe(typical(times), per_unit(times, sizes), time.perf_counter() - begin)


def take_step(
    model: Any, optimizer: Optimizer, items: list[Any], *, family: Family, split: Split, context: Context, device: Any
) -> None:
    """Take an optimizer step for its time alone: the rows of a micro-batch stand for all of them."""
    for _ in range(split.accumulation):
        batch = {name: value.to(device) for name, value in family.collate(items).items()}
        with context():
            loss = family.sums(model, batch).loss
        (loss / family.count(batch)).backward()
    ranks.average_gradients(model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
    optimizer.step()
    optimizer.zero_grad()


def moved(model: Any) -> Iterator[torch.Tensor]:
    """Yield what a step may change: weights that are trained, and buffers."""
    yield from (weight for weight in model.parameters() if weight.requires_grad)
    yield from model.buffers()


@contextmanager
def restored(model: Any, kept: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
    """Give tensors their values back after the block, also where that breaks off, as when memory runs out."""
    try:
        yield
    finally:
        model.zero_grad()
        with torch.no_grad():
            for tensor, values in kept:
                tensor.copy_(values)


def wants_more(times: list[float], *, seconds: float, most: float) -> bool:
    """Say whether another step is to be timed, after steps of these times."""
    spent = sum(times)
    if len(times) >= 2 and spent > most:
        return False
    return len(times) < ENOUGH or spent < seconds


def typical(times: list[float]) -> float:
    """Return the time of a usual step: the median after the warm-up; the shortest, where there was no time for it."""
    if len(times) < ENOUGH:
        return min(times)
    kept = sorted(times[WARM_UP:])
    return kept[len(kept) // 2]


def per_unit(times: list[float], sizes: list[float]) -> float:
    """Return the seconds for a unit of size: after the warm-up of all; the least, where there was no time for it."""
    if len(times) < ENOUGH:
        return min(spent / size for spent, size in zip(times, sizes, strict=True))
    return sum(times[WARM_UP:]) / sum(sizes[WARM_UP:])


def evaluation_seconds(
    model: Any, rows: Readable, *, family: Family, context: Context, device: Any, size: int = 32
) -> float:
    """Estimate the time of an evaluation from some rows, after fewer that only warm up and say how many to take.

    `size` rows are read at once.
    """
    few, most = min(len(rows), WARM_UP_ROWS), min(len(rows), MOST_ROWS)

    def spent(count: int) -> float:
        nonlocal size
        some = [rows[index] for index in range(count)]

        def timed(size: int) -> float:
            begin = time.perf_counter()
            eval_sums(model, some, family=family, batch_size=size, context=context, device=device)
            return time.perf_counter() - begin

        # As the evaluations themselves: smaller micro-batches of the training would not help.
        seconds, size = in_halves(timed, size, told=lambda size: None)
        return seconds

    count = max(few, min(most, int(few * EVALUATING / spent(few))))
    return spent(count) * len(rows) / count


def saving_seconds(model: Any, folder: Path) -> float:
    """Estimate the time of a checkpoint in `folder`, which exists: writing, syncing and hashing the weights."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as stream:
        torch.save(model.state_dict(), stream)
        stream.flush()
        os.fsync(stream.fileno())
        stream.seek(0)
        hashlib.file_digest(stream, "sha256")
    return COPIES * (time.perf_counter() - begin)


def steps_within(left: float, *, step: float, pauses: list[tuple[float, int | None]], usual: int) -> int:
    """Count the steps of `step` seconds that fit in the seconds left beside the pauses for evaluation and saving.

    A pause is its seconds, and the steps from one to the next; where these are None, there are `usual` of them.
    """
    left -= sum(usual * seconds for seconds, every in pauses if every is None)
    # Two in a hundred for what stands between steps: the log, the bar.
    each = 1.02 * step + sum(seconds / every for seconds, every in pauses if every is not None)
    return max(0, int(left / each))
