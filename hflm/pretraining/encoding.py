"""From texts to ids: how a tokenizer wraps the pieces of a document, and encoding in the memory of a batch."""

import math
from typing import TYPE_CHECKING

from hflm.data.packing import Frame
from hflm.data.rows import Encode, batches
from hflm.errors import ModelError
from hflm.models.cutting import LONGEST, cut, cuts_at_lines

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def frame_of(tokenizer: "PreTrainedTokenizerBase", *, max_length: int, pack: bool, objective: str) -> Frame:
    """Wrap pieces as the tokenizer wraps a text: [CLS] ... [SEP], or an end-of-text for next tokens."""
    _check_tokens(tokenizer, objective)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if objective == "clm":
        # What ends a document stands at its end alone, and is put there before it is cut.
        return Frame(before=(), after=(), pad_id=pad, max_length=max_length, pack=pack)
    before, after = _around(tokenizer)
    return Frame(before=before, after=after, pad_id=pad, max_length=max_length, pack=pack)


def _around(tokenizer: "PreTrainedTokenizerBase") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what a tokenizer puts before and behind a text."""
    wrapped = tokenizer("a", add_special_tokens=True)["input_ids"]
    inner = tokenizer("a", add_special_tokens=False)["input_ids"]
    start = next((n for n in range(len(wrapped)) if wrapped[n : n + len(inner)] == inner), 0)
    return tuple(wrapped[:start]), tuple(wrapped[start + len(inner) :])


def beginning(tokenizer: "PreTrainedTokenizerBase", *, objective: str) -> tuple[int, ...]:
    """Return what a document begins with that no frame puts there: Llama and Gemma were never trained without it."""
    return _around(tokenizer)[0] if objective == "clm" else ()


def _check_tokens(tokenizer: "PreTrainedTokenizerBase", objective: str) -> None:
    """Raise ModelError where a tokenizer lacks a token that the objective needs."""
    wanted = {"eos_token": tokenizer.eos_token_id}
    if objective != "clm":
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        wanted = {"mask_token": tokenizer.mask_token_id, "pad_token": pad}
    missing = [name for name, number in wanted.items() if number is None]
    if missing:
        raise ModelError(
            f"The tokenizer {tokenizer.name_or_path} has no {' and no '.join(missing)}, which --objective {objective} "
            "needs.",
            fix="Name it in its tokenizer_config.json, or leave --tokenizer away: one is trained then.",
        )


def encoder(tokenizer: "PreTrainedTokenizerBase", *, end: bool, begin: tuple[int, ...] = ()) -> Encode:
    """Return the function from texts to ids, which start with `begin` and end in an end-of-text where asked for.

    A tokenizer takes some hundred bytes for each character of what it is given at once. So a long text is given in
    parts, where its ids are known to stay the same.
    """
    longest = LONGEST if cuts_at_lines(tokenizer) else math.inf

    def together(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(
            texts, add_special_tokens=False, truncation=False, return_attention_mask=False, return_token_type_ids=False
        )["input_ids"]
        return ids

    def in_parts(text: str) -> list[int]:
        return [id for parts in batches(cut(text)) for part in together(parts) for id in part]

    def encode(texts: list[str]) -> list[list[int]]:
        short = [text for text in texts if len(text) <= longest]
        found = iter(together(short) if short else [])
        ids = [next(found) if len(text) <= longest else in_parts(text) for text in texts]
        return [[*begin, *one, tokenizer.eos_token_id] for one in ids] if end else ids

    return encode
