"""What a training will take, from a few of its steps that leave no trace: seconds, and bytes at its peak."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hflm.engine.budget import evaluation_seconds, probe
from hflm.engine.device import peak_memory
from hflm.engine.order import Order, Place
from hflm.engine.split import PER_WIDTH
from hflm.training.training import autocast, optimizer_of

if TYPE_CHECKING:
    from hflm.families.encoded import Encoded
    from hflm.finetuning.fitting import Fitted
    from hflm.training.training import Training


# What a run on a CPU holds beside its steps: the Trainer, checkpoints being written, metrics, pictures.
AROUND = 80 << 20
# Rows whose lengths are looked at.
MOST_PLACES = 200_000
# Bytes of a logit: itself, its gradient and its float32 copy.
LOGIT = 8


@dataclass(frozen=True)
class Estimate:
    """Seconds of a step and of the whole training, without the test.

    `peak_memory_bytes` is the most that the process holds: on a CPU its resident set, libraries included.
    """

    step_seconds: float
    seconds: float
    peak_memory_bytes: int


class LongestFirst(Order):
    """An order that begins with the largest micro-batch, twice: after the first step the optimizer holds its state."""

    def __init__(self, order: Order, *, cost: Callable[[Sequence[int]], float], micro_batch: int, places: int) -> None:
        super().__init__(order.rows, total=order.total, seed=order.seed)
        self.order, self.cost, self.micro_batch, self.places = order, cost, micro_batch, places

    def __iter__(self) -> Iterator[Place]:
        largest: list[Place] = []
        batch: list[Place] = []
        for _, place in zip(range(self.places), self.order, strict=False):
            batch.append(place)
            if len(batch) == self.micro_batch:
                largest = max(largest, batch, key=self._cost)
                batch = []
        yield from largest
        yield from largest
        yield from self.order

    def _cost(self, batch: list[Place]) -> float:
        return self.cost([row for _, row in batch]) if batch else 0.0


def padded(rows: Sequence["Encoded"]) -> float:
    """Return the tokens of a micro-batch, padding included."""
    return float(len(rows) * max(row.length for row in rows))


def bytes_of(rows: Sequence["Encoded"], *, kind: str, layers_x_width: int, vocabulary: int) -> float:
    """Return about the bytes that a micro-batch holds: what its layers keep of each token, and logits of its targets.

    For a large vocabulary the logits are the greater part: the longest texts need not make the largest batch.
    """
    written = 0
    if kind == "seq2seq":
        written = len(rows) * max(len(row.labels) for row in rows)
    elif kind == "completion":
        written = sum(row.targets for row in rows)
    return padded(rows) * layers_x_width * PER_WIDTH + written * vocabulary * LOGIT


def step_tokens(training: "Training", rows: Sequence["Encoded"]) -> float:
    """Return the tokens of a step, padding included, as the mean over the run, or over the beginning of a long one."""
    steps, micro = min(training.steps, max(1, MOST_PLACES // training.config.batch_size)), training.split.micro_batch
    places = [row for _, row in training.order(steps)]
    sizes = [padded([rows[at] for at in places[begin : begin + micro]]) for begin in range(0, len(places), micro)]
    return sum(sizes) / steps


def lines(found: Estimate) -> list[str]:
    """Return an estimate as lines for people."""
    return [
        f"time: {_clock(found.seconds)} to train, at {found.step_seconds * 1000:,.0f} ms a step, without the test",
        f"memory: {found.peak_memory_bytes / 2**30:.2f} GiB",
    ]


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"


def estimate(fitted: "Fitted", training: "Training", *, within: float) -> Estimate:
    """Time steps and an evaluation, `within` so many seconds where a machine does two micro-batches in them."""
    begin, context, device = time.perf_counter(), partial(autocast, fitted.device), fitted.device.kind
    evaluation = evaluation_seconds(fitted.model, fitted.eval, family=training.family, context=context, device=device)
    left = within - (time.perf_counter() - begin)
    from hflm.finetuning.fitting import layers_x_width

    config, rows = fitted.model.config, fitted.train
    size = {
        "layers_x_width": layers_x_width(fitted.model.config),
        "vocabulary": int(getattr(config, "vocab_size", 0) or 0),
    }
    order = LongestFirst(
        training.order(10**6), cost=lambda places: bytes_of([rows[at] for at in places], kind=fitted.kind, **size),
        micro_batch=training.split.micro_batch, places=training.steps * training.config.batch_size,
    )  # fmt: skip
    # One micro-batch a step: a large batch on a slow machine would take minutes. The optimizer is a small part of it.
    one = replace(training.split, accumulation=1)
    found = probe(
        fitted.model, family=training.family, rows=fitted.train, order=order, split=one,
        make_optimizer=optimizer_of(training), context=context, seconds=0.4 * left, most=left, device=device,
        size=padded,
    )  # fmt: skip
    # The largest micro-batches were timed, and on a slow machine no others: what a step takes goes by its tokens.
    step = found.size_seconds * step_tokens(training, rows)
    seconds = training.steps * step + training.evaluations * evaluation
    around = AROUND if device == "cpu" else 0
    return Estimate(step, seconds, peak_memory(device) + around)
