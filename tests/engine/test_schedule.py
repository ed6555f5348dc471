"""The learning rate: up, level, down, and never zero while there are steps to take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hflm.engine.schedule import factor, warmup_steps


@given(
    steps=st.integers(1, 500), warmup=st.floats(0, 50), decay=st.floats(0, 0.99),
    name=st.sampled_from(["trapezoid", "linear"]),
)  # fmt: skip
def test_shape(steps: int, warmup: float, decay: float, name: str) -> None:
    up = warmup_steps(warmup, steps=steps)
    rates = [factor(step, name=name, steps=steps, warmup=up, decay=decay) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:up] == sorted(rates[:up]) and rates[up:] == sorted(rates[up:], reverse=True)
    # The scheduler asks once more after the last step.
    assert 0 <= factor(steps, name=name, steps=steps, warmup=up, decay=decay) <= 1


def test_examples() -> None:
    trapezoid = [factor(step, name="trapezoid", steps=10, warmup=3, decay=0.4) for step in range(11)]
    assert trapezoid == [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    linear = [factor(step, name="linear", steps=5, warmup=1, decay=0.9) for step in range(6)]
    assert linear == [0.5, 1, 0.75, 0.5, 0.25, 0]


@pytest.mark.parametrize(("warmup", "steps", "expected"), [(0, 9, 0), (0.1, 100, 10), (1, 100, 1), (50, 20, 20)])
def test_warm_up_is_a_share_or_a_number(warmup: float, steps: int, expected: int) -> None:
    assert warmup_steps(warmup, steps=steps) == expected
