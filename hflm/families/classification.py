"""One class for a text: an encoder, or a decoder, with a classification head."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hflm.data.examples import Example
from hflm.families.encoded import Encoded, beginning, in_parts, mask_of, pad, was_cut
from hflm.families.family import Batch, Item, Sums


@dataclass
class Classification:
    """Texts [B] to classes; `weights` [C] count rare classes for more, where they are given.

    Logits are divided by `temperature` before they become probabilities (Guo et al. 2017); it moves no class.
    """

    tokenizer: Any
    labels: Sequence[str]
    max_length: int
    label_smoothing: float = 0.0
    weights: Tensor | None = None
    temperature: float = 1.0
    # An encoder-decoder reads the class off the end of a text, which no text may have within.
    plain: bool = False
    kind: str = field(default="classification", init=False)

    def encode(self, examples: Sequence[Example]) -> list[Encoded]:
        """Tokenize texts, the end of long ones left out."""
        return in_parts(self._encode, examples)

    def _encode(self, examples: Sequence[Example]) -> list[Encoded]:
        numbers = {label: number for number, label in enumerate(self.labels)}
        texts = [beginning(example["text"], most=self.max_length) for example in examples]
        found = self.tokenizer(
            texts, truncation=True, max_length=self.max_length, return_overflowing_tokens=False,
            **({"split_special_tokens": True} if self.plain else {}),
        )  # fmt: skip
        rows = []
        for number, (example, ids) in enumerate(zip(examples, found["input_ids"], strict=True)):
            label = example.values.get("label")
            # A decoder's tokenizer makes nothing of an empty text, and a model reads at least one token.
            ids = list(ids) or [self.tokenizer.pad_token_id]
            cut = len(texts[number]) < len(example["text"])
            cut = cut or was_cut(self.tokenizer, found, number, texts[number], most=self.max_length)
            rows.append(Encoded(ids, None if label is None else numbers[label], cut))
        return rows

    def collate(self, items: list[Item]) -> Batch:
        """Pad the texts of a batch to its longest."""
        batch = self.inputs([item.row for item in items])
        batch["labels"] = torch.tensor([item.row.labels for item in items])
        return batch

    collate_eval = collate

    def inputs(self, rows: Sequence[Encoded]) -> Batch:
        """Return what the model reads: ids and mask [B, T]."""
        ids = [row.ids for row in rows]
        # XLNet reads the class off the last place, where its own token for it stands; XLM's is also what ends a text.
        first, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        left = first is not None and first != end and ids[0][-1] == first
        padded = pad(ids, value=self.tokenizer.pad_token_id, left=left)
        return {"input_ids": padded, "attention_mask": mask_of(ids, left=left)}

    def count(self, batch: Batch) -> float:
        """Count the rows, or sum their weights."""
        if self.weights is None:
            return batch["labels"].numel()
        return float(self.weights.to(batch["labels"].device)[batch["labels"]].sum())

    def scores(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits [B, C] and the classes [B] that they are for."""
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return logits.float(), batch["labels"]

    def sums(self, model: Any, batch: Batch) -> Sums:
        """Forward, and sum."""
        return self.sum_up(*self.scores(model, batch))

    def sum_up(self, logits: Tensor, labels: Tensor) -> Sums:
        """Cross-entropy of the classes, smoothed and weighted where asked, in training alone."""
        training = torch.is_grad_enabled()
        weights = self.weights.to(logits.device) if training and self.weights is not None else None
        loss = functional.cross_entropy(
            logits, labels, reduction="sum", weight=weights,
            label_smoothing=self.label_smoothing if training else 0.0,
        )  # fmt: skip
        if training:
            return Sums(loss, None, self.count({"labels": labels}))
        return Sums(loss, (logits.argmax(dim=-1) == labels).sum(), labels.numel())

    def predict(self, model: Any, rows: Sequence[Encoded]) -> list[dict[str, Any]]:
        """Return the likeliest class of each row and its probability."""
        chances = (self.logits(model, rows) / self.temperature).softmax(dim=-1)  # [B, C]
        best = chances.max(dim=-1)
        return [
            {"prediction": self.labels[number], "score": score}
            for number, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def logits(self, model: Any, rows: Sequence[Encoded]) -> Tensor:
        """Return the logits [B, C] of rows, as the weights give them."""
        batch = {name: value.to(model.device) for name, value in self.inputs(rows).items()}
        logits: Tensor = model(**batch).logits.float()
        return logits
