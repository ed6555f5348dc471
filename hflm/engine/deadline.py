"""A budget is kept on the way too: machines are not as fast all the time as a probe of some seconds found them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from hflm.engine import ranks
from hflm.engine.budget import steps_within
from hflm.engine.laps import Laps
from hflm.engine.schedule import Course

# Looked at in the middle of the steps, and then in the middle of what is left.
LOOKS = 3
# A number of steps that is off by less is left alone.
SLACK = 0.02
# At most this many times as many steps as were planned: rows are laid out for so many.
ROOM = 2


@dataclass(frozen=True)
class Deadline:
    """When the steps of a budget must be over, by perf_counter; and the seconds of an evaluation and of a saving."""

    at: float
    evaluation: float
    saving: float


class KeepDeadline(Laps):
    """Reckon anew on the way how many steps the time holds; the schedule follows.

    `turned` is called after a turn was added to the course, with the seconds of a step by which it was reckoned: it
    must be recorded before the run goes on, or a resume would not know of it.
    """

    def __init__(
        self, deadline: Deadline, course: Course, *, eval_every: int, save_every: int, turned: Callable[[float], None]
    ) -> None:
        super().__init__()
        self.deadline, self.course = deadline, course
        self.every, self.turned = (eval_every, save_every), turned
        self._looks, self._next = 0, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Choose the first step to look after."""
        super().on_train_begin(args, state, control)
        self._looks, self._next = LOOKS, (state.global_step + self.course.steps) // 2

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Look at the clock where it is time to, and change the number of steps where it is off."""
        super().on_step_end(args, state, control)
        step = state.global_step
        if not self._looks or step < self._next or step >= self.course.steps:
            return
        lately = self._times[len(self._times) // 2 :]
        each = sum(lately) / len(lately)
        steps = ranks.agreed(step + self._left(step, each))
        if abs(steps - self.course.steps) > SLACK * self.course.steps:
            self.course.turns.append((step, steps))
            args.max_steps = state.max_steps = steps
            self.turned(each)
        self._looks, self._next = self._looks - 1, (step + self.course.steps + 1) // 2

    def _left(self, step: int, each: float) -> int:
        """Return how many steps of `each` seconds are left: at least half of those that were, at most the room."""
        held, (eval_every, save_every) = self.deadline, self.every
        pauses: list[tuple[float, int | None]] = [
            (held.evaluation, eval_every), (held.saving, save_every), (held.evaluation + held.saving, None)
        ]  # fmt: skip
        count = steps_within(held.at - time.perf_counter(), step=each, pauses=pauses, usual=1)
        return max(1, (self.course.steps - step) // 2, min(count, ROOM * self.course.planned - step))
