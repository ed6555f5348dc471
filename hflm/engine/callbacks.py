"""What happens beside the steps of a run: the log, the events for whoever watches, signals."""

import json
import logging
import math
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hflm.engine import ranks
from hflm.engine.laps import Laps
from hflm.errors import Interrupted
from hflm.signals import SIGNALS, caught

log = logging.getLogger(__name__)

Watch = Callable[[str, Mapping[str, Any]], None]


class Recorder(Laps):
    """Write every log to `log.jsonl` and tell the watcher of every step."""

    def __init__(
        self, path: Path, *, watch: Watch, tokens_per_step: float, epochs_per_step: float | None = None
    ) -> None:
        super().__init__()
        self.path, self.watch = path, watch
        self.tokens_per_step, self.epochs_per_step = tokens_per_step, epochs_per_step
        self._loss: float | None = None
        self._start, self.first = 0.0, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Note where the clock starts, for the rate; mend a log whose last line was cut when the run was killed."""
        if state.is_world_process_zero and self.path.exists():
            whole = self.path.read_bytes()
            os.truncate(self.path, whole.rfind(b"\n") + 1)
        super().on_train_begin(args, state, control)
        # Where memory ran out, training begins once more: its seconds and its steps are those since it first began.
        if not self._start:
            self._start, self.first = time.perf_counter(), state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Tell the watcher how far the run is."""
        super().on_step_end(args, state, control)
        seconds = time.perf_counter() - self._start
        each = seconds / max(state.global_step - self.first, 1)
        event = {"step": state.global_step, "steps": state.max_steps, "seconds_per_step": each, "loss": self._loss}
        self.watch("step", {**event, "tokens_per_second": self.tokens_per_step / max(self.step_seconds(), 1e-9)})

    def step_seconds(self) -> float:
        """Return the median time of a step, evaluation and saving not counted; 0 without any."""
        kept = sorted(self._times[-100:])
        return kept[len(kept) // 2] if kept else 0.0

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **more: Any
    ) -> None:
        """Append a line; a run that goes on from a checkpoint appends too."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        self._loss = logs.get("loss", self._loss)
        # The whole run is one pass of the loader: transformers counts that as its epoch.
        epoch = None if self.epochs_per_step is None else round(state.global_step * self.epochs_per_step, 4)
        line = {"step": state.global_step, "time": round(time.time(), 3), **logs, "epoch": epoch}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self.watch("log", line)


class SaveBest(TrainerCallback):
    """Save with every evaluation that is the best so far: the model of the best one comes back at the end.

    Where the metric is a share of so many `rows`, an evaluation as good as the best within a standard error of it
    counts as the best too: so few rows cannot tell the two apart, and the later weights have seen more, at a lower
    rate.
    """

    def __init__(self, metric: str, *, larger: bool, rows: int | None = None) -> None:
        self.metric, self.larger, self.rows = f"eval_{metric}", larger, rows

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **more: Any
    ) -> None:
        """Compare with the best before this one; the Trainer takes note of a new best only after this."""
        value, best = (metrics or {}).get(self.metric), state.best_metric
        if value is None:
            return
        if best is None or (value > best if self.larger else value < best):
            control.should_save = True
        elif self.rows and value >= best - math.sqrt(best * (1 - best) / self.rows):
            # The Trainer would only take note of a higher one.
            state.best_global_step, control.should_save = state.global_step, True


class StopOnSignal(TrainerCallback):
    """Save and stop at the end of the step in which a signal came; a second signal ends the process at once."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self.received: int | None = None
        self.stopping = False
        # Called in the handler of the signal, in the middle of anything.
        self.told = told

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Turn a received signal into a save and a stop."""
        if self.came():
            control.should_save = True
            control.should_evaluate = False
            control.should_training_stop = True

    def came(self) -> bool:
        """Tell whether a signal has come to any rank; asked by all of them at the same place."""
        self.stopping = self.stopping or ranks.anywhere(self.received is not None)
        return self.stopping

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals while the block runs; off the main thread nothing can be caught."""
        with caught(self._receive) as listens:
            if not listens:
                log.info("Not on the main thread: signals are not caught.")
            yield

    def _receive(self, number: int, frame: Any) -> None:
        self.received = number
        _let_go()
        if ranks.world() == 1:
            self.told()


def _let_go() -> None:
    """Let a second signal end the process at once; one rank of several leaves that to the launcher.

    A scheduler may send a signal to launcher and ranks alike, and then it comes to a rank twice.
    """
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL if ranks.world() == 1 else signal.SIG_IGN)


@contextmanager
def interruptible(run: Path) -> Iterator[None]:
    """Raise Interrupted at once where a signal comes after the last step: it is saved, and only the end is done again.

    Off the main thread nothing can be caught.
    """

    def leave(number: int, frame: Any) -> None:
        _let_go()
        raise Interrupted(
            "Stopped by a signal after the last step, before the results were written; the weights are saved.",
            fix=f"Go on with `hflm resume {shlex.quote(str(run))}`.",
        )

    with caught(leave):
        yield
