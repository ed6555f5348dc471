"""The small data sets that come with the package, one a task."""

from pathlib import Path

from hflm.errors import UsageError
from hflm.task import Task


def sample_files(task: Task) -> tuple[str, ...]:
    """Return the files of a task's sample; raises UsageError where it has none."""
    folder = Path(__file__).parents[1] / "corpus"
    found = sorted(str(path) for path in folder.glob(f"{task.sample}.*")) if task.sample else []
    if not found:
        raise UsageError(f"The recipe {task.name!r} brings no data.", fix="Pass --data FILE or --train-file FILE.")
    return tuple(found)
