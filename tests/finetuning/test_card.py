"""The card of a fine-tuned model: what the hub reads of it, and what it says of where the model comes from."""

from typing import Any

import pytest
import yaml

from hflm.distill_config import DistillConfig
from hflm.finetune_config import FinetuneConfig
from hflm.finetuning.card import shown_command, task_card

METRICS: dict[str, Any] = {
    "family": "seq2seq", "task": "translation", "arch": "t5", "data": "rows.jsonl", "steps": 4, "parameters": 100,
    "best_step": 4, "seconds": 1.0, "preflight": {"rows": {"train": 8, "eval": 2}},
}  # fmt: skip
TOLD: dict[str, Any] = {
    side: {"model": "google-bert/bert-large-cased", "parameters": 200, "bytes": 800, "rows_per_second": 2.0}
    for side in ("teacher", "student")
}


def card_of(config: FinetuneConfig, *, command: str = "hflm finetune", **more: Any) -> tuple[dict[str, Any], str]:
    """Return the front matter of a card, read as YAML, and its text."""
    environment = {"packages": {"torch": "2"}, "command": command, "processor": "a CPU", "platform": "Linux"}
    _, front, text = task_card(config, metrics={**METRICS, **more}, environment=environment).split("---\n", 2)
    return yaml.safe_load(front), text


def test_languages_are_codes_in_yaml_too() -> None:
    """A bare `no`, for Norwegian, would be false."""
    matter, _ = card_of(FinetuneConfig(task="translation", model="m", source_lang="en", target_lang="no"))
    assert matter["language"] == ["en", "no"] and matter["tags"] == ["hflm", "translation"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, {}),
        ("apache-2.0", {"license": "apache-2.0"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("OpenRAIL++", {"license": "openrail++"}),
        ("other", {"license": "other"}),
        ("gpl-2.0-or-later", {"license": "other", "license_name": "gpl-2.0-or-later"}),
        ('Ours: "all" rights\n(2026)', {"license": "other", "license_name": "ours-all-rights-2026"}),
        ("2.0", {"license": "other", "license_name": "2.0"}),
        ("木兰", {"license": "other"}),
    ],
)
def test_the_hub_takes_every_licence(given: str | None, found: dict[str, str]) -> None:
    """It refuses a card whose `license` is none of its ids, or whose `license_name` has other signs."""
    matter, text = card_of(FinetuneConfig(task="translation", model="m", license=given))
    assert {name: value for name, value in matter.items() if name.startswith("license")} == found
    assert f"Licence: {given or 'not stated'}" in text


@pytest.mark.parametrize(
    ("student", "base", "began"),
    [
        (None, "google-bert/bert-large-cased", ""),
        ("google-bert/bert-base-cased", "google-bert/bert-base-cased", ", starting from google-bert/bert-base-cased,"),
        ("./mine", None, ", starting from ./mine,"),
    ],
)
def test_a_student_began_with_its_own_weights(student: str | None, base: str | None, began: str) -> None:
    """Its licence is that of those weights, and what they had learned is still in it."""
    config = DistillConfig(
        task="sentiment", teacher="google-bert/bert-large-cased", model=student,
        student_layers=None if student else 2,
    )  # fmt: skip
    matter, text = card_of(config, distillation={**TOLD, "kept": {}})
    assert matter.get("base_model") == base
    assert f"Distilled by `hflm distill` from google-bert/bert-large-cased{began} on rows.jsonl" in text
    assert "What the base model has learned" in text


@pytest.mark.parametrize(
    "places", ["--machines 2 --machine-rank 1 --rendezvous 10.0.0.7:29400", "--machines=2 --rendezvous=10.0.0.7:29400",
               "--machine_rank 1 --rendezvous '10.0.0.7:29400'", ""]
)  # fmt: skip
def test_the_command_does_not_tell_where_machines_met(places: str) -> None:
    kept = "hflm finetune --data 'my rows.jsonl' --processes 2"
    command = f"hflm finetune --data 'my rows.jsonl' {places} --processes 2"
    assert shown_command(command) == kept
    _, text = card_of(FinetuneConfig(task="translation", model="m"), command=command)
    assert f"`{kept}`" in text
