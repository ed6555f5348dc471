"""The learning rate over a run, as a share of its peak, and the number of steps that it is laid out over."""

from dataclasses import dataclass, field


def warmup_steps(warmup: float, *, steps: int) -> int:
    """Read a warm-up: below 1 a share of the steps, otherwise a number of them."""
    return min(steps, round(warmup * steps) if warmup < 1 else round(warmup))


@dataclass(frozen=True)
class Course:
    """The steps of a run as it was planned, and the turns at which their number was reckoned anew.

    From a turn (at, steps) on, what was left of the plan is stretched or squeezed over what is left of `steps`: where
    the learning rate was to fall it falls, and it is at its end when the run is.
    """

    planned: int
    turns: list[tuple[int, int]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """The steps of the whole run, as far as is known."""
        return self.turns[-1][1] if self.turns else self.planned

    def place(self, step: int) -> float:
        """Return the step of the plan for which a step stands."""
        begin, end, place = 0, self.planned, 0.0
        for at, steps in self.turns:
            if step <= at:
                break
            place += (at - begin) * (self.planned - place) / (end - begin)
            begin, end = at, steps
        return place + (step - begin) * (self.planned - place) / (end - begin)


def factor(step: float, *, name: str, steps: int, warmup: int, decay: float) -> float:
    """Return the share of the peak learning rate at `step` of `steps`, never quite zero.

    trapezoid: up, level, then down to zero over the last `decay` of the run (Haegele et al. 2024);
    linear: up, then down from there.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    length = max(1, steps - warmup if name == "linear" else round(decay * steps))
    return min(1.0, max(0.0, (steps - step) / length))
