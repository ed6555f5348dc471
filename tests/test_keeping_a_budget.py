"""A whole run with a budget: it ends in time, and can be done again, also where the probe was wrong."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hflm.engine import budget
from hflm.reproduce import reproduce
from hflm.training import steps
from tests.faults.test_exact import check

Run = Callable[..., Path]


def mistaken(patch: pytest.MonkeyPatch, *, slower: float) -> None:
    """Let the probe find steps that are so much slower than they are."""

    def probe(*words: Any, **named: Any) -> budget.Probe:
        found = budget.probe(*words, **named)
        return replace(found, step_seconds=slower * found.step_seconds)

    patch.setattr(steps, "probe", probe)


# Far off, so that a machine with busy neighbours cannot make good for the mistake within the three seconds.
@pytest.mark.long
@pytest.mark.parametrize("slower", [1.0, 4.0, 0.4])
def test_a_budget_is_kept_and_can_be_repeated(
    slower: float, run_pretrain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the probe takes the machine for slower or faster than it is."""
    run_pretrain()  # so that the text is prepared, as the budget does not tell of imports
    mistaken(monkeypatch, slower=slower)
    begin = time.perf_counter()
    run = run_pretrain(budget="3s", max_steps=None, eval_steps=None, save_steps=None)
    # Neighbours may take half of the machine; tests/engine/test_deadline.py holds the time by a clock of its own.
    assert time.perf_counter() - begin < 9
    plan, metrics = (json.loads((run / name).read_text()) for name in ("plan.json", "metrics.json"))
    assert 1 <= plan["evaluations"] <= 5
    assert plan["steps"] >= 10 and plan["step_seconds"] > 0
    assert metrics["steps"] == (plan["turns"][-1][1] if plan["turns"] else plan["steps"])
    if slower != 1.0:
        assert (metrics["steps"] > plan["steps"]) is (slower > 1)
        assert metrics["steps"] != plan["steps"]
    again = reproduce(run, tmp_path / "again", overwrite=False, watch=lambda kind, content: None)
    assert [figure.name for figure in again.figures if not figure.same] == []


@pytest.mark.long
def test_a_run_whose_steps_were_reckoned_anew_goes_on_to_the_same_end(
    run_pretrain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistaken(monkeypatch, slower=2.0)
    run = run_pretrain(budget="3s", max_steps=None, eval_steps=None, save_steps=8, save_total_limit=99)
    assert json.loads((run / "plan.json").read_text())["turns"]
    check(run, tmp_path, lambda name, value: None)
