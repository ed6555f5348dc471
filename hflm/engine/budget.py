"""From a time to a number of steps: a short probe measures them, and the run folder records the answer."""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from hflm.engine.order import Order, Placed, Readable
from hflm.engine.split import Split
from hflm.families.family import Family

# The first steps are slower: memory is fetched, kernels are chosen.
WARM_UP = 3


@dataclass(frozen=True)
class Probe:
    """Seconds of an optimizer step, and those that the probe itself took."""

    step_seconds: float
    seconds: float


def probe(
    model: Any, *, family: Family, rows: Readable, order: Order, split: Split,
    make_optimizer: Callable[[Any], Optimizer], context: Callable[[], AbstractContextManager[Any]],
    seconds: float, device: Any,
) -> Probe:  # fmt: skip
    """Time real steps on a copy of the model; neither the weights nor any random state is moved."""
    begin = time.perf_counter()
    state = copy.deepcopy(model.state_dict())
    places, data, times = iter(order), Placed(rows), list[float]()
    optimizer = make_optimizer(model)
    with torch.random.fork_rng(devices=[]):
        model.train()
        while len(times) < WARM_UP + 3 or sum(times) < seconds:
            start = time.perf_counter()
            items = [data[place] for _, place in zip(range(split.micro_batch), places, strict=False)]
            if len(items) < split.micro_batch:
                places = iter(order)
                continue
            for _ in range(split.accumulation):
                batch = {name: value.to(device) for name, value in family.collate(items).items()}
                with context():
                    loss = family.sums(model, batch).loss
                (loss / family.count(batch)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - start)
    model.load_state_dict(state)
    kept = sorted(times[WARM_UP:])
    return Probe(kept[len(kept) // 2], time.perf_counter() - begin)
