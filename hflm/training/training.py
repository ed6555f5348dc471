"""A training: what it needs, what it came to, and how often it looks up from its steps."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from hflm.engine.deadline import ROOM, Deadline
from hflm.engine.device import Device
from hflm.engine.optimizer import build_optimizer
from hflm.engine.order import Order, Readable
from hflm.engine.schedule import Course
from hflm.engine.split import Split
from hflm.families.family import Family
from hflm.run import RunFolder
from hflm.settings import to_dict
from hflm.training_settings import TrainingSettings

EVALUATIONS = 5
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training needs: `rows`, or a function from a number of rows to a stream of them; `count` rows a pass.

    `order` gives the order of a number of steps; `key` stands for the content of the data, and `inputs` for that of
    each thing that the run began with; `name_row` names a row for people; `plan` is what the run folder is to
    record beside the steps. `steps` are as planned, and `turns` tell where they were reckoned anew to keep a
    `deadline`: the list grows while the run is under way, and every copy of a training has the same one.
    """

    config: TrainingSettings
    run: RunFolder
    model: Any
    family: Family
    device: Device
    split: Split
    rows: Readable | Callable[[int], Readable]
    count: int | None
    eval_rows: Readable
    order: Callable[[int], Order]
    key: str
    tokens_per_step: float
    keep_best: bool = False
    best: tuple[str, bool] = ("loss", False)
    # Of how many rows the best metric is a share, where it is one.
    best_rows: int | None = None
    # Rows of an evaluation that are read at once.
    eval_batch: int = 32
    steps: int = 0
    turns: list[tuple[int, int]] = field(default_factory=list)
    deadline: Deadline | None = None
    evaluations: int = EVALUATIONS
    inputs: Mapping[str, str] = field(default_factory=dict)
    name_row: Callable[[int], str] = "row {}".format
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def course(self) -> Course:
        """The steps, and the turns at which their number was reckoned anew."""
        return Course(self.steps, self.turns)

    @property
    def room(self) -> int:
        """The most steps that the run may come to have."""
        return ROOM * self.steps if self.deadline else self.course.steps

    def rows_for(self, length: int) -> Readable:
        """Return the rows; of a stream, its first `length`."""
        return self.rows(length) if callable(self.rows) else self.rows


@dataclass(frozen=True)
class Trained:
    """What a training came to: steps done, seconds spent and of one step, and the evaluation of the model it left.

    The seconds are those since step `first`, where a run went on.
    """

    steps: int
    seconds: float
    step_seconds: float
    evaluation: Mapping[str, float]
    best_step: int | None
    first: int = 0


def planned(training: Training, **more: Any) -> Training:
    """Put into the plan what a run that goes on, or is done again, must find unchanged."""
    plan = {
        "steps": training.steps, "turns": training.turns, "evaluations": training.evaluations, "data": training.key,
        "inputs": dict(training.inputs), "split": str(training.split), "micro_batch": training.split.micro_batch,
        "threads": torch.get_num_threads(), "precision": training.device.precision,
        "settings": to_dict(training.config),
    }  # fmt: skip
    return replace(training, plan={**training.plan, **plan, **more})


def autocast(device: Device) -> Any:
    """Return the context in which a device computes in its precision."""
    return torch.autocast(device.kind, dtype=device.dtype, enabled=device.precision != "fp32")


def optimizer_of(training: Training) -> Any:
    config = training.config
    assert config.learning_rate is not None, "worked out by now"
    return partial(
        build_optimizer, name=config.optimizer, lr=config.learning_rate, weight_decay=config.weight_decay,
        dtype=torch.bfloat16 if training.device.precision == "bf16" else torch.float32,
    )  # fmt: skip


def evaluate_every(training: Training) -> int:
    return training.config.eval_steps or math.ceil(training.steps / training.evaluations)


def save_every(training: Training) -> int:
    return training.config.save_steps or evaluate_every(training)


def first_saving(plan: Mapping[str, Any]) -> int:
    """Return after which step a run was to save first, by its plan."""
    settings = plan.get("settings", {})
    every = settings.get("save_steps") or settings.get("eval_steps")
    return int(every or math.ceil(plan["steps"] / plan.get("evaluations", EVALUATIONS)))
