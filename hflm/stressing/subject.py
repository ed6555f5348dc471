"""The model that is asked: the text of a row that may be changed, and what the model answers to rows."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hflm.data.examples import Example
from hflm.errors import NumericsError
from hflm.families.completion import ANSWERS
from hflm.families.prompts import as_messages, before_answer
from hflm.inference.generating import batches_by_length
from hflm.inference.predicting import FEW, lose_rows, write_rows
from hflm.inference.trained import TrainedModel

# The role that a row is read by, in the order in which one is looked for.
READ = ("text", "source", "prompt", "instruction", "messages", "conversations")
Told = Callable[[int], None]


@dataclass(frozen=True)
class Answers:
    """What a model says of rows: classes, texts, or pairs of loss and tokens; of a classifier the logits [N, C] too.

    The logits are those of the weights, not divided by the temperature that a model may have.
    """

    predictions: list[Any]
    logits: NDArray[np.float64] | None = None

    def take(self, places: Sequence[int]) -> "Answers":
        """Return those of some rows."""
        logits = None if self.logits is None else self.logits[list(places)]
        return Answers([self.predictions[place] for place in places], logits)


def read_text(example: Example) -> str | None:
    """Return the text that a model reads of a row: what a user said last, in a chat."""
    role = next((role for role in READ if role in example.values), None)
    if role is None:
        return None
    value = example[role]
    if not isinstance(value, list):
        return str(value)
    return next((turn["content"] for turn in reversed(value) if turn["role"] == "user"), None)


def read_whole(trained: TrainedModel, example: Example) -> str:
    """Return all that a model that writes reads before its answer: what it is told to do, earlier turns, the text."""
    family = trained.family
    asked = {role: value for role, value in example.values.items() if role not in ANSWERS}
    turns = as_messages(asked, instruction=getattr(family, "instruction", getattr(family, "prefix", "")))
    if turns is None:
        return read_text(example) or ""
    said = (part for turn in before_answer(turns) for part in (turn["content"], *turn.get("tool_calls", ())))
    return "\n".join(part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in said)


def with_text(example: Example, text: str) -> Example:
    """Return a row that reads another text."""
    role = next(role for role in READ if role in example.values)
    value: Any = text
    if isinstance(example[role], list):
        turns = list(example[role])
        last = max(place for place, turn in enumerate(turns) if turn["role"] == "user")
        turns[last] = {**turns[last], "content": text}
        value = turns
    return Example(example.where, {**example.values, role: value})


def ask(trained: TrainedModel, examples: Sequence[Example], *, metric: str, told: Told | None = None) -> Answers:
    """Ask a model for its answers to rows, in their order."""
    if trained.kind == "classification":
        logits = class_logits(trained, examples, told=told)
        return Answers([trained.labels[number] for number in logits.argmax(axis=1)], logits)
    if metric == "perplexity":
        rows = lose_rows(trained.model, trained.family, examples, device=trained.device, told=told)
        return Answers([(row["loss"], row["tokens"]) for row in rows])
    rows, _ = write_rows(
        trained.model, trained.family, examples, device=trained.device, max_new_tokens=trained.max_new_tokens, told=told
    )
    return Answers([row["prediction"] for row in rows])


@torch.inference_mode()
def class_logits(
    trained: TrainedModel, examples: Sequence[Example], *, told: Told | None = None
) -> NDArray[np.float64]:  # fmt: skip
    """Return the logits [N, C] of rows, in the precision of the weights, from batches of like length.

    Raises NumericsError where they are not finite.
    """
    # Labels are left out: a row may have one that is not the model's to know.
    rows = trained.family.encode([Example(e.where, {"text": e["text"]}) for e in examples])
    found = np.empty((len(rows), len(trained.labels)))
    done = 0
    for batch in batches_by_length([row.length for row in rows], budget=FEW):
        found[batch] = trained.family.logits(trained.model, [rows[row] for row in batch]).cpu().numpy()
        if not np.isfinite(found[batch]).all():
            raise NumericsError(
                f"The numbers of {trained.name} are not finite: its weights are damaged.", fix="Train anew."
            )
        done += len(batch)
        if told:
            told(done)
    return found


def chances(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return probabilities [N, C]."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
