"""From a time to a number of steps: slow first steps do not decide it, and pauses are counted."""

from pathlib import Path

import pytest
import torch

from hflm.engine.budget import ENOUGH, evaluation_seconds, per_unit, saving_seconds, steps_within, typical, wants_more


def timed(times: list[float], *, seconds: float, most: float) -> list[float]:
    """Return the steps of these times that a probe would take."""
    taken: list[float] = []
    while wants_more(taken, seconds=seconds, most=most):
        taken.append(times[len(taken)])
    return taken


@pytest.mark.parametrize(
    ("times", "expected", "steps"),
    [
        ([0.1] * 99, 0.1, 10),
        # Threads that wait for each other at first, and one hiccup later on.
        ([5.0, 3.0, 2.0] + [0.1] * 99, 0.1, ENOUGH),
        ([0.1, 0.1, 0.1, 0.1, 5.0, 0.1], 0.1, ENOUGH),
        # No time for a warm-up: the shortest is nearest to what comes.
        ([11.0, 4.0] + [0.1] * 99, 4.0, 2),
        ([20.0, 0.2] + [0.1] * 99, 0.2, 2),
        ([30.0] * 9, 30.0, 2),
    ],
)
def test_a_usual_step(times: list[float], expected: float, steps: int) -> None:
    taken = timed(times, seconds=0.95, most=12.0)
    assert (typical(taken), len(taken)) == (expected, steps)


def test_steps_that_fit() -> None:
    assert steps_within(102, step=1.0, pauses=[], usual=5) == 100
    # Five evaluations of two seconds; then one every tenth step.
    assert steps_within(112, step=1.0, pauses=[(2.0, None)], usual=5) == 100
    assert steps_within(122, step=1.0, pauses=[(2.0, 10)], usual=5) == 100
    assert steps_within(20, step=1.0, pauses=[(2.0, None), (2.0, None)], usual=5) == 0
    assert steps_within(-5, step=1.0, pauses=[], usual=5) == 0


def test_saving_leaves_nothing_behind(tmp_path: Path) -> None:
    assert saving_seconds(torch.nn.Linear(8, 8), tmp_path) > 0
    assert not list(tmp_path.iterdir())


def test_time_goes_by_size() -> None:
    assert per_unit([9.0, 4.0], [2.0, 2.0]) == 2.0, "the second of two is warm"
    # Three to warm up, then short and long ones.
    assert per_unit([50.0, 50.0, 50.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 10.0, 20.0, 30.0]) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("row_seconds", "rows", "read"), [(0.0, 1000, 64), (0.24, 1000, 16), (9.0, 1000, 8), (0.0, 5, 5)]
)
def test_an_evaluation_is_timed_on_as_many_rows_as_there_is_time_for(
    row_seconds: float, rows: int, read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked = [0.0], list[int]()

    def evaluate(model: object, some: list[int], **_: object) -> None:
        asked.append(len(some))
        now[0] += 1e-6 + len(some) * row_seconds

    monkeypatch.setattr("hflm.engine.budget.eval_sums", evaluate)
    monkeypatch.setattr("hflm.engine.budget.time.perf_counter", lambda: now[0])
    found = evaluation_seconds(None, range(rows), family=None, context=None, device="cpu")  # type: ignore[arg-type]
    assert asked == [min(8, rows), read]
    assert found == pytest.approx(rows * row_seconds, abs=1e-3)


def test_an_evaluation_that_does_not_fit_is_timed_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()

    def evaluate(model: object, some: list[int], *, batch_size: int, **_: object) -> None:
        asked.append(batch_size)
        if batch_size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("hflm.engine.budget.eval_sums", evaluate)
    found = evaluation_seconds(None, range(100), family=None, context=None, device="cpu")  # type: ignore[arg-type]
    assert asked == [32, 16, 8, 4, 4] and found >= 0
    monkeypatch.setattr("hflm.engine.memory.out_of_memory", lambda error: False)
    with pytest.raises(torch.OutOfMemoryError):
        evaluation_seconds(None, range(100), family=None, context=None, device="cpu")  # type: ignore[arg-type]
