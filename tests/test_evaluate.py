"""Scores of a trained model on rows of one's own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hflm.data.examples import Example
from hflm.errors import DataError, UsageError
from hflm.evaluate import evaluate
from hflm.inference.predicting import as_row
from hflm.inference.testing import check_answers
from hflm.inference.trained import describe, open_trained
from tests.tiny import asked, moods, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]


def test_numbers_with_names_beside_them(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    rows = [{**row, "label": int(row["label"] == "good"), "label_name": row["label"]} for row in moods()]
    data = write(tmp_path / "rows.jsonl", rows)
    run = run_finetune("sentiment", model=tiny("distilbert"), data=[str(data)], max_steps=2)
    trained = open_trained(str(run), precision="fp32")
    assert trained.family.labels == ["bad", "good"]
    found = evaluate(
        trained, [str(data)], metric=None, columns={}, source_lang=None, target_lang=None,
        watch=lambda kind, content: None,
    )  # fmt: skip
    assert {row["reference"] for row in found["predictions"]} == {"bad", "good"}


@pytest.mark.promise("D1")
@pytest.mark.parametrize(
    ("metric", "values", "said"),
    [
        ("tagging", {"tokens": [], "tags": []}, "a.jsonl, line 2: 'tags' is empty"),
        ("rouge", {"prompt": "a", "completion": [{"role": "assistant"}]}, "'completion' holds messages, and rouge"),
        ("triples", {"source": "a", "target": "x | y"}, "'target' is no line of triples"),
        ("rouge", {"text": "a"}, "a text has no answer of its own"),
    ],
)
def test_an_answer_that_cannot_be_scored_is_refused_before(metric: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_answers([Example("a.jsonl, line 2", values)], metric)


def test_answers_that_can_be_scored_pass() -> None:
    good = {"tagging": {"tokens": ["a"], "tags": ["O"]}, "rouge": {"prompt": "a", "completion": "b"},
            "triples": {"source": "a", "target": "none"}, "perplexity": {"text": "a"}}  # fmt: skip
    for metric, values in good.items():
        check_answers([Example("a.jsonl, line 2", values)], metric)


def test_conversations_that_are_read_in_part_are_counted(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", asked())
    run = run_finetune("generation", model=tiny("gpt2"), data=[str(data)], max_steps=1)
    trained, notes = open_trained(str(run), precision="fp32"), list[str]()
    long = write(tmp_path / "long.jsonl", [{"prompt": "word " * 400, "completion": "an answer"}, *asked(1)])

    def watch(kind: str, content: Mapping[str, Any]) -> None:
        notes.extend([content["text"]] if kind == "note" else [])

    evaluate(trained, [str(long)], metric="perplexity", columns={}, source_lang=None, target_lang=None, watch=watch)
    assert any("read in part: 1" in note for note in notes), notes


@pytest.mark.parametrize("task", ["pretraining", "classic"])
def test_a_recipe_of_pretraining_is_no_task_of_a_model(task: str, tiny: Tiny) -> None:
    with pytest.raises(UsageError, match=f"{task} is a recipe of pretraining. Leave --task away"):
        describe(tiny("gpt2"), task=task)


def test_what_was_read_beside_an_instruction_is_kept() -> None:
    example = Example("a.jsonl, line 1", {"instruction": "Sum up.", "input": "A text.", "output": "It."})
    row = as_row(example, {"prediction": "That."})
    assert row["input"] == "A text." and row["instruction"] == "Sum up."
