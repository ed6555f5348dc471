"""What happens beside the steps: a model that is the best so far is saved."""

from types import SimpleNamespace
from typing import Any

import pytest

from hflm.engine.callbacks import SaveBest


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
