"""A setting that does nothing is said to do nothing, and no other."""

from dataclasses import replace
from typing import Any

import pytest

from hflm.data.examples import Example
from hflm.data.splits import Splits
from hflm.finetune_config import resolve_finetune
from hflm.finetuning.idle import without_effect
from hflm.recipe_files import load_task

USUAL = {
    "sentiment": "classification", "tagging": "tagging", "summarization": "seq2seq", "translation": "completion",
    "generation": "completion", "knowledge-graph": "seq2seq",
}  # fmt: skip
ROWS = [Example("a.jsonl, line 1", {"text": "a", "label": "b"})]
HELD_OUT = Splits(train=ROWS, eval=ROWS, test=ROWS, columns={}, held_out=("eval", "test"))


def said(name: str, kind: str, splits: Splits = HELD_OUT, **flags: Any) -> list[str]:
    task = load_task(name)
    given = {"model": "m", "source_lang": "en", "target_lang": "es", **flags}
    return without_effect(resolve_finetune(task, name=name, file={}, flags=given, where="a test"), task, kind, splits)


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


def test_a_share_does_nothing_where_the_data_brings_the_split() -> None:
    """As a folder does with a file called test, and the samples."""
    brought = replace(HELD_OUT, held_out=())
    assert said("sentiment", "classification", brought) == []
    for split in ("eval", "test"):
        share: dict[str, Any] = {f"{split}_fraction": 0.3}
        line = f"--{split}-fraction: without effect, as the data brings rows to {split}"
        assert said("sentiment", "classification", brought, **share) == [line]
        assert said("sentiment", "classification", replace(brought, held_out=(split,)), **share) == []
    assert said("sentiment", "classification", brought, test_fraction=0.0), "they are scored all the same"
    assert said("sentiment", "classification", replace(brought, test=[]), test_fraction=0.0) == []
