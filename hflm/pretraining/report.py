"""What is told of prepared text: how much there is, how the tokenizer fits it, how often each token stands in it."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hflm.config import PretrainConfig
from hflm.data.rows import Rows
from hflm.errors import DataError
from hflm.models.tokenizer import MUCH_UNKNOWN, special_flags, tokenizer_report
from hflm.pretraining.vocabulary import Say

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Texts that a tokenizer is measured on, and characters of each.
MEASURED, CHARACTERS = 50, 20_000
# What a job calls the text to evaluate on, and what it can do where its tokenizer does not know the text.
HELD = {"pretrain": "--eval-data", "distill": "--validation-file"}
UNKNOWN = {"pretrain": "pass --tokenizer bpe, or name another model", "distill": "take another teacher"}


def beginnings(texts: Iterable[str]) -> list[str]:
    """Return of the first texts what a tokenizer is measured on."""
    return [text[:CHARACTERS] for text in itertools.islice(texts, MEASURED)]


def count_targets(
    rows: Rows, tokenizer: "PreTrainedTokenizerBase", *, objective: str, pad_id: int, begin: Sequence[int]
) -> NDArray[np.int64]:
    """Count each id that may be predicted in the training rows [V]: the unigram model that a run is compared with.

    `begin` is what a document begins with, and `pad_id` fills the rows.
    """
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    counts[: len(rows.tally.ids)] = rows.tally.ids
    never = special_flags(tokenizer)
    if objective == "clm":
        # The end of a text is predicted too, and what is unknown; padding is not, though it may be the same id, nor is
        # what a document begins with.
        counts[pad_id] -= rows.ids.size - rows.tokens
        end = tokenizer.eos_token_id
        counts[end] //= 1 + begin.count(end)
        never[[number for number in (end, tokenizer.unk_token_id) if number is not None]] = False
    counts[never] = 0
    return counts


def tell_left_out(cleaned: Mapping[str, Any], config: PretrainConfig, *, say: Say) -> dict[str, Any]:
    """Say and return what was left out of the text that the user named to evaluate on."""
    for line in cleaned["lines"]:
        say(f"cleaning of {HELD[config.job]}: {line}")
    return {"eval_cleaning": cleaned["report"]}


def report_of(
    cleaned: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase", rows: Rows, held: Rows, *,
    texts: Sequence[str], config: PretrainConfig, say: Say,
) -> dict[str, Any]:  # fmt: skip
    """Say and return what was prepared; of a stream `rows` are its head alone, and are not counted.

    `texts` are those that the tokenizer is measured on. Raises DataError where there is too little to train on.
    """
    for line in cleaned["lines"]:
        say(f"cleaning: {line}")
    length, tokens = rows.ids.shape[1], rows.tokens
    if tokens < length or not len(rows):
        raise DataError(
            f"The text makes {tokens + held.tokens} tokens; a sequence of {length} to train on and one to evaluate on "
            "need more.",
            fix=f"Give more text, or pass --max-length {max(8, 2 ** int(math.log2(max(tokens // 4, 8))))}.",
        )
    measured = tokenizer_report(tokenizer, beginnings(texts))
    for line in measured.lines():
        say(f"tokenizer: {line}")
    if measured.unknown_rate > MUCH_UNKNOWN:
        say(f"tokenizer: it does not know this script or these letters; {UNKNOWN[config.job]}")
    amount = f"a stream of {length} tokens each" if config.streaming else f"{len(rows):,} of {length} tokens"
    counted = "" if config.streaming else f" ({tokens:,} tokens)"
    say(f"rows: {amount} to train on{counted}, {len(held):,} to evaluate")
    told: dict[str, Any] = {"streaming": True} if config.streaming else {"rows": len(rows), "tokens": tokens}
    return {
        "cleaning": cleaned["report"], "tokenizer": measured.as_dict(), **told,
        "eval_rows": len(held), "eval_tokens": held.tokens,
    }  # fmt: skip
