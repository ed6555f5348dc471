"""Text to text by an encoder-decoder: the source is read, the target written by label ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from hflm.data.examples import Example
from hflm.families.cross_entropy import cross_entropy
from hflm.families.encoded import IGNORED, Encoded, beginning, in_parts, mask_of, pad, was_cut
from hflm.families.family import Batch, Item, Sums, plain_config
from hflm.families.triple_tokens import TripleTokens
from hflm.models.spacing import set_solid


@dataclass
class Seq2Seq:
    """Sources and targets for an encoder-decoder; `prefix` stands before every source; `triples` are all it writes."""

    tokenizer: Any
    prefix: str
    max_source_length: int
    max_target_length: int
    start: int
    label_smoothing: float = 0.0
    triples: TripleTokens | None = None
    kind: str = field(default="seq2seq", init=False)

    @cached_property
    def around_source(self) -> int:
        """Tokens that stand around a source: the prefix, and marks of begin and end."""
        return len(self.tokenizer(self.prefix)["input_ids"])

    def encode(self, examples: Sequence[Example]) -> list[Encoded]:
        """Tokenize sources and targets, the end of long ones left out."""
        return in_parts(self._encode, examples)

    def _encode(self, examples: Sequence[Example]) -> list[Encoded]:
        whole = [self.prefix + example["source"] for example in examples]
        sources = [beginning(text, most=self.max_source_length) for text in whole]
        found = self.tokenizer(sources, truncation=True, max_length=self.max_source_length)
        cut = [
            len(source) < len(whole[row]) or was_cut(self.tokenizer, found, row, source, most=self.max_source_length)
            for row, source in enumerate(sources)
        ]
        targets = [example.values.get("target") for example in examples]
        labels: Any = [None] * len(targets)
        if all(target is not None for target in targets):
            labels, long = self._targets(targets)
            cut = [one or other for one, other in zip(cut, long, strict=True)]
        return [
            Encoded(list(ids), target, over, len(target or ()))
            for ids, target, over in zip(found["input_ids"], labels, cut, strict=True)
        ]

    def _targets(self, texts: list[Any]) -> tuple[list[list[int]], list[bool]]:
        """Return the ids of targets, and which of them lost their end."""
        most = self.max_target_length
        kept = [beginning(text, most=most) for text in texts]
        found = self.tokenizer(text_target=kept, truncation=True, max_length=most)
        cut = [
            len(text) < len(texts[row]) or was_cut(self.tokenizer, found, row, text, most=most, target=True)
            for row, text in enumerate(kept)
        ]
        return [self._labels(list(ids)) for ids in found["input_ids"]], cut

    def _labels(self, ids: list[int]) -> list[int]:
        # Where a tokenizer opens a text with the very token that starts the decoder, it would stand there twice.
        return ids[1:] if ids and ids[0] == self.start else ids

    def collate(self, items: list[Item]) -> Batch:
        """Pad sources and targets of a batch; the decoder reads the targets shifted by one."""
        rows = [item.row for item in items]
        return {**self.generation_inputs(rows), "labels": pad([row.labels for row in rows], value=IGNORED)}

    collate_eval = collate

    def generation_inputs(self, rows: Sequence[Encoded]) -> Batch:
        """Return what the encoder reads: ids and mask [B, T]."""
        ids = [row.ids for row in rows]
        return {"input_ids": pad(ids, value=self.tokenizer.pad_token_id), "attention_mask": mask_of(ids)}

    def count(self, batch: Batch) -> float:
        """Count the target tokens."""
        return int((batch["labels"] != IGNORED).sum())

    def sums(self, model: Any, batch: Batch) -> Sums:
        """Cross-entropy of the targets."""
        labels = batch["labels"]  # [B, U]
        before = torch.full_like(labels[:, :1], self.start)
        shifted = torch.cat([before, labels[:, :-1]], dim=1)
        shifted = shifted.masked_fill(shifted == IGNORED, plain_config(model).pad_token_id or 0)
        logits = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], decoder_input_ids=shifted,
            use_cache=False,
        ).logits  # [B, U, V]  # fmt: skip
        places = (labels != IGNORED).flatten().nonzero()[:, 0]
        logits, wanted = logits.flatten(0, 1).index_select(0, places), labels.flatten()[places]
        loss = cross_entropy(logits, wanted)
        if not torch.is_grad_enabled():
            return Sums(loss, (logits.argmax(dim=-1) == wanted).sum(), wanted.numel())
        if self.label_smoothing:
            even = -torch.log_softmax(logits.float(), dim=-1).mean(dim=-1).sum()
            loss = (1 - self.label_smoothing) * loss + self.label_smoothing * even
        return Sums(loss, None, wanted.numel())

    def prompt(self, example: Example) -> Encoded:
        """Encode the source alone, for generation."""
        return self.encode([Example(example.where, {"source": example["source"]})])[0]

    def texts(self, generated: Any, *, prompt_length: int) -> list[str]:
        """Decode what was generated."""
        written = self.tokenizer.batch_decode(generated, skip_special_tokens=True)
        found = [set_solid(self.tokenizer, text).strip() for text in written]
        return [self.triples.close(text) for text in found] if self.triples else found
