"""Numbers that are no numbers: which rows they came from, steps left out for them, losses that jump."""

import itertools
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from statistics import median
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hflm.engine import ranks
from hflm.engine.order import Order, Place, Placed, Readable
from hflm.errors import NumericsError
from hflm.families.family import Family

log = logging.getLogger(__name__)

# Steps of a run that may be left out with --on-nan skip: more of them is no bad row, but a run gone wrong.
MOST_SKIPPED = 10
# So many logs are looked back on, and so many must be there.
WINDOW, FEWEST = 32, 8
NAMED = 8


def places_of_step(order: Order, step: int, *, batch_size: int) -> list[Place]:
    """Return the places of the rows that step `step`, counted from 0, reads."""
    return list(itertools.islice(iter(order), step * batch_size, (step + 1) * batch_size))


def culprits(
    model: Any, *, family: Family, rows: Readable, places: Iterable[Place],
    context: Callable[[], AbstractContextManager[Any]], device: Any,
) -> list[Place]:  # fmt: skip
    """Return the places whose row alone has a loss that is not finite; none where it cannot be told."""
    found, data = [], Placed(rows)
    try:
        with torch.no_grad():
            for place in places:
                batch = {name: value.to(device) for name, value in family.collate([data[place]]).items()}
                with context():
                    loss = family.sums(model, batch).loss
                if not torch.isfinite(loss):
                    found.append(place)
    except Exception as error:
        # A stream does not go back; and what broke the numbers may break this look at them too.
        log.info("The rows could not be told apart: %r", error)
        return []
    return found


def name_places(places: list[Place], *, name: Callable[[int], str]) -> str:
    """Write places for people: the rows, by name, and the pass over the data in which they were read."""
    rows = ", ".join(name(row) for _, row in places[:NAMED])
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    epochs = sorted(Counter(epoch for epoch, _ in places))
    return f"{rows}{more} (epoch {' and '.join(str(epoch) for epoch in epochs)})"


def check_weights(model: Any, *, step: int) -> None:
    """Raise NumericsError where a weight is no number: such a checkpoint would push out one that is good.

    A rank that has only a share of the weights looks at that, and all hear of what any has found.
    """
    weights = model.named_parameters()
    bad = next((name for name, weight in weights if not torch.isfinite(ranks.local(weight)).all()), None)
    if ranks.anywhere(bad is not None):
        name = next(found for found in ranks.gathered(bad) if found)
        raise NumericsError(
            f"After step {step} there are weights that are no numbers, as in {name}.",
            fix="The last checkpoint is kept; try a lower --learning-rate.",
        )


def skipped_steps(log_history: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the steps that a run has left out; the history is part of every checkpoint."""
    return [line["step"] for line in log_history if "skipped" in line]


class Spikes(TrainerCallback):
    """Tell of a logged loss that stands far above those before it; once, until it has come down again."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._high = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Look back on what was logged before the run was stopped."""
        self._losses.extend(line["loss"] for line in state.log_history if "loss" in line)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **more: Any
    ) -> None:
        """Compare with the losses before."""
        loss = (logs or {}).get("loss")
        if loss is None or not math.isfinite(loss):
            return
        high = is_spike(loss, self._losses)
        if high and not self._high:
            rate = f", learning rate {logs['learning_rate']:g}" if "learning_rate" in logs else ""
            self.say(f"loss spike at step {state.global_step:,}: {loss:.3f} after {median(self._losses):.3f}{rate}")
        self._high = high
        self._losses.append(loss)


def is_spike(loss: float, before: Iterable[float]) -> bool:
    """Tell whether a loss is half as high again as the median before it, and far outside their usual spread."""
    losses = list(before)
    if len(losses) < FEWEST:
        return False
    middle = median(losses)
    # The median distance from the median; 1.4826 of it is a standard deviation where losses are spread normally.
    spread = 1.4826 * median(abs(one - middle) for one in losses)
    return loss > 1.5 * middle and loss > middle + 6 * spread
