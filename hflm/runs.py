"""List the runs in a folder; tolerant of folders that are broken, foreign or still being written."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hflm.errors import UsageError
from hflm.run import RunFolder, read_json
from hflm.settings import read_yaml

# What has a line for each class in metrics.json, or for each pair, and how many classes are still shown so.
TABLES, SHOWN = ("confusion", "confusions", "per_class"), 30


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One line of `hflm runs`; what a run's files do not say is None."""

    path: Path
    status: str
    started: str | None = None
    job: str | None = None
    data: str | None = None
    parameters: int | None = None
    eval_loss: float | None = None
    seconds: float | None = None


def list_runs(folder: Path) -> list[RunSummary]:
    """Return the runs in a folder and its sub-folders (and the folder itself, if it is one), oldest first.

    Raises UsageError where there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", fix="`hflm runs FOLDER` lists the runs in another folder.")
    places = [folder, *sorted(place for place in folder.iterdir() if os.path.isdir(place))]
    # os.path, for what lies in a folder that may not be looked into is not there.
    runs = [summarize(RunFolder(place)) for place in places if os.path.isfile(RunFolder(place).config)]
    return sorted(runs, key=lambda run: (run.started or "", str(run.path)))


def without_tables(text: str) -> str:
    """Return metrics as they stand in a file without what has a line for each class, or for each pair of them."""
    try:
        content = json.loads(text)
    except ValueError:
        return text

    def kept(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        long = {name for name in TABLES if isinstance(value.get(name), (list, dict)) and len(value[name]) > SHOWN}
        return {name: f"({len(inner):,} in the file)" if name in long else kept(inner)
                for name, inner in value.items()}  # fmt: skip

    return json.dumps(kept(content), indent=2, ensure_ascii=False)


def summarize(run: RunFolder) -> RunSummary:
    """Read one run; without readable metrics.json its status is 'unfinished'."""
    try:
        metrics: Any = read_json(run.metrics)
    except (OSError, ValueError):
        metrics = None
    if not isinstance(metrics, Mapping):
        return _unfinished(run)
    return RunSummary(
        path=run.path,
        status="done",
        started=_text(metrics.get("started")),
        job=_text(metrics.get("job")),
        data=_text(metrics.get("data")),
        parameters=int(count) if (count := _number(metrics.get("parameters"))) is not None else None,
        eval_loss=_number(metrics.get("eval_loss")),
        seconds=_number(metrics.get("seconds")),
    )


def _unfinished(run: RunFolder) -> RunSummary:
    """Return what is known of a run before its end: when it began, its job and its data."""
    try:
        started = _text(read_json(run.environment).get("started"))
        settings = read_yaml(run.config)
    except (OSError, ValueError, AttributeError, UsageError):
        return RunSummary(path=run.path, status="unfinished")
    job = "distill" if "teacher" in settings else "finetune" if "task" in settings else "pretrain"
    named = settings.get("train_file") or settings.get("data") or ()
    data = ", ".join(Path(str(one)).name for one in ([named] if isinstance(named, str) else named)[:3])
    return RunSummary(path=run.path, status="unfinished", started=started, job=job, data=data or None)


def last_lines(path: Path, count: int = 5) -> list[str]:
    """Return the last lines of a text file; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object) -> float | None:
    """Return a number that can be shown; NaN and Inf, which int() refuses, count as missing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < float("inf") else None
