"""A student that learns from a teacher: the loss of its own family, and how far it is from what the teacher says."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hflm.data.packing import PADDING
from hflm.families.divergence import divergence
from hflm.families.encoded import IGNORED
from hflm.families.family import Batch, Item, Sums


@dataclass
class Distilled:
    """The family of a student, whose training also follows a frozen teacher (Hinton et al. 2015).

    Of the loss, `soft_share` is T^2 x KL(teacher || student) at the targets and the rest that of the labels; to both
    comes `hidden_weight` x the distance of the last hidden states (Sanh et al. 2019). `teacher_family` reads the
    teacher where it needs another head than the student's; `order` [C] says which class of the teacher is each of
    the student's. All are sums over the same targets, so that the loss does not depend on how a batch is split.
    Evaluation scores the student alone, by its labels.
    """

    family: Any
    teacher: Any
    temperature: float
    soft_share: float
    hidden_weight: float = 0.0
    teacher_family: Any = None
    order: Tensor | None = None
    _hidden: "tuple[LastHidden, LastHidden] | None" = field(default=None, init=False)

    def listen(self, student: Any) -> None:
        """Keep the last hidden states of both models from here on, to compare them."""
        self._hidden = LastHidden(student), LastHidden(self.teacher)

    def collate(self, items: list[Item]) -> Batch:
        """Rows into a batch, as the student's family does it."""
        batch: Batch = self.family.collate(items)
        return batch

    def collate_eval(self, items: list[Item]) -> Batch:
        """Rows into a batch that is the same in every run."""
        batch: Batch = self.family.collate_eval(items)
        return batch

    def count(self, batch: Batch) -> float:
        """Count the targets."""
        return float(self.family.count(batch))

    def sums(self, model: Any, batch: Batch) -> Sums:
        """Sum the losses of labels and teacher; where no gradient is asked for, that of the labels alone."""
        logits, labels = self.family.scores(model, batch)  # [M, C], [M]
        hard: Sums = self.family.sum_up(logits, labels)
        if not torch.is_grad_enabled() or not (self.soft_share or self.hidden_weight):
            return hard
        with torch.no_grad():
            taught, _ = (self.teacher_family or self.family).scores(self.teacher, batch)
        if self.order is not None:
            taught = taught[..., self.order.to(taught.device)]
        # Beyond the vocabulary, tables may be filled up to a round number.
        width = min(logits.size(-1), taught.size(-1))
        table = getattr(self.family, "weights", None)
        weights = None if table is None else table.to(labels.device)[labels]
        soft = divergence(logits[..., :width], taught[..., :width], temperature=self.temperature, weights=weights)
        loss = (1 - self.soft_share) * hard.loss + self.soft_share * soft
        if self._hidden is not None:
            loss = loss + self.hidden_weight * self._distance(batch, *(one.take() for one in self._hidden))
        return Sums(loss, None, hard.count)

    def _distance(self, batch: Batch, ours: Tensor, theirs: Tensor) -> Tensor:
        """Sum 1 - cosine of the hidden states [B, T, D]: the mean over a row's tokens, once for each of its targets."""
        apart = 1 - functional.cosine_similarity(ours.float(), theirs.float(), dim=-1)  # [B, T]
        read = (batch["segments"] != PADDING if "segments" in batch else batch["attention_mask"] == 1).float()
        a_row = (apart * read).sum(dim=1) / read.sum(dim=1)  # [B]
        return (a_row * targets_a_row(batch)).sum()


def targets_a_row(batch: Batch) -> Tensor:
    """Count the targets of each row of a batch [B]."""
    rows, length = batch["input_ids"].shape
    if "positions" in batch:
        return torch.bincount(batch["positions"] // length, minlength=rows).float()
    labels = batch["labels"]
    return torch.ones_like(labels).float() if labels.dim() == 1 else (labels != IGNORED).sum(dim=1).float()


class LastHidden:
    """The last hidden states [B, T, D] of a model's body, before a sparse head takes some of them."""

    def __init__(self, model: Any) -> None:
        self._last: Tensor | None = None
        model.base_model.register_forward_hook(self._keep, prepend=True)

    def _keep(self, module: Any, args: Any, output: Any) -> None:
        self._last = output[0]

    def take(self) -> Tensor:
        """Return what was kept, and let go of it."""
        assert self._last is not None
        last, self._last = self._last, None
        return last
