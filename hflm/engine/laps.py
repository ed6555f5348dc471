"""The seconds of each step, with the reading of its rows and without evaluations and savings."""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Laps(TrainerCallback):
    """Times steps from one end to the next: the Trainer reads the rows of a step before it says that it begins."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._begun: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Forget what was timed before."""
        self._times, self._begun = [], None

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Note when the first step begins; each of the others begins where the one before it ends."""
        self._begun = self._begun or time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Note how long the step took."""
        now = time.perf_counter()
        self._times.append(now - (self._begun or now))
        self._begun = now

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Leave a pause out of the step after it."""
        self._begun = time.perf_counter()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Leave a pause out of the step after it."""
        self._begun = time.perf_counter()
