"""What a fitted model says of rows: classes, tags, texts or losses, in the order of the rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from hflm.data.examples import Example
from hflm.engine import ranks
from hflm.engine.device import Device
from hflm.engine.memory import piecewise
from hflm.errors import UsageError
from hflm.families.completion import Completion
from hflm.families.encoded import IGNORED, Encoded
from hflm.inference.cast import cast_once
from hflm.inference.generating import BUDGET, batches_by_length, generate_texts
from hflm.models.heads import WRITING
from hflm.settings import flag
from hflm.training.training import autocast
from hflm.triples import from_line

# Tokens read at once on a CPU: more do not fit into its caches. On MiniLM 8,192 cost a quarter of the speed.
FEW = 2048
Told = Callable[[int], None]
# The role that a task reads, as it stands in a file of predictions.
SHOWN = ("text", "source", "tokens", "prompt", "instruction", "input", "messages", "conversations")
REFERENCE = ("label", "target", "tags", "completion", "output")


@dataclass
class Shortened:
    """How many texts were longer than what a model reads, and how many that it wrote were ended by their cap."""

    read: int = 0
    written: int = 0

    def sentences(self, *, cap: int) -> Iterator[str]:
        """Say so, where there are any."""
        if self.read:
            yield f"texts longer than the model reads, read in part: {self.read:,}"
        if self.written:
            yield f"outputs ended by the cap of {cap} tokens: {self.written:,}; --max-new-tokens raises it"


def check_writing(name: str, kind: str, **asked: Any) -> None:
    """Raise UsageError where an option of models that write is asked of one that does not."""
    idle = next((option for option, value in asked.items() if value is not None), None)
    if idle and kind not in WRITING:
        raise UsageError(f"--{flag(idle)} is for models that write, and {name} does not.", fix="Leave it out.")


@torch.inference_mode()
def classify_rows(
    model: Any, family: Any, examples: Sequence[Example], *, device: Device, told: Told | None = None,
    shortened: Shortened | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the prediction for each example, from batches of like length; `shortened` counts what was cut."""
    model.eval()
    rows = family.encode(examples)
    if shortened:
        shortened.read += sum(row.cut for row in rows)
    found = dict[int, dict[str, Any]]()
    budget = FEW if device.kind == "cpu" else BUDGET
    for batch in ranks.share(batches_by_length([row.length for row in rows], budget=budget)):
        with autocast(device):
            predicted = piecewise(partial(family.predict, model), [rows[row] for row in batch])
        for row, one in zip(batch, predicted, strict=True):
            found[row] = one
        if told:
            told(min(len(found) * ranks.world(), len(rows)))
    found = ranks.merged(found)
    return [found[row] for row in range(len(rows))]


def write_rows(
    model: Any, family: Any, examples: Sequence[Example], *, device: Device, max_new_tokens: int,
    num_beams: int | None = None, told: Told | None = None, shortened: Shortened | None = None, **more: Any,
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    """Return the text written for each example, and how many were cut by the cap; `shortened` counts both."""
    prompts = [family.prompt(example) for example in examples]
    with autocast(device), cast_once(model, device):
        chances: dict[int, list[float]] = {}
        texts, capped = generate_texts(
            model, family, prompts, max_new_tokens=max_new_tokens, num_beams=num_beams, told=told, chances=chances,
            **more,
        )  # fmt: skip
    if shortened:
        shortened.read += sum(prompt.cut for prompt in prompts)
        shortened.written += capped
    if getattr(family, "triples", None):
        return [_as_triples(text, chances.get(row)) for row, text in enumerate(texts)], capped
    return [{"prediction": text} for text in texts], capped


def _as_triples(line: str, chances: Sequence[float] | None) -> dict[str, Any]:
    """Return a line, its triples, and how likely each was, where tokens were taken one after the other."""
    triples = [list(triple) for triple in from_line(line) or ()]
    found: dict[str, Any] = {"prediction": line, "triples": triples}
    return found if chances is None else {**found, "confidence": list(chances[: len(triples)])}


@torch.inference_mode()
def lose_rows(
    model: Any, family: Completion, examples: Sequence[Example], *, device: Device, told: Told | None = None,
    shortened: Shortened | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the summed loss in nats and the number of targets of each example; `shortened` counts what was cut."""
    model.eval()
    pieces = [(number, piece) for number, e in enumerate(examples) for piece in family.encode([e])]
    if shortened:
        shortened.read += len({number for number, piece in pieces if piece.cut})
    losses = dict[int, float]()
    for batch in ranks.share(batches_by_length([piece.length for _, piece in pieces], budget=BUDGET // 4)):
        rows = [pieces[row][1] for row in batch]
        with autocast(device):
            losses.update(zip(batch, piecewise(partial(_losses, model, family), rows), strict=True))
        if told:
            told(min(len(losses) * ranks.world(), len(examples)))
    losses, sums = ranks.merged(losses), [[0.0, 0] for _ in examples]
    for row, (number, piece) in enumerate(pieces):
        sums[number][0] += losses[row]
        sums[number][1] += piece.targets
    return [{"prediction": None, "loss": loss, "tokens": count} for loss, count in sums]


def _losses(model: Any, family: Completion, rows: Sequence[Encoded]) -> list[float]:
    batch = {name: value.to(model.device) for name, value in family.inputs([r.ids for r in rows], left=False).items()}
    logits = model(**batch, use_cache=False).logits  # [B, T, V]
    found = []
    for row, scores in zip(rows, logits, strict=True):
        labels = torch.tensor(row.labels[1:], device=scores.device)
        loss = functional.cross_entropy(
            scores[: len(labels)].float(), labels, ignore_index=IGNORED, reduction="sum"
        )  # fmt: skip
        found.append(float(loss))
    return found


def as_row(example: Example, predicted: dict[str, Any]) -> dict[str, Any]:
    """Return the line of predictions.jsonl: what was read, the reference where there is one, the prediction."""
    shown = {role: example[role] for role in SHOWN if role in example.values}
    reference = next((example[role] for role in REFERENCE if role in example.values), None)
    return {**shown, "reference": reference, **predicted}
