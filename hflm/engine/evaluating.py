"""Evaluations between the steps: sums over every row once, and what is decided by them."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hflm.engine import ranks
from hflm.engine.order import Placed, Readable
from hflm.families.family import Family


class Stopped(Exception):
    """A signal came in the middle of an evaluation."""


@torch.no_grad()
def eval_sums(
    model: Any, rows: Readable, *, family: Family, batch_size: int, context: Callable[[], Any], device: Any = "cpu",
    stopped: Callable[[], bool] = lambda: False, in_step: bool = False,
) -> tuple[float, int, float]:  # fmt: skip
    """Sum loss, right predictions and targets over this rank's share of the rows; raises Stopped where told to.

    `in_step` has a rank whose rows are done go forward with those that still have some.
    """
    model.eval()
    loss, correct, count = 0.0, 0, 0.0
    share = range(ranks.rank(), len(rows), ranks.world())
    data = Placed(rows)
    for start in range(0, -(-len(rows) // ranks.world()), batch_size):
        # Asked by every rank as often as by the others, whose shares may be a row longer: they leave together.
        if stopped():
            model.train()
            raise Stopped
        items = [data[0, index] for index in share[start : start + batch_size]]
        if not items and not in_step:
            continue
        batch = {name: value.to(device) for name, value in family.collate_eval(items or [data[0, 0]]).items()}
        with context():
            sums = family.sums(model, batch)
        if not items:
            continue
        loss += sums.loss.item()
        correct += int(sums.correct) if sums.correct is not None else 0
        count += sums.count
    model.train()
    return loss, correct, count


class CatchUp(TrainerCallback):
    """Do the evaluation that a signal kept a stopped run from, before it goes on."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.do = do

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Evaluate where one is missing; random states are read from the checkpoint only after this."""
        self.do()


class Patience(TrainerCallback):
    """Stop after `patience` evaluations in a row without a better value.

    The count is taken from the history in the checkpoint, so that a run that goes on counts on.
    """

    def __init__(self, metric: str, *, larger: bool, patience: int) -> None:
        self.metric, self.larger, self.patience = f"eval_{metric}", larger, patience

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Take no step more where patience had run out already."""
        self._judge(state, control)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Count."""
        self._judge(state, control)

    def _judge(self, state: TrainerState, control: TrainerControl) -> None:
        values = [line[self.metric] for line in state.log_history if self.metric in line]
        if since_best(values, larger=self.larger) >= self.patience:
            control.should_training_stop = True


def since_best(values: list[float], *, larger: bool) -> int:
    """Count the values after the best one; of equal ones the first is the best."""
    if not values:
        return 0
    best = max(values) if larger else min(values)
    return len(values) - 1 - values.index(best)
