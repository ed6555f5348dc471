"""A run with a budget ends when it is over, though the machine is not as fast as the probe found it."""

from collections.abc import Callable
from typing import Any

import pytest

from hflm.engine import deadline
from hflm.engine.deadline import ROOM, Deadline, KeepDeadline
from hflm.engine.schedule import Course

PLANNED, BUDGET = 1000, 1000.0


class State:
    """What a callback is given to see and to change."""

    def __init__(self, steps: int) -> None:
        self.global_step, self.max_steps = 0, steps


def ran(
    seconds: Callable[[int], float], monkeypatch: pytest.MonkeyPatch, *, start: int = 0, evaluation: float = 0.0,
    eval_every: int = 10**6, reading: float = 0.0,
) -> tuple[float, Course, list[float]]:  # fmt: skip
    """Take the steps of a run on a clock of its own; return its seconds, its course and what the turns went by."""
    now, course, went = [0.0], Course(PLANNED), list[float]()
    monkeypatch.setattr(deadline.time, "perf_counter", lambda: now[0])
    keep = KeepDeadline(
        Deadline(BUDGET, evaluation, 0.0), course, eval_every=eval_every, save_every=10**6, turned=went.append
    )
    state, args, control = State(PLANNED), State(PLANNED), None
    state.global_step = start
    words: tuple[Any, ...] = (args, state, control)
    keep.on_train_begin(*words)
    while state.global_step < state.max_steps:
        now[0] += reading if state.global_step > start else 0
        keep.on_step_begin(*words)
        now[0] += seconds(state.global_step)
        state.global_step += 1
        keep.on_step_end(*words)
        if state.global_step % eval_every == 0:
            now[0] += evaluation
            keep.on_evaluate(*words)
    assert args.max_steps == state.max_steps == course.steps
    return now[0] + evaluation, course, went


@pytest.mark.parametrize(
    "seconds",
    [
        lambda step: 0.7, lambda step: 1.3, lambda step: 1.5 if step < 300 else 0.8,
        lambda step: 1.0 if step < 600 else 1.5,
    ],
)  # fmt: skip
def test_faster_and_slower_than_the_probe_found(
    seconds: Callable[[int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    spent, course, went = ran(seconds, monkeypatch)
    assert spent == pytest.approx(BUDGET, rel=0.08) and course.turns and len(went) == len(course.turns)
    assert abs(sum(seconds(step) for step in range(PLANNED)) - BUDGET) > abs(spent - BUDGET)


def test_a_steady_machine_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran(lambda step: 0.98, monkeypatch)[1].turns == []


def test_evaluations_are_reckoned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    spent, course, _ = ran(lambda step: 0.6, monkeypatch, evaluation=20.0, eval_every=100)
    assert spent == pytest.approx(BUDGET, rel=0.05) and course.steps > PLANNED


def test_never_cut_to_nothing_and_never_beyond_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer that slept for an hour still finishes the schedule; a fast one ends where the rows do."""
    _, course, _ = ran(lambda step: 3600.0 if step == 100 else 1.0, monkeypatch)
    assert PLANNED / 2 < course.steps < PLANNED
    assert ran(lambda step: 0.01, monkeypatch)[1].steps == ROOM * PLANNED


def test_a_run_that_went_on_looks_in_the_middle_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    course = ran(lambda step: 0.5, monkeypatch, start=400)[1]
    assert course.turns[0][0] == 700


def test_reading_the_rows_is_part_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Trainer fetches the rows of a step before it says that the step begins; the probe counted them."""
    assert ran(lambda step: 0.5, monkeypatch, reading=0.5)[1].turns == []
    assert ran(lambda step: 0.4, monkeypatch, reading=0.2, evaluation=20.0, eval_every=100)[0] == pytest.approx(
        BUDGET, rel=0.05
    )
