"""The learning rate over a run, as a share of its peak."""


def warmup_steps(warmup: float, *, steps: int) -> int:
    """Read a warm-up: below 1 a share of the steps, otherwise a number of them."""
    return min(steps, round(warmup * steps) if warmup < 1 else round(warmup))


def factor(step: int, *, name: str, steps: int, warmup: int, decay: float) -> float:
    """Return the share of the peak learning rate at `step` of `steps`, never quite zero.

    trapezoid: up, level, then down to zero over the last `decay` of the run (Haegele et al. 2024);
    linear: up, then down from there.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    length = max(1, steps - warmup if name == "linear" else round(decay * steps))
    return min(1.0, max(0.0, (steps - step) / length))
