"""What a run recorded when it began, held against what it finds when it goes on or is done again."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hflm.engine import checkpoints
from hflm.environment import environment
from hflm.errors import CheckpointError, UsageError
from hflm.plots import read_log
from hflm.run import RunFolder, read_object, set_aside, write_json
from hflm.sealed import changed_records, open_plan
from hflm.settings import flag, read_yaml
from hflm.training_settings import FREE

Say = Callable[[str], None]
CHANGED = "Restore it, start a new run, or go on all the same with --allow-change."


@dataclass(frozen=True)
class Change:
    """A setting or an input that is not what it was."""

    field: str
    old: str
    new: str
    is_setting: bool

    def sentence(self, run: RunFolder) -> str:
        """Say what has changed, in one line."""
        if self.is_setting:
            return f"--{flag(self.field)} of {run.path} was {self.old}, and is {self.new} now."
        return f"The {self.field} of {run.path} has changed since the run began (was {self.old}, is {self.new})."


def read_plan(run: RunFolder) -> dict[str, Any]:
    """Read what a run fixed before its first step; raises CheckpointError where it never came to that."""
    if not run.plan.exists() and not run.checkpoints.exists():
        # What else lies there may be the user's own.
        raise CheckpointError(
            f"{run.path} never began to train.", fix="Start it in another folder: --overwrite would empty this one."
        )
    return open_plan(run)


def changes(
    plan: Mapping[str, Any], *, key: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
) -> list[Change]:
    """List what differs from the plan; what is named on its own comes first, for the key of the data hangs on it."""
    before, now = {**plan.get("inputs", {}), "data": plan["data"]}, {**inputs, "data": key}
    found = [
        Change(name, old[:8], now.get(name, "")[:8] or "gone", False)
        for name, old in sorted(before.items(), key=lambda item: item[0] == "data")
        if old != now.get(name, "")
    ]
    saved = plan.get("settings", {})
    # A setting that the version which began the run did not know has the value that it has always had.
    differ = [name for name, value in settings.items() if name in saved and saved[name] != value and name not in FREE]
    return [Change(name, shown(saved[name]), shown(settings[name]), True) for name in differ] + found


def record_changes(run: RunFolder, plan: Mapping[str, Any]) -> list[Change]:
    """List the files of a run folder that are not as the run wrote them."""
    return [Change(name, old[:8], new[:8] or "gone", False) for name, old, new in changed_records(run, plan)]


def check_records(run: RunFolder) -> None:
    """Raise UsageError where settings, recipe or tokenizer are not as the run wrote them: before any is used."""
    if not run.plan.exists():
        return
    plan, now = open_plan(run), read_yaml(run.config)
    saved = plan.get("settings", {})
    # `auto` is what was worked out since.
    differ = [name for name in saved if saved[name] != now.get(name) and now.get(name) != "auto" and name not in FREE]
    settings = [Change(name, shown(saved[name]), shown(now.get(name)), True) for name in differ]
    refuse(settings + record_changes(run, plan), run)


def refuse(found: list[Change], run: RunFolder) -> None:
    """Raise UsageError for the first change."""
    if found:
        raise UsageError(found[0].sentence(run), fix=CHANGED)


def accepted(plan: Mapping[str, Any], found: list[Change]) -> list[dict[str, str]]:
    """Return the record of every change that a run was told to accept, those of before included."""
    new = [{"field": change.field, "was": change.old, "is": change.new} for change in found]
    return [*plan.get("changes", []), *new]


def shown(value: Any) -> str:
    """Write the value of a setting for people."""
    return "not set" if value in (None, (), []) else " ".join(value) if isinstance(value, (list, tuple)) else str(value)


def note_machine(run: RunFolder, plan: Mapping[str, Any], *, threads: int, precision: str, say: Say) -> None:
    """Say where versions, threads or precision are not those that the run began with: the last bits may differ then."""
    before, now = _environment(run).get("packages"), environment()["packages"]
    if not isinstance(before, dict):
        say(f"{run.environment} cannot be read: whether the versions are those of its beginning is not known")
        before = {}
    differ = [f"{name} was {before[name]}, is {now.get(name)}" for name in before if before[name] != now.get(name)]
    if plan.get("threads", threads) != threads:
        differ.append(f"threads were {plan['threads']}, are {threads}")
    if plan.get("precision", precision) != precision:
        differ.append(f"numbers were {plan['precision']}, are {precision} (--precision chooses)")
    if differ:
        say(f"not quite the same machine: {'; '.join(differ)}; the last bits of the results may differ")


def mend(run: RunFolder, plan: Mapping[str, Any], *, say: Say) -> None:
    """Say where the log or what was written of the machine is lost, and make way: no step hangs on them."""
    found = _environment(run)
    if not isinstance(found.get("packages"), dict) or not isinstance(found.get("started"), str):
        say(f"{run.environment} is lost or damaged: it is written anew")
        set_aside(run.environment)
        write_json(run.environment, environment())
    there = run.log.is_symlink() or run.log.exists()
    if there and not (run.log.is_file() and os.access(run.log, os.R_OK | os.W_OK)):
        say(f"{run.log} cannot be read: the log begins anew")
        set_aside(run.log)
    elif _lacks_lines(run, plan):
        say(f"{run.log} is lost or damaged in part: the curve of the loss has a gap")


def _lacks_lines(run: RunFolder, plan: Mapping[str, Any]) -> bool:
    """Tell whether a line of the log is none, or none is there of the last logging before the newest checkpoint."""
    # What stands behind the last line break was cut by a kill: its step is taken again.
    whole = run.log.read_bytes().split(b"\n")[:-1] if run.log.is_file() else []
    saved = [path for path in checkpoints.ordered(run.checkpoints) if (path / checkpoints.MANIFEST).is_file()]
    step = int(saved[-1].name.removeprefix(checkpoints.PREFIX)) if saved else 0
    # A plan of an earlier version does not say.
    every = plan.get("settings", {}).get("logging_steps", step + 1)
    return not all(map(_is_line, whole)) or steps_logged(run) < step - step % every


def _is_line(text: bytes) -> bool:
    try:
        line = json.loads(text)
    except ValueError:
        return False
    return isinstance(line, dict) and isinstance(line.get("step"), int)


def steps_logged(run: RunFolder) -> int:
    """Return how far a run came, as its log says; 0 where it says nothing."""
    return max((int(line["step"]) for line in read_log(run.log)), default=0)


def _environment(run: RunFolder) -> dict[str, Any]:
    try:
        return read_object(run.environment, or_else=ValueError())
    except ValueError:
        return {}
