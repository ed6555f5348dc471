"""The record that a recipe fills: what a task is, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: its name, the columns it accepts, the family of models that solves it, its usual numbers.

    `columns` maps a role to the column names accepted for it, in order of preference. `family` names a
    file in `hflm/families/`. `defaults` are settings of the job that runs the task.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    family: str
    metrics: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
