"""The learning rate: up, level, down, and never zero while there are steps to take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hflm.engine.schedule import Course, factor, warmup_steps


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


@given(
    planned=st.integers(1, 10**6),
    parts=st.lists(st.tuples(st.floats(0.05, 0.95), st.floats(0.5, 2.0)), max_size=4),
)  # fmt: skip
def test_what_is_left_of_a_plan_is_laid_over_what_is_left_of_the_run(
    planned: int, parts: list[tuple[float, float]]
) -> None:
    course, at = Course(planned), 0
    for share, stretch in parts:
        left = course.steps - at
        at += int(share * left)
        before = course.place(at)
        course.turns.append((at, at + max(1, round(stretch * (course.steps - at)))))
        assert course.place(at) == before, "what is done stays as it was"
    assert course.place(0) == 0 and course.place(course.steps) == pytest.approx(planned)
    some = [course.place(step) for step in range(0, course.steps + 1, 1 + course.steps // 50)]
    assert some == sorted(some)


def test_steps_without_turns_stand_for_themselves() -> None:
    assert all(Course(997).place(step) == step for step in range(998))


def test_a_decay_that_is_squeezed() -> None:
    course = Course(100, [(50, 70)])
    rates = [factor(course.place(step), name="trapezoid", steps=100, warmup=0, decay=0.5) for step in (49, 50, 60, 70)]
    assert rates == [1, 1, 0.5, 0]
