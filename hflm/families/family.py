"""What the engine asks of a model head, and what it gives."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Item:
    """A row as its family encoded it, and where it stands in the run, which is all that a mask depends on."""

    row: Any
    epoch: int
    index: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the targets of a batch: loss (with its graph), right predictions, targets.

    Right predictions are counted where no gradient is asked for; training does not pay for them.
    """

    loss: Tensor
    correct: Tensor | None
    count: float


class Family(Protocol):
    """A model head: rows into a batch, a batch into sums."""

    def collate(self, items: list[Item]) -> Batch:
        """Rows into a batch."""

    def collate_eval(self, items: list[Item]) -> Batch:
        """Rows into a batch whose targets are the same in every run."""

    def count(self, batch: Batch) -> float:
        """Count the targets of a batch, by which the summed loss is divided; weights count as themselves."""

    def sums(self, model: Any, batch: Batch) -> Sums:
        """Forward a batch and sum what it scores."""


def plain_config(model: Any) -> Any:
    """Return the configuration of a model, through the wrappers of DDP and torch.compile."""
    while not hasattr(model, "config"):
        model = getattr(model, "module", None) or model._orig_mod
    return model.config
