"""The card of a fine-tuned model: what the hub reads of it."""

from typing import Any

import yaml

from hflm.finetune_config import FinetuneConfig
from hflm.finetuning.card import task_card


def test_languages_are_codes_in_yaml_too() -> None:
    """A bare `no`, for Norwegian, would be false."""
    config = FinetuneConfig(task="translation", model="m", source_lang="en", target_lang="no")
    metrics: dict[str, Any] = {
        "family": "seq2seq", "task": "translation", "arch": "t5", "data": "rows.jsonl", "steps": 4, "parameters": 100,
        "best_step": 4, "seconds": 1.0, "preflight": {"rows": {"train": 8, "eval": 2}},
    }  # fmt: skip
    environment = {"packages": {"torch": "2"}, "command": "hflm finetune", "processor": "a CPU", "platform": "Linux"}
    _, front, _ = task_card(config, metrics=metrics, environment=environment).split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["language"] == ["en", "no"] and matter["tags"] == ["hflm", "translation"]
