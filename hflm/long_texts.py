"""Texts longer than a model reads: split between sentences, answered piece by piece, the answers joined."""

from collections.abc import Sequence
from typing import Any

from hflm.data.examples import Example
from hflm.inference.trained import TrainedModel
from hflm.metrics.summarization import sentences
from hflm.predict import predict_texts
from hflm.words import OPENS_SOLID, joined


def predict_long(trained: TrainedModel, texts: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    """Return one prediction a text; that of a split text is the predictions of its pieces, in order."""
    pieces = [split_text(trained, text) for text in texts]
    flat = [piece for group in pieces for piece in group]
    found = iter(predict_texts(trained, flat, **more))
    return [
        {"prediction": joined([next(found)["prediction"] for _ in group]), "pieces": len(group)} for group in pieces
    ]


def split_text(trained: TrainedModel, text: str) -> list[str]:
    """Cut a text between sentences into pieces that the model reads whole; a longer sentence between its words."""
    tokenizer, room = trained.family.tokenizer, _room(trained)
    parts = [part for sentence in sentences(text).split("\n") for part in _fit(tokenizer, sentence, room)]
    pieces: list[str] = []
    used = 0
    for part in parts:
        length = _length(tokenizer, part)
        if pieces and used + length <= room:
            pieces[-1] = joined([pieces[-1], part])
            used += length
        else:
            pieces.append(part)
            used = length
    return pieces


def _room(trained: TrainedModel) -> int:
    """Count the tokens that a model reads beside its prefix or instruction, and marks of begin and end."""
    family: Any = trained.family
    role = trained.task.complete[-1][0]
    return max(int(family.max_source_length) - int(family.prompt(Example("", {role: "a"})).length), 1)


def _fit(tokenizer: Any, text: str, room: int) -> list[str]:
    """Halve a text, where there is a space if there is one, until no part has more than `room` tokens."""
    if len(text) < 2 or _length(tokenizer, text) <= room:
        return [text]
    middle = len(text) // 2
    at = next((at for at in (text.find(" ", middle), text.rfind(" ", 0, middle)) if at > 0), middle)
    return [part for half in (text[:at], text[at:]) for part in _fit(tokenizer, half.strip(), room)]


def _length(tokenizer: Any, text: str) -> int:
    # With the space that comes before it in a piece, and without where it may have none.
    ways = [f" {text}", *([text] if OPENS_SOLID.match(text) else [])]
    return max(len(ids) for ids in tokenizer(ways, add_special_tokens=False, verbose=False)["input_ids"])
