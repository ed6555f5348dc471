"""What happens beside the steps: a model that is the best so far is saved."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hflm.engine.callbacks import Recorder, SaveBest


@pytest.mark.parametrize(
    ("larger", "best", "value", "saved"),
    [(False, None, 2.0, True), (False, 2.0, 1.9, True), (False, 2.0, 2.0, False), (True, 0.5, 0.6, True),
     (True, 0.5, 0.4, False), (True, 0.5, None, False)],
)  # fmt: skip
def test_the_best_is_saved(larger: bool, best: float | None, value: float | None, saved: bool) -> None:
    control: Any = SimpleNamespace(should_save=False)
    state: Any = SimpleNamespace(best_metric=best)
    metrics = {} if value is None else {"eval_score": value}
    SaveBest("score", larger=larger).on_evaluate(None, state, control, metrics=metrics)  # type: ignore[arg-type]
    assert control.should_save is saved


@pytest.mark.parametrize(
    ("rows", "best", "value", "kept"),
    # Standard errors of 0.8: 0.04 with 100 rows, 0.0057 with 5,000; of 1.0: none.
    [(100, 0.8, 0.77, 9), (100, 0.8, 0.75, 3), (5_000, 0.8, 0.795, 9), (5_000, 0.8, 0.79, 3), (100, 0.8, 0.8, 9),
     (100, 1.0, 1.0, 9), (100, 1.0, 0.99, 3), (None, 0.8, 0.8, 3)],
)  # fmt: skip
def test_the_last_of_those_that_so_few_rows_cannot_tell_apart_is_kept(
    rows: int | None, best: float, value: float, kept: int
) -> None:
    control: Any = SimpleNamespace(should_save=False)
    state: Any = SimpleNamespace(best_metric=best, best_global_step=3, global_step=9)
    SaveBest("share", larger=True, rows=rows).on_evaluate(None, state, control, metrics={"eval_share": value})  # type: ignore[arg-type]
    assert (state.best_global_step, state.best_metric, control.should_save) == (kept, best, kept == 9)


def test_where_memory_ran_out_steps_are_counted_from_the_first_beginning(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "log.jsonl", watch=lambda kind, content: None, tokens_per_step=8)
    for step in (3, 7):
        state: Any = SimpleNamespace(is_world_process_zero=True, global_step=step)
        recorder.on_train_begin(None, state, None)  # type: ignore[arg-type]
    assert recorder.first == 3
