"""Language models on packed rows: masked tokens for encoders, next tokens for decoders.

Both families collate rows into a batch of `input_ids` [B, T], `segments` [B, T], the flat `positions` [M]
that predict something and the `labels` [M] they predict, and sum the loss over these: the sum over a global
batch divided by its number of labels does not depend on how the batch was split.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hflm.data.masking import EVAL_PROBABILITY, EVAL_SEED, Masking, mask_row
from hflm.data.packing import PADDING
from hflm.families.cross_entropy import cross_entropy
from hflm.families.family import Batch, Item, Sums, plain_config
from hflm.families.sparse_head import SparseHead, fits
from hflm.models.attention import packed_inputs


def sum_up(logits: Tensor, labels: Tensor) -> Sums:
    """Sum the cross-entropy of logits [M, V]; without a gradient, count the right ones too."""
    loss = cross_entropy(logits, labels)
    if torch.is_grad_enabled():
        return Sums(loss, None, labels.numel())
    return Sums(loss, (logits.argmax(dim=-1) == labels).sum(), labels.numel())


@dataclass
class MaskedLM:
    """Predict the masked tokens."""

    masking: Masking
    head: SparseHead | None = field(default=None, init=False)
    sum_up = staticmethod(sum_up)

    def prepare(self, model: Any) -> bool:
        """Put the sparse head on a model where it fits; tell whether it did."""
        if fits(model):
            self.head = SparseHead(model)
        return self.head is not None

    def collate(self, items: list[Item]) -> Batch:
        """Mask by (seed, epoch, row)."""
        return self._collate(items, self.masking)

    def collate_eval(self, items: list[Item]) -> Batch:
        """Mask 15 % by the row alone, token by token, so that runs and objectives compare."""
        fixed = replace(self.masking, probability=EVAL_PROBABILITY, seed=EVAL_SEED, continuation=None)
        return self._collate([replace(item, epoch=0) for item in items], fixed)

    def count(self, batch: Batch) -> float:
        """Count the positions that are predicted."""
        return batch["labels"].numel()

    def _collate(self, items: list[Item], masking: Masking) -> Batch:
        fed, positions, labels = [], [], []
        for number, item in enumerate(items):
            row = np.asarray(item.row.ids, dtype=np.int64)
            ids, places = mask_row(row, masking=masking, epoch=item.epoch, index=item.index)
            fed.append(ids)
            positions.append(places + number * row.size)
            labels.append(row[places])
        return {
            "input_ids": torch.from_numpy(np.stack(fed)),
            "segments": _segments(items),
            "positions": torch.from_numpy(np.concatenate(positions)),
            "labels": torch.from_numpy(np.concatenate(labels)),
        }

    def sums(self, model: Any, batch: Batch) -> Sums:
        """Cross-entropy at the masked positions."""
        return self.sum_up(*self.scores(model, batch))

    def scores(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits [M, V] at the masked positions, and the tokens [M] that stood there."""
        extra = packed_inputs(batch["segments"], config=plain_config(model))
        if self.head is None:
            logits = model(input_ids=batch["input_ids"], **extra).logits.flatten(0, 1)[batch["positions"]]  # [M, V]
        else:
            logits = self.head.logits(model, batch["positions"], input_ids=batch["input_ids"], **extra)  # [M, V]
        return logits, batch["labels"]


@dataclass
class CausalLM:
    """Predict the next token, within each document."""

    sum_up = staticmethod(sum_up)

    def collate(self, items: list[Item]) -> Batch:
        """Every token that has a successor in its document predicts it."""
        ids = torch.from_numpy(np.stack([np.asarray(item.row.ids, dtype=np.int64) for item in items]))
        segments = _segments(items)
        follows = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] != PADDING)
        places = functional.pad(follows, (0, 1)).flatten().nonzero()[:, 0]
        return {"input_ids": ids, "segments": segments, "positions": places, "labels": ids.flatten()[places + 1]}

    collate_eval = collate

    def count(self, batch: Batch) -> float:
        """Count the positions that are predicted."""
        return batch["labels"].numel()

    def sums(self, model: Any, batch: Batch) -> Sums:
        """Cross-entropy at the positions that have a successor."""
        return self.sum_up(*self.scores(model, batch))

    def scores(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits [M, V] at the positions that have a successor, and the successors [M]."""
        extra = packed_inputs(batch["segments"], config=plain_config(model))
        logits = model(input_ids=batch["input_ids"], use_cache=False, **extra).logits.flatten(0, 1)
        if batch["positions"].numel() < len(logits):
            logits = logits.index_select(0, batch["positions"])  # [M, V]
        return logits, batch["labels"]


def _segments(items: list[Item]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(item.row.segments, dtype=np.int64) for item in items]))
