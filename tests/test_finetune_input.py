"""What a fine-tuning is told before it begins: numbers, rows and models that do not fit, said before time is spent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.errors import DataError, ModelError, UsageError
from hflm.finetune import finetune
from hflm.finetune_config import LORA_RATE, FinetuneConfig, resolve_finetune
from hflm.finetuning.fitting import _check_targets
from hflm.recipe_files import load_task
from hflm.run import read_json
from tests.tiny import moods, pairs, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]


def test_a_file_sorted_by_label_is_shuffled(tiny: Tiny, tmp_path: Path) -> None:
    from hflm.finetune import prepare_finetune, training_of
    from hflm.run import RunFolder

    data = write(tmp_path / "a.jsonl", sorted(moods(80), key=lambda row: row["label"]))
    config = resolved("sentiment", model=tiny("bert"), data=[str(data)], batch_size=16, precision="fp32")
    fitted = prepare_finetune(config, load_task("sentiment"), say=lambda text: None)
    places = list(training_of(fitted, RunFolder(tmp_path / "run")).order(4))
    labels = [fitted.train[row].labels for _, row in places]
    assert sorted(row for epoch, row in places if epoch == 0) == sorted({row for epoch, row in places if epoch == 0})
    assert all(set(labels[at : at + 16]) == {0, 1} for at in range(0, 64, 16))


def resolved(task: str, **flags: Any) -> FinetuneConfig:
    return resolve_finetune(load_task(task), name=task, file={}, flags=flags, where="a test")


def test_numbers_come_from_the_recipe_and_from_the_user() -> None:
    assert resolved("generation").learning_rate == 5e-5 and resolved("generation").epochs == 3
    # Of classes the model decides, by its width.
    assert resolved("sentiment").learning_rate is None
    assert resolved("sentiment", lora_rank=4).learning_rate == LORA_RATE
    assert resolved("sentiment", lora_rank=4, learning_rate=1.0).learning_rate == 1.0
    given = resolved("sentiment", max_steps=5)
    assert (given.max_steps, given.epochs) == (5, None)
    assert resolved("summarization").max_source_length == 1024
    assert resolved("sentiment", text_column="body").columns == {"text": "body"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"test_fraction": 0.5, "eval_fraction": 0.5}, "leave no rows to train on"),
        ({"test_fraction": 1.0}, "--test-fraction is 1.0"),
        ({"label_smoothing": -0.1}, "--label-smoothing is -0.1"),
        ({"lora_rank": 0}, "--lora-rank is 0"),
        ({"class_weights": "some"}, "--class-weights is 'some'"),
        ({"source_lang": "en"}, "One language is named"),
        ({"data": ["a"], "train_file": "b"}, "both name the training rows"),
        ({"freeze": 1, "lora_rank": 4}, "--freeze and --lora-rank contradict"),
        ({"length_penalty": 2.0}, "--length-penalty ranks the texts of several beams, and there is one"),
        ({"no_repeat_ngram_size": -1}, "--no-repeat-ngram-size is -1"),
        ({"lora_rnk": 4}, "Did you mean 'lora_rank'"),
    ],
)
def test_settings_out_of_range(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolved("sentiment", **flags)


def model_was_loaded(*_: object, **__: object) -> None:
    pytest.fail("the model was loaded")


BAD: dict[str, tuple[str, str, list[dict[str, Any]], dict[str, Any], str]] = {
    "a column of another task": ("summarization", "t5", pairs(), {"text_column": "document"}, "the task has no text"),
    "languages not named": (
        "translation", "t5", pairs(source="source", target="target"), {}, "languages are not named",
    ),
    "no room for a text beside the instruction": (
        "summarization", "llama", pairs(), {"max_source_length": 10},
        "takes .* of the 10 tokens that are read, and leaves none for a text",
    ),
    "no room for a text beside the prefix": (
        "summarization", "t5", pairs(), {"max_source_length": 4}, "of the 4 tokens that are read",
    ),
    "one row": ("sentiment", "bert", moods(1), {}, "no rows"),
    "fp16 and t5": ("summarization", "t5", pairs(), {"precision": "fp16"}, "t5 overflows in fp16"),
    "a prompt that would count as text": (
        "summarization", "llama", pairs(), {"no_repeat_ngram_size": 3}, "is for encoder-decoder models",
    ),
    "too many layers frozen": ("sentiment", "bert", moods(), {"freeze": 7}, "--freeze 7: the model has 2 layers"),
}  # fmt: skip
# What is found in the weights; tests/cli/test_finetune.py has the rest.
AFTER_LOADING = {"too many layers frozen"}


@pytest.mark.promise("D1")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_before_the_model_loads(
    case: str, run_finetune: Run, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, kind, content, more, said = BAD[case]
    data = write(tmp_path / "rows.jsonl", content)
    if case not in AFTER_LOADING:
        monkeypatch.setattr("hflm.finetuning.fitting.load_with_head", model_was_loaded)
    with pytest.raises((DataError, UsageError, ModelError), match=said) as caught:
        run_finetune(task, folder=tmp_path / "run", model=tiny(kind), data=[str(data)], **more)
    assert caught.value.exit_code == 2 and caught.value.fix and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.promise("D1")
def test_labels_that_training_lacks(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    train, other = (
        write(tmp_path / "a.jsonl", moods()),
        write(tmp_path / "b.jsonl", [*moods(3), {"text": "x", "label": "odd"}]),
    )
    for split in ("validation_file", "test_file"):
        with pytest.raises(DataError, match="b.jsonl, line 4: the label 'odd' is in the"):
            run_finetune("sentiment", model=tiny("bert"), train_file=str(train), **{split: str(other)})


def test_a_class_of_one_row_is_no_trouble_to_a_split_by_chance(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    # Wherever chance would put the one row, it is needed for training.
    for number in range(12):
        data = write(tmp_path / f"{number}.jsonl", [*moods(), {"text": f"odd {number}", "label": "odd"}])
        config = resolved("sentiment", model=tiny("bert"), data=[str(data)])
        from hflm.data.checks import label_list
        from hflm.finetuning.fitting import read_data

        assert label_list(read_data(config, load_task("sentiment"))) == ["bad", "good", "odd"]


def test_a_metric_that_the_task_lacks_is_told_before_training(tiny: Tiny, tmp_path: Path) -> None:
    from dataclasses import replace

    task = replace(load_task("sentiment"), metric="rouge")
    config = resolved("sentiment", model=tiny("bert"), data=[str(write(tmp_path / "a.jsonl", moods()))])
    with pytest.raises(UsageError, match="metric 'rouge' does not score classification"):
        finetune(config, task, tmp_path / "run", overwrite=False, resume=False, watch=lambda kind, content: None)
    assert not (tmp_path / "run").exists()


def test_rows_with_no_target_left() -> None:
    from hflm.families.encoded import IGNORED, Encoded

    empty = Encoded([1, 2], [IGNORED, IGNORED], targets=0)
    _check_targets([empty, Encoded([1, 2], [IGNORED, 2])])
    with pytest.raises(UsageError, match="None of 12 training rows has a target left"):
        _check_targets([empty] * 12)


@pytest.mark.promise("D2")
@pytest.mark.parametrize(("text", "share"), [("a good film", 0.0), ("ภาพยนตร์ ที่ดี", 1.0)])
def test_a_script_that_the_model_does_not_know_is_told(
    text: str, share: float, run_finetune: Run, tiny: Tiny, tmp_path: Path
) -> None:
    from hflm.finetuning.preflight import lines

    rows = [{"text": " ".join([text] * (1 + number)), "label": number % 2} for number in range(30)]
    data = write(tmp_path / "a.jsonl", rows)
    found = read_json(run_finetune("sentiment", model=tiny("bert"), data=[str(data)], max_steps=1) / "metrics.json")
    assert found["preflight"]["unknown"] == pytest.approx(share, abs=0.01)
    assert any("does not know this script" in line for line in lines(found["preflight"])) == bool(share)


@pytest.mark.promise("D2")
def test_rows_that_cutting_leaves_without_a_target_are_told() -> None:
    from hflm.finetuning.preflight import lines

    report = {"columns": {}, "rows": {}, "held_out": [], "cut": 0, "skipped": 0, "duplicates": 0, "overlap": {},
              "steps": 1, "batch": "1", "epochs": 1.0}  # fmt: skip
    said = "nothing to learn: cutting leaves 3 training rows without a target"
    assert said in lines({**report, "without_target": 3})
    assert not any("nothing to learn" in line for line in lines({**report, "without_target": 0}))


def test_a_column_that_has_the_usual_name_of_its_language_is_not_guessed() -> None:
    from types import SimpleNamespace

    from hflm.finetuning.preflight import _by_place

    splits = SimpleNamespace(columns={"source": "正文", "target": "摘要"})
    fitted: Any = SimpleNamespace(task=load_task("summarization"), config=SimpleNamespace(columns={}), splits=splits)
    assert _by_place(fitted) == ["source"]
