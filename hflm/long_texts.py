"""Texts longer than a model reads: split between sentences, answered piece by piece, the answers joined."""

from collections.abc import Sequence
from typing import Any

from hflm.metrics.summarization import sentences
from hflm.predict import predict_texts
from hflm.trained import TrainedModel


def predict_long(trained: TrainedModel, texts: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    """Return one prediction a text; that of a split text is the predictions of its pieces, in order."""
    pieces = [split_text(trained, text) for text in texts]
    flat = [piece for group in pieces for piece in group]
    found = iter(predict_texts(trained, flat, **more))
    return [
        {"prediction": " ".join(next(found)["prediction"] for _ in group), "pieces": len(group)} for group in pieces
    ]


def split_text(trained: TrainedModel, text: str) -> list[str]:
    """Cut a text between sentences into pieces that the model reads whole; a longer sentence stands alone."""
    tokenizer = trained.family.tokenizer
    parts = sentences(text).split("\n")
    lengths = [len(ids) for ids in tokenizer(parts, add_special_tokens=False)["input_ids"]]
    room = trained.family.max_source_length - 32
    pieces: list[str] = []
    used = 0
    for part, length in zip(parts, lengths, strict=True):
        if pieces and used + length <= room:
            pieces[-1] = f"{pieces[-1]} {part}"
            used += length
        else:
            pieces.append(part)
            used = length
    return pieces
