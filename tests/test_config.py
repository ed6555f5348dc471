"""Settings: frozen, checked, in and out of YAML, each documented once."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from hflm.config import PretrainConfig, resolve
from hflm.errors import UsageError
from hflm.finetune_config import PATIENCE, FinetuneConfig, resolve_finetune
from hflm.recipe_files import load_task, recipe_paths
from hflm.resume import settings_of
from hflm.run import RunFolder
from hflm.settings import build, read_yaml, seconds, to_dict, to_yaml


def made(**values: Any) -> PretrainConfig:
    return build(PretrainConfig, values, where="a test")


def test_frozen_and_documented() -> None:
    with pytest.raises(FrozenInstanceError):
        made().seed = 2  # type: ignore[misc]
    for item in fields(PretrainConfig):
        assert item.metadata["help"].endswith(".") and item.metadata["group"], item.name


PRETRAINING = [name for name in recipe_paths() if load_task(name).family == "masked_lm"]


@pytest.mark.parametrize("recipe", PRETRAINING)
def test_yaml_goes_round(recipe: str, tmp_path: Path) -> None:
    config = resolve(recipe=load_task(recipe).defaults, flags={"data": ["a.txt", "字.txt"], "recipe": recipe})
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert build(PretrainConfig, read_yaml(tmp_path / "config.yaml"), where="a file") == config
    assert to_dict(config)["data"] == ["a.txt", "字.txt"]


def test_flags_over_file_over_recipe() -> None:
    config = resolve(recipe={"seed": 1, "size": "tiny", "layers": 1}, file={"seed": 2, "layers": 2}, flags={"seed": 3})
    assert (config.seed, config.layers, config.size) == (3, 2, "tiny")


def test_a_recipe_gives_way_to_weights_and_to_next_tokens() -> None:
    recipe = {"arch": "bert"}
    assert resolve(recipe=recipe, flags={"model": "run"}).arch is None
    assert resolve(recipe=recipe, flags={"objective": "clm"}).arch is None
    assert resolve(recipe=recipe, file={"arch": "gpt2", "objective": "clm"}).arch == "gpt2"


@pytest.mark.parametrize(
    ("file", "flags", "expected"),
    [
        ({"budget": "3m"}, {"max_steps": 5}, {"budget": None, "max_steps": 5}),
        ({"max_steps": 5, "epochs": None}, {"epochs": 2.0}, {"max_steps": None, "epochs": 2.0}),
        ({"epochs": 2, "seed": 3}, {"budget": "1m"}, {"epochs": None, "budget": "1m", "seed": 3}),
        ({"size": "mini", "layers": 2, "width": 64}, {"size": "small"}, {"size": "small", "layers": None}),
        ({"size": "mini", "layers": 2}, {"layers": 3}, {"size": "mini", "layers": 3}),
        ({"arch": "bert"}, {"model": "run"}, {"arch": None, "model": "run"}),
        ({"model": "run"}, {"arch": "bert"}, {"arch": "bert", "model": None}),
        ({"tokenizer": "bpe"}, {"model": "run"}, {"tokenizer": None, "model": "run"}),
    ],
)
def test_a_flag_puts_out_what_it_contradicts(
    file: dict[str, Any], flags: dict[str, Any], expected: dict[str, Any]
) -> None:
    config = resolve(recipe={"epochs": 1, "heads": 4}, file=file, flags=flags)
    assert {name: getattr(config, name) for name in expected} == expected


def test_within_one_layer_nothing_is_put_out() -> None:
    with pytest.raises(UsageError, match="contradict"):
        resolve(recipe={}, flags={"budget": "1m", "max_steps": 5})
    with pytest.raises(UsageError, match="Give one of them"):
        resolve(recipe={}, file={"model": "run", "arch": "bert"})
    assert resolve(recipe={}, flags={"size": "small", "layers": 2}).layers == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"learning_rate": "2e-3"}, 2e-3), ({"learning_rate": 1}, 1.0), ({"batch_size": "8"}, 8),
        ({"data": "a.txt"}, ("a.txt",)), ({"data": ["a", "b"]}, ("a", "b")), ({"data": None}, ()),
        ({"budget": 90}, "90"), ({"max_steps": None}, None), ({"training_arguments": {"a": 1}}, {"a": 1}),
    ],
)  # fmt: skip
def test_values_as_yaml_has_them(values: dict[str, Any], expected: Any) -> None:
    (name,) = values
    found = getattr(made(**values), name)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batchsize": 1}, "Unknown setting 'batchsize' in a test.*'batch_size'"),
        ({"zzz": 1}, "Unknown setting 'zzz'.*--help"),
        ({"seed": 1.5}, "'seed' in a test is 1.5.*a whole number"),
        ({"seed": True}, "a whole number"),
        ({"seed": None}, "'seed' in a test is None"),
        ({"learning_rate": [1]}, "a number"),
        ({"streaming": "yes"}, "true or false"),
        ({"size": 3}, "text"),
        ({"training_arguments": 3}, "a mapping"),
        ({"seed": -1}, "--seed is -1.*0 or more"),
        ({"batch_size": 0}, "more than 0"),
        ({"dropout": 1.0}, "a share"),
        ({"weight_decay": float("inf")}, "--weight-decay is inf"),
        ({"schedule": "lineer"}, "Did you mean 'linear'"),
        ({"precision": "x"}, "Choose one of auto, fp32"),
        ({"max_steps": 1, "epochs": 1}, "contradict"),
        ({"max_length": 7}, "8 or more"),
    ],
)
def test_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(**values)


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("1.5h", 5400), (" 10M ", 600), ("2 m", 120)])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0s", "m", "-1m", "1d", "1e3", "ten", "1m30s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        seconds(text)


def test_names_of_other_tools_in_a_file_and_flags_that_win(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "num-train-epochs: 2\nmodel_name_or_path: a\nlr: 1e-3\ntrain_file: a.csv\nfreeze: 1\n"
    )
    task = load_task("sentiment")
    file = read_yaml(tmp_path / "a.yaml")
    config = resolve_finetune(task, name="sentiment", file=file, flags={}, where="a test")
    assert (config.epochs, config.model, config.learning_rate, config.train_file) == (2, "a", 1e-3, "a.csv")
    flags = {"data": ["b.csv"], "max_steps": 3, "lora_rank": 8}
    config = resolve_finetune(task, name="sentiment", file=file, flags=flags, where="a test")
    assert (config.epochs, config.max_steps, config.train_file, config.data) == (None, 3, None, ("b.csv",))
    assert config.freeze is None and config.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("file", "warmup"),
    [
        ({"warmup_ratio": 0.1, "warmup_steps": 0}, 0.1),
        ({"warmup_steps": "0", "warmup_ratio": 0.1}, 0.1),
        ({"warmup_ratio": 0.0, "warmup_steps": 100}, 100.0),
        ({"warmup_ratio": None, "warmup_steps": 0}, 0.0),
        ({"warmup_steps": 9, "warmup_ratio": None}, 9.0),
        ({"warmup": 0.2, "warmup_ratio": "0.2"}, 0.2),
        ({"warmup_ratio": 0.1, "warmup_steps": 100}, None),
    ],
)
def test_two_names_of_one_setting(file: dict[str, Any], warmup: float | None) -> None:
    """As transformers writes them: what is zero or null says nothing beside the other."""
    if warmup is not None:
        assert resolve(recipe={}, file=file).warmup == warmup
        return
    with pytest.raises(UsageError, match="'warmup_ratio' is 0.1 and 'warmup_steps' is 100 in .*one setting. Keep one"):
        resolve(recipe={}, file=file)


def test_early_stopping_is_patience() -> None:
    def made(**flags: Any) -> int | None:
        return resolve_finetune(load_task("sentiment"), name="sentiment", file={}, flags=flags, where="a test").patience

    assert made() is None and made(early_stopping=True) == PATIENCE
    assert made(early_stopping=True, patience=5) == 5 and made(patience=1) == 1


def test_numbers_of_a_recipe_of_ones_own_are_kept() -> None:
    def rate(recipe: dict[str, Any], **flags: Any) -> float | None:
        return resolve(recipe=recipe, flags=flags).learning_rate

    usual = dict(load_task("pretraining").defaults)
    assert rate(usual) == usual["learning_rate"] and rate(usual, model="m") == 1e-4
    assert rate({"learning_rate": 5e-5}, model="m") == 5e-5 and rate({}, model="m") == 1e-4
    assert rate({"model": "m"}) == 1e-4 and rate({"model": "m", "learning_rate": 5e-5}) == 5e-5
    assert resolve(recipe={"objective": "clm", "arch": "gpt2"}, flags={"objective": "clm"}).arch == "gpt2"
    assert resolve(recipe=usual, flags={"objective": "clm"}).arch is None


def test_an_empty_learning_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="The learning rate is empty"):
        resolve(recipe={}, file={"learning_rate": None})


def a_run(folder: Path, **settings: Any) -> RunFolder:
    """A run folder that holds the settings of a fine-tuning."""
    flags = {"model": "m", "data": ["rows.jsonl"], **settings}
    config = resolve_finetune(load_task("sentiment"), name="sentiment", file={}, flags=flags, where="a test")
    run = RunFolder(folder)
    run.config.write_text(to_yaml(config))
    return run


@pytest.mark.parametrize(
    ("began", "given", "patience"),
    [
        ({"early_stopping": True}, {"early_stopping": False}, None),
        ({}, {"early_stopping": True}, 2),
        ({"patience": 5}, {"early_stopping": True}, 5),
        ({"patience": 5}, {"early_stopping": True, "patience": 3}, 3),
        ({"patience": 5}, {"learning_rate": 1e-4}, 5),
    ],
)
def test_early_stopping_of_a_run_that_goes_on(
    began: dict[str, Any], given: dict[str, Any], patience: int | None, tmp_path: Path
) -> None:
    found = settings_of(FinetuneConfig, a_run(tmp_path, **began), given, allow_change=True)
    assert found.patience == patience


@pytest.mark.promise("R4")
def test_a_data_set_stays_at_its_revision_where_something_else_is_changed(tmp_path: Path) -> None:
    kept = "owner/name@" + 40 * "a"
    run = a_run(tmp_path, data=[kept])
    found = settings_of(FinetuneConfig, run, {"data": ["owner/name"], "learning_rate": 1e-4}, allow_change=True)
    assert (found.data, found.learning_rate) == ((kept,), 1e-4)
    # The command of a run names the branch or the tag that it began with.
    assert settings_of(FinetuneConfig, run, {"data": ["owner/name@main"]}).data == (kept,)
    with pytest.raises(UsageError, match="--data"):
        settings_of(FinetuneConfig, run, {"data": ["owner/name@" + 40 * "b"]})
    moved = settings_of(FinetuneConfig, run, {"data": ["owner/name@v2"]}, allow_change=True)
    assert moved.data == ("owner/name@v2",)
    other = settings_of(FinetuneConfig, run, {"data": ["owner/other"]}, allow_change=True)
    assert other.data == ("owner/other",)
