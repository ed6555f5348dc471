"""One class for each word: an encoder with a head at the first piece of every word."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hflm.data.examples import Example
from hflm.errors import ModelError
from hflm.families.encoded import IGNORED, Encoded, in_parts, mask_of, pad
from hflm.families.family import Batch, Item, Sums
from hflm.words import UNSPACED


def joins_words(tokenizer: Any) -> bool:
    """Tell whether a tokenizer reads words given one by one as if no spaces stood between them.

    So do those of bytes, as of GPT-2 and RoBERTa, unless they set a space themselves.
    """
    before = getattr(getattr(tokenizer, "backend_tokenizer", None), "pre_tokenizer", None)
    if before is None:
        return False
    told = json.loads(before.__getstate__())
    kinds = told.get("pretokenizers", [told])
    return any(kind["type"] == "ByteLevel" for kind in kinds) and not any(
        kind.get("add_prefix_space") for kind in kinds
    )


@dataclass
class Tagging:
    """Words to tags; a word is read at its first piece, the others have no target."""

    tokenizer: Any
    labels: Sequence[str]
    max_length: int
    label_smoothing: float = 0.0
    kind: str = field(default="tagging", init=False)

    def encode(self, examples: Sequence[Example]) -> list[Encoded]:
        """Tokenize words, keeping where each begins; `labels` [t] is -100 but at first pieces.

        Raises ModelError for a tokenizer that does not tell where words begin.
        """
        if not self.tokenizer.is_fast:
            kind = type(self.tokenizer).__name__
            raise ModelError(f"{kind} does not tell where words begin.", fix="Name a model with another tokenizer.")
        return in_parts(self._encode, examples)

    def _encode(self, examples: Sequence[Example]) -> list[Encoded]:
        numbers = {label: number for number, label in enumerate(self.labels)}
        found = self.tokenizer(
            [self._spaced(example["tokens"]) for example in examples], is_split_into_words=True, truncation=True,
            max_length=self.max_length,
        )  # fmt: skip
        rows = []
        for number, example in enumerate(examples):
            tags = example.values.get("tags") or [self.labels[0]] * len(example["tokens"])
            words, last, labels, first = found.word_ids(number), None, list[int](), list[int]()
            for word in words:
                opens = word is not None and word != last
                labels.append(numbers[tags[word]] if opens else IGNORED)
                first += [word] if opens else []
                last = word
            cut = bool(first) and first[-1] < len(tags) - 1
            rows.append(Encoded(list(found["input_ids"][number]), labels, cut, len(first), tuple(first), len(tags)))
        return rows

    @cached_property
    def _bytes(self) -> bool:
        return joins_words(self.tokenizer)

    def _spaced(self, words: Sequence[str]) -> Sequence[str]:
        """Give words the space that stands before them in a text, where the tokenizer reads it as a part of them."""
        if not self._bytes:
            return words
        return [word if not at or UNSPACED.match(word) else f" {word}" for at, word in enumerate(words)]

    def collate(self, items: list[Item]) -> Batch:
        """Pad words and tags of a batch to its longest."""
        rows = [item.row for item in items]
        return {**self.inputs(rows), "labels": pad([row.labels for row in rows], value=IGNORED)}

    collate_eval = collate

    def inputs(self, rows: Sequence[Encoded]) -> Batch:
        """Return what the model reads: ids and mask [B, T]."""
        ids = [row.ids for row in rows]
        return {"input_ids": pad(ids, value=self.tokenizer.pad_token_id), "attention_mask": mask_of(ids)}

    def count(self, batch: Batch) -> float:
        """Count the words."""
        return int((batch["labels"] != IGNORED).sum())

    def scores(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits [M, C] at the first pieces of words, and the tags [M] that they are for."""
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits  # [B, T, C]
        places = (batch["labels"] != IGNORED).flatten().nonzero()[:, 0]
        return logits.flatten(0, 1)[places].float(), batch["labels"].flatten()[places]

    def sums(self, model: Any, batch: Batch) -> Sums:
        """Forward, and sum."""
        return self.sum_up(*self.scores(model, batch))

    def sum_up(self, logits: Tensor, labels: Tensor) -> Sums:
        """Cross-entropy of the tags."""
        training = torch.is_grad_enabled()
        smoothing = self.label_smoothing if training else 0.0
        loss = functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
        correct = None if training else (logits.argmax(dim=-1) == labels).sum()
        return Sums(loss, correct, labels.numel())

    def predict(self, model: Any, rows: Sequence[Encoded]) -> list[dict[str, Any]]:
        """Return a tag for every word; one that was cut off or has no pieces gets the tag O, or the first."""
        batch = {name: value.to(model.device) for name, value in self.inputs(rows).items()}
        best = model(**batch).logits.argmax(dim=-1).tolist()  # [B, T]
        other = "O" if "O" in self.labels else self.labels[0]
        found = []
        for tags, row in zip(best, rows, strict=True):
            tagged = [tag for tag, label in zip(tags, row.labels, strict=False) if label != IGNORED]
            by_word = dict(zip(row.words, tagged, strict=True))
            found.append({"prediction": [self.labels[by_word[n]] if n in by_word else other for n in range(row.size)]})
        return found
