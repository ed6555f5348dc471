"""The record that a recipe fills: what a task is, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What each family of models reads and learns, by role: a recipe has a column for it.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "masked_lm": (), "classification": ("text", "label"), "tagging": ("tokens", "tags"), "text_to_text": ("source",),
    "causal_lm": (),
}  # fmt: skip
BEST = ("loss", "accuracy")
# Roles whose column an option names; the others are found by their names alone.
OPTIONS = ("text", "label", "source", "target", "tokens", "tags", "prompt", "completion", "messages")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: its name, the columns it accepts, the family of models that solves it, its usual numbers.

    `columns` maps a role to the column names accepted for it, in order of preference; `shapes` are the sets of
    roles that make a row, where there are several ways; `by_place` takes the first columns with text where no name
    is known. `family` names the kind of model: masked_lm, classification, tagging, text_to_text or causal_lm.
    `metric` scores the test split, and `best` says by which number of an evaluation the best model is kept. `prefix`
    is put before the source of an encoder-decoder that knows it; `instruction` asks a decoder-only model; `writes` says
    what a target is, text or triples. `sample` is the embedded data. `defaults` are settings of the job that runs
    the task.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    family: str
    shapes: tuple[tuple[str, ...], ...] = ()
    metrics: tuple[str, ...] = ()
    metric: str = ""
    best: str = "loss"
    prefix: str = ""
    instruction: str = ""
    writes: str = "text"
    sample: str = ""
    by_place: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for what no job could use."""
        if self.family not in NEEDS:
            raise ValueError(f"family is {self.family!r}, and is one of {', '.join(NEEDS)}")
        if self.best not in BEST:
            raise ValueError(f"best is {self.best!r}, and is {' or '.join(BEST)}")
        # A word in brackets without a comma is a text, and would be read letter by letter.
        shapes: Any = (self.shapes,) if isinstance(self.shapes, str) else self.shapes
        several: dict[str, Any] = {f"columns[{role!r}]": (names,) for role, names in self.columns.items()}
        several["an entry of shapes"] = shapes
        for what, entries in several.items():
            for entry in entries:
                if isinstance(entry, str):
                    raise ValueError(f"{what} is the text {entry!r}: write ({entry!r},)")
        wanted = (*NEEDS[self.family], *(role for shape in self.shapes for role in shape))
        lacking = next((role for role in wanted if role not in self.columns), None)
        if lacking:
            raise ValueError(f"columns lack the role {lacking!r}")

    @property
    def complete(self) -> tuple[tuple[str, ...], ...]:
        """The sets of roles that make a row: all of them, where nothing else is said."""
        return self.shapes or (tuple(self.columns),)
