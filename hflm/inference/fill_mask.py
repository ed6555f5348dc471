"""Ask a masked language model for the words that are missing."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hflm.errors import ModelError, UsageError
from hflm.models.heads import max_positions
from hflm.words import word_pattern

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BLANK = re.compile(r"\[MASK\]|<mask>")


@dataclass(frozen=True)
class Candidate:
    """A token for a blank, and its probability."""

    token: str
    probability: float


def open_masked_model(name: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a masked language model and its tokenizer from a run, a folder or the hub."""
    from hflm.engine.trainer import quiet_libraries
    from hflm.models.load import load_language_model, model_folder
    from hflm.models.tokenizer import load_tokenizer

    quiet_libraries()
    try:
        model = load_language_model(name, objective="mlm")
    except ModelError as error:
        if "--objective" not in error.fix and "--arch" not in error.fix:
            raise
        # Those are options of a pretraining.
        fix = "Name a masked language model, as a run of `hflm pretrain`; a decoder continues text: `hflm generate`."
        raise ModelError(error.problem, fix=fix) from error
    tokenizer = load_tokenizer(model_folder(name))
    if tokenizer.mask_token_id is None:
        raise ModelError(f"{name} has no mask token.", fix="Name a masked language model; a decoder continues text.")
    return model.eval(), tokenizer


def fill_mask(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", text: str, *, top: int = 5
) -> list[list[Candidate]]:
    """Return the `top` likeliest tokens of each blank in `text`; a blank is [MASK] or <mask>.

    Raises UsageError where there is no blank, or the text is longer than the model reads.
    """
    import torch

    if not BLANK.search(text):
        raise UsageError(f"There is no [MASK] in {text!r}.", fix="Put [MASK] where a word is missing.")
    ids = tokenizer(BLANK.sub(str(tokenizer.mask_token), text), return_tensors="pt")["input_ids"]  # [1, T]
    longest = min(tokenizer.model_max_length, max_positions(model.config))
    if ids.size(1) > longest:
        raise UsageError(f"The text has {ids.size(1)} tokens; this model reads {longest}.", fix="Shorten it.")
    # After a pretraining the model is still where it was trained.
    ids = ids.to(model.device)
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]  # [T, V]
    places = (ids[0] == tokenizer.mask_token_id).nonzero()[:, 0]
    chances = logits[places].softmax(dim=-1)
    special = [number for number in set(tokenizer.all_special_ids) if number < chances.size(1)]
    # They have a share, as in transformers' pipeline, and are no words.
    chances[:, special] = -1.0
    best = chances.topk(max(1, min(top, chances.size(1) - len(special))))
    return [
        [Candidate(_word(tokenizer, token), probability) for token, probability in zip(tokens, chances, strict=True)]
        for tokens, chances in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def blank_one_word(sentence: str, draw: Any) -> tuple[str, str]:
    """Replace one word of a sentence by [MASK], a long one where there is a choice; return it too."""
    found = list(word_pattern().finditer(sentence))
    words = [match for match in found if len(match[0]) > 2] or found
    if not words:
        return "[MASK]", sentence
    word = words[int(draw.integers(len(words)))]
    return f"{sentence[: word.start()]}[MASK]{sentence[word.end() :]}", word[0]


def _word(tokenizer: "PreTrainedTokenizerBase", token: int) -> str:
    # Decoded alone a continuation keeps its mark, which tells that it ends a word.
    return str(tokenizer.decode([token])).strip() or str(tokenizer.convert_ids_to_tokens(token))
