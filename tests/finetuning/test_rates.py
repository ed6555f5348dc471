"""The learning rate that nobody named: by the model's width, below the recipe's, the file's and the flag's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig, DistilBertConfig, GPT2Config

from hflm.finetuning.rates import usual_rate
from hflm.settings import read_yaml
from tests.tiny import moods, write


@pytest.mark.parametrize(
    ("config", "rate"),
    [
        (BertConfig(hidden_size=384, num_attention_heads=12), 1e-4),
        (DistilBertConfig(), 5e-5),
        (GPT2Config(n_embd=1280, n_head=20), 2e-5),
    ],
)
def test_wider_models_take_smaller_steps(config: Any, rate: float) -> None:
    assert usual_rate(config) == rate


def test_the_rate_that_was_taken_is_saved_and_a_flag_wins(
    run_finetune: Callable[..., Path], tiny: Callable[[str], str], tmp_path: Path
) -> None:
    data = [str(write(tmp_path / "rows.jsonl", moods()))]
    usual = run_finetune("sentiment", folder=tmp_path / "usual", model=tiny("bert"), data=data, max_steps=1)
    told = run_finetune(
        "sentiment", folder=tmp_path / "told", model=tiny("bert"), data=data, max_steps=1, learning_rate=3e-3
    )
    assert read_yaml(usual / "config.yaml")["learning_rate"] == 1e-4
    assert read_yaml(told / "config.yaml")["learning_rate"] == 3e-3
