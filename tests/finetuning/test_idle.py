"""A setting that does nothing is said to do nothing, and no other."""

from typing import Any

import pytest

from hflm.finetune_config import resolve_finetune
from hflm.finetuning.idle import without_effect
from hflm.recipe_files import load_task

USUAL = {
    "sentiment": "classification", "tagging": "tagging", "summarization": "seq2seq", "translation": "completion",
    "generation": "completion", "knowledge-graph": "seq2seq",
}  # fmt: skip


def said(name: str, kind: str, **flags: Any) -> list[str]:
    task = load_task(name)
    given = {"model": "m", "source_lang": "en", "target_lang": "es", **flags}
    return without_effect(resolve_finetune(task, name=name, file={}, flags=given, where="a test"), task, kind)


@pytest.mark.parametrize("name", USUAL)
def test_what_is_not_given_is_not_named(name: str) -> None:
    assert said(name, USUAL[name]) == []


def test_what_does_nothing_is_named() -> None:
    assert said("sentiment", "classification", dropout=0.3, layers=2) == [
        "--layers, --dropout: without effect, as m is as it is"
    ]
    assert said("sentiment", "classification", model=None, arch="bert", dropout=0.3, layers=2) == []
    assert said("tagging", "tagging", class_weights="balanced") == [
        "--class-weights: without effect, it is for classes"
    ]
    assert said("sentiment", "classification", class_weights="balanced") == []
    assert said("summarization", "completion", prefix="tl;dr: ") == [
        "--prefix: without effect, it is for encoder-decoders"
    ]
    assert said("summarization", "seq2seq", instruction="Say it briefly.") == [
        "--instruction: without effect, it is for decoders"
    ]
    assert said("summarization", "seq2seq", prefix="tl;dr: ") == []
    assert said("sentiment", "classification", num_beams=4) == [
        "--num-beams: without effect, it is for models that write"
    ]
    assert said("sentiment", "classification", decay=0.2) == [
        "--decay: without effect, a linear schedule falls from its warm-up on"
    ]
    assert said("sentiment", "classification", decay=0.2, schedule="trapezoid") == []
    assert said("sentiment", "classification", eval_fraction=0.3, validation_file="v.jsonl") == [
        "--eval-fraction: without effect, as --validation-file is named"
    ]
    assert said("sentiment", "classification", test_fraction=0.3, validation_file="v.jsonl") == []
