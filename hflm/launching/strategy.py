"""How the weights of a run are spread over its processes: what that needs, and what is said of it."""

from importlib.util import find_spec

from hflm.errors import UsageError
from hflm.training_settings import TrainingSettings


def check_strategy(config: TrainingSettings) -> None:
    """Raise UsageError where `auto` found one process only, or DeepSpeed is asked for and not there."""
    config.check()
    if config.strategy.startswith("zero") and find_spec("deepspeed") is None:
        raise UsageError(
            f"--strategy {config.strategy} needs DeepSpeed, which is not installed.",
            fix="Run `pip install deepspeed`, or pass --strategy fsdp2, which needs nothing.",
        )


def note_of(config: TrainingSettings) -> str:
    """Return what is said of a strategy beside the number of processes."""
    if config.strategy == "ddp":
        return ""
    untried = ", which no test of hflm has run" if config.strategy.startswith("zero") else ""
    return f"; strategy: {config.strategy}{untried}"
