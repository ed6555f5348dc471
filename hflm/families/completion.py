"""Answers of a decoder-only model: prompt and completion in one row, the loss on the completion alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from hflm.data.examples import Example
from hflm.errors import DataError, ModelError
from hflm.families.cross_entropy import cross_entropy
from hflm.families.encoded import IGNORED, Encoded, mask_of, pad
from hflm.families.family import Batch, Item, Sums
from hflm.families.prompts import answer_opening, as_messages, before_answer, prompt_ids, shorten, spans
from hflm.families.sparse_head import SparseHead, fits
from hflm.families.triple_tokens import TripleTokens
from hflm.models.spacing import set_solid


@dataclass
class Completion:
    """Sources and targets, chats, or plain text, for a decoder-only model; `triples`, where they are all it writes."""

    tokenizer: Any
    instruction: str
    max_source_length: int
    max_target_length: int
    label_smoothing: float = 0.0
    triples: TripleTokens | None = None
    # Whether answers come with the thoughts before them, which a template may keep a block for.
    thinks: bool = False
    head: SparseHead | None = field(default=None, init=False)
    kind: str = field(default="completion", init=False)

    def prepare(self, model: Any) -> None:
        """Compute logits only where something is predicted, on models whose head allows it."""
        if fits(model):
            self.head = SparseHead(model)

    def encode(self, examples: Sequence[Example]) -> list[Encoded]:
        """Tokenize; a long source loses its end, a long conversation its beginning, plain text becomes pieces."""
        numbered = enumerate(examples)
        return [replace(row, example=number) for number, one in numbered for row in self._encode_named(one)]

    def encode_one(self, example: Example) -> Encoded:
        """Tokenize an example that is one row."""
        return self._encode_named(example)[0]

    def _encode_named(self, example: Example) -> list[Encoded]:
        try:
            return self._encode(example.values)
        except ModelError as error:
            # A template may know no system text, or want two speakers in turn.
            fix = "Change its turns, leave the row out, or name a model with another template."
            raise DataError(f"{example.where}: {error.problem}", fix=fix) from error

    @property
    def room(self) -> int:
        """Tokens of a row."""
        return self.max_source_length + self.max_target_length

    @cached_property
    def around_source(self) -> int:
        """Tokens that stand around a source: the instruction, and what a chat template puts there."""
        messages = as_messages({"source": "a"}, instruction=self.instruction) or []
        return len(prompt_ids(self.tokenizer, messages, opening=self.opening))

    @property
    def opening(self) -> str:
        """What stands between a question and an answer without thoughts."""
        return "" if self.thinks else answer_opening(self.tokenizer)

    def _encode(self, values: Mapping[str, Any]) -> list[Encoded]:
        values, cut = self._shorten(values)
        messages = as_messages(values, instruction=self.instruction)
        if messages is None:
            ids = [*self.tokenizer(values["text"])["input_ids"], self.tokenizer.eos_token_id]
            pieces = [ids[at : at + self.room] for at in range(0, len(ids), self.room)]
            # A single token at the end has nothing before it to be predicted from.
            return [
                Encoded(piece, piece, targets=len(piece) - 1) for piece in pieces if len(piece) > 1 or len(ids) == 1
            ]
        # A target was cut to its room as text, and keeps its end.
        found, whole = spans(self.tokenizer, messages), "target" in values
        return [self._fitted(ids, labels, cut=cut, ends=whole) for ids, labels in found]

    def _fitted(self, ids: list[int], labels: list[int], *, cut: bool, ends: bool) -> Encoded:
        over = len(ids) - self.room
        if over > 0:
            start = over if ends else min(over, max(0, _last_answer(labels) - self.max_source_length))
            ids, labels, cut = ids[start : start + self.room], labels[start : start + self.room], True
        return Encoded(ids, labels, cut, sum(label != IGNORED for label in labels[1:]))

    def _shorten(self, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        cut, kept = False, dict(values)
        limits = {"target": self.max_target_length - 1}
        if "source" in kept:
            limits["source"] = self.max_source_length - self.around_source
        for role, most in limits.items():
            if kept.get(role):
                kept[role], over = shorten(self.tokenizer, kept[role], most=max(most, 1))
                cut |= over
        return kept, cut

    def collate(self, items: list[Item]) -> Batch:
        """Pad the rows of a batch; `positions` [M] are those that predict a target, `labels` [M] the targets."""
        rows = [item.row for item in items]
        labels = pad([row.labels for row in rows], value=IGNORED)  # [B, T]
        follows = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED).flatten()
        positions = (follows != IGNORED).nonzero()[:, 0]
        inputs = self.inputs([row.ids for row in rows], left=False)
        return {**inputs, "positions": positions, "labels": follows[positions]}

    collate_eval = collate

    def inputs(self, rows: Sequence[list[int]], *, left: bool) -> Batch:
        """Return ids and mask [B, T]; on the left is where padding stands before generation."""
        value = self.tokenizer.pad_token_id
        return {"input_ids": pad(rows, value=value, left=left), "attention_mask": mask_of(rows, left=left)}

    def count(self, batch: Batch) -> float:
        """Count the targets."""
        return batch["labels"].numel()

    def sums(self, model: Any, batch: Batch) -> Sums:
        """Cross-entropy of the completions."""
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "use_cache": False}
        if self.head is None:
            logits = model(**inputs).logits.flatten(0, 1).index_select(0, batch["positions"])  # [M, V]
        else:
            logits = self.head.logits(model, batch["positions"], **inputs)  # [M, V]
        loss = cross_entropy(logits, batch["labels"])
        if not torch.is_grad_enabled():
            return Sums(loss, (logits.argmax(dim=-1) == batch["labels"]).sum(), batch["labels"].numel())
        if self.label_smoothing:
            even = -torch.log_softmax(logits.float(), dim=-1).mean(dim=-1).sum()
            loss = (1 - self.label_smoothing) * loss + self.label_smoothing * even
        return Sums(loss, None, batch["labels"].numel())

    def prompt(self, example: Example) -> Encoded:
        """Encode the question alone, for generation; raises DataError where nobody asks anything."""
        check_asked(example)
        values, cut = self._shorten({role: value for role, value in example.values.items() if role not in ANSWERS})
        messages = as_messages(values, instruction=self.instruction)
        if messages is None:
            ids = list(self.tokenizer(values["text"])["input_ids"])
        else:
            ids = prompt_ids(self.tokenizer, before_answer(messages), opening=self.opening)
        if not ids:
            raise _nothing(example)
        # The answer must fit behind it.
        return Encoded(ids[-self.max_source_length :], None, cut or len(ids) > self.max_source_length)

    def generation_inputs(self, rows: Sequence[Encoded]) -> Batch:
        """Return what `generate` reads."""
        return self.inputs([row.ids for row in rows], left=True)

    def texts(self, generated: Any, *, prompt_length: int) -> list[str]:
        """Decode what was generated after the prompts."""
        found = self.tokenizer.batch_decode(generated[:, prompt_length:], skip_special_tokens=True)
        texts = [set_solid(self.tokenizer, text).strip() for text in found]
        return [self.triples.close(text) for text in texts] if self.triples else texts

    def with_lengths(self, *, source: int, target: int) -> "Completion":
        """Return the same with other limits."""
        return replace(self, max_source_length=source, max_target_length=target)


ANSWERS = ("target", "completion", "output")


def check_asked(example: Example) -> None:
    """Raise DataError for an example that is an empty text, or has the answers of a conversation alone."""
    messages = as_messages({role: one for role, one in example.values.items() if role not in ANSWERS}, instruction="")
    if not (example["text"].strip() if messages is None else before_answer(messages)):
        raise _nothing(example)


def _nothing(example: Example) -> DataError:
    where = example.where or "A text"
    return DataError(f"{where}: there is nothing to go on with.", fix="Give it some words, or leave it out.")


def _last_answer(labels: Sequence[int]) -> int:
    """Return where the last answer begins: a long one keeps what it answers, and loses its own end."""
    starts = (at for at in range(len(labels) - 1, 0, -1) if labels[at] != IGNORED and labels[at - 1] == IGNORED)
    return next(starts, 0)
