"""Many texts written at once: sorted by length, in batches under a budget of tokens, returned in their order."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from hflm.engine import ranks
from hflm.engine.memory import piecewise
from hflm.families.encoded import Encoded
from hflm.inference.constrained import only_triples
from hflm.models.heads import max_positions, max_target_positions
from hflm.models.writing import end_tokens

# Tokens of prompts and of what is written to them in one batch.
BUDGET = 8192
# A decoder of the hub may have a penalty of its own, which would count what it reads for said.
UNPENALIZED = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0}


def batches_by_length(lengths: Sequence[int], *, budget: int, most: int = 256) -> Iterator[list[int]]:
    """Yield the numbers of rows in batches of like length, longest first, of at most `budget` padded tokens."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    batch: list[int] = []
    for row in order:
        # The first row is the longest: every row of its batch is padded to it.
        if batch and ((len(batch) + 1) * lengths[batch[0]] > budget or len(batch) >= most):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def generate_texts(
    model: Any, family: Any, rows: Sequence[Encoded], *, max_new_tokens: int, num_beams: int | None = None,
    budget: int = BUDGET, told: Callable[[int], None] | None = None, chances: dict[int, list[float]] | None = None,
    **more: Any,
) -> tuple[list[str], int]:  # fmt: skip
    """Write an answer to every row; return the texts, and how many were stopped by `max_new_tokens`.

    Beams are those of the model where none are named; `more` goes to `generate`; `told` hears the number of rows done;
    `chances` takes the probability of every triple by row, where triples are written one token after the other.
    """
    model.eval()
    num_beams = num_beams or model.generation_config.num_beams or 1
    texts, capped = dict[int, str](), 0
    own = "generation_config" in more
    more = {"do_sample": False, **(UNPENALIZED if family.kind == "completion" and not own else {}), **more}
    # Padding follows an end, whatever token it is.
    ends = stops(model, family.tokenizer) | {family.tokenizer.pad_token_id}
    for batch, most in ranks.share(
        _batches(model, family, rows, max_new_tokens=max_new_tokens, budget=budget // num_beams)
    ):
        act = partial(_answers, model, family, most=most, num_beams=num_beams, more=more)
        for row, (ids, text, chance) in zip(batch, piecewise(act, [rows[row] for row in batch]), strict=True):
            texts[row] = text
            capped += len(ids) >= most and not ends.intersection(ids)
            if chance is not None and chances is not None:
                chances[row] = chance
        if told:
            told(min(len(texts) * ranks.world(), len(rows)))
    texts = ranks.merged(texts)
    if chances is not None:
        chances.update(ranks.merged(chances))
    return [texts[row] for row in range(len(rows))], sum(ranks.gathered(capped))


def _answers(
    model: Any, family: Any, rows: Sequence[Encoded], *, most: int, num_beams: int, more: dict[str, Any]
) -> list[tuple[list[int], str, list[float] | None]]:
    """Write to the rows of a batch; return the ids, the text and, one token after the other, the triples' chances."""
    inputs = family.generation_inputs(rows)
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    prompt = inputs["input_ids"].size(1) if family.kind == "completion" else 1
    ends = stops(model, family.tokenizer)
    only = only_triples(family, prompt=prompt, ends=ends)
    # A base model of the hub may know another end than its tokenizer, or none. A config that is given has its own.
    own = getattr(more.get("generation_config"), "eos_token_id", None)
    told = {"eos_token_id": sorted(ends)} if ends and own is None else {}
    written = model.generate(
        **inputs, max_new_tokens=most, num_beams=num_beams, pad_token_id=family.tokenizer.pad_token_id,
        **({"logits_processor": [only]} if only else {}), **{**told, **more},
    )  # fmt: skip
    answers = written[:, prompt:].tolist()
    chances: Sequence[list[float] | None] = [None] * len(answers)
    if only and num_beams == 1:
        chances = only.chances(answers)
    return list(zip(answers, family.texts(written, prompt_length=prompt), chances, strict=True))


def _batches(
    model: Any, family: Any, rows: Sequence[Encoded], *, max_new_tokens: int, budget: int
) -> Iterator[tuple[list[int], int]]:
    """Yield batches and what may be written to their rows: the room that each row has alone, the same for all."""
    rooms: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        read = len(row.ids) if family.kind == "completion" else 1
        # The last token that is written is not read any more.
        positions = max_positions(model.config) if family.kind == "completion" else max_target_positions(model.config)
        room = max(1, min(max_new_tokens, positions - read + 1))
        rooms.setdefault(room, []).append(number)
    for room, numbers in sorted(rooms.items(), reverse=True):
        for batch in batches_by_length([rows[number].length + room for number in numbers], budget=budget):
            yield [numbers[place] for place in batch], room


def stops(model: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end a text: those of the model, and that of its tokenizer."""
    return end_tokens(model) | ({tokenizer.eos_token_id} - {None})
