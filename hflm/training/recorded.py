"""What a run recorded when it began, held against what it finds when it goes on or is done again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hflm.environment import environment
from hflm.errors import CheckpointError, UsageError
from hflm.run import RunFolder, read_json
from hflm.settings import flag

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
    if not run.plan.exists():
        raise CheckpointError(f"{run.path} never began to train.", fix="Start it again with --overwrite.")
    return read_json(run.plan)


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
    differ = [name for name, value in settings.items() if name in saved and saved[name] != value]
    return [Change(name, shown(saved[name]), shown(settings[name]), True) for name in differ] + found


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


def note_machine(run: RunFolder, plan: Mapping[str, Any], *, threads: int, say: Say) -> None:
    """Say where versions or threads are not those that the run began with: the last bits may differ then."""
    before, now = read_json(run.environment).get("packages", {}), environment()["packages"]
    differ = [f"{name} was {before[name]}, is {now.get(name)}" for name in before if before[name] != now.get(name)]
    if plan.get("threads", threads) != threads:
        differ.append(f"threads were {plan['threads']}, are {threads}")
    if differ:
        say(f"not quite the same machine: {'; '.join(differ)}; the last bits of the results may differ")
