"""What a pretraining would take and come to, before it is made; and the law behind it."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.pretraining import outlook
from hflm.pretraining.forecast import LAW, forecast, is_beyond, worth

Plan = Callable[..., dict[str, Any]]
TEXT = ["--max-length", "32", "--batch-size", "8", "--vocab-size", "500", "--threads", "2"]


@pytest.fixture
def plan(text_file: Path, capsys: pytest.CaptureFixture[str]) -> Plan:
    def call(*words: str) -> dict[str, Any]:
        assert main(["plan", str(text_file), *TEXT, *words, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return call


def test_a_loss_begins_at_the_unigram_model_and_falls_with_tokens_and_size() -> None:
    def of(tokens: float, body: int = 3_000_000, unique: float = 1e9) -> float:
        return forecast(body=body, tokens=tokens, unique=unique, unigram_loss=6.0)

    assert of(0) == 6.0
    losses = [of(tokens) for tokens in (1e5, 1e6, 1e7, 1e8)]
    assert losses == sorted(losses, reverse=True) and losses[-1] > 0
    assert of(1e7, body=12_000_000) < of(1e7)
    assert of(1e7) < of(1e7, unique=1e6), "the same tokens again teach less than others"
    other = forecast(body=3_000_000, tokens=1e7, unique=1e9, unigram_loss=6.0, elsewhere=True)
    assert of(1e7) < other < 6.0, "another text is harder"


def test_what_the_law_has_not_seen_is_told() -> None:
    assert not is_beyond(body=3_000_000, tokens=1e7)
    assert is_beyond(body=3_000_000, tokens=1e9) and is_beyond(body=85_000_000, tokens=1e6)


def test_passes_count_for_less_and_less() -> None:
    assert worth(50, unique=100, passes=10) == 50 and worth(100, unique=100, passes=10) == 100
    gains = [worth(100 * n, unique=100, passes=10) - worth(100 * (n - 1), unique=100, passes=10) for n in (2, 3, 30)]
    assert 100 > gains[0] > gains[1] > gains[2] > 0
    assert worth(1e9, unique=100, passes=10) == pytest.approx(100 * 11)


@pytest.mark.long
def test_a_plan_has_the_steps_of_the_run_and_writes_nothing(
    plan: Plan, text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hflm.pretraining.measure.matmul_ceiling", lambda device: 1e11)
    monkeypatch.chdir(tmp_path)
    words = ["--size", "tiny", "--epochs", "2"]
    planned = plan(*words)
    assert not [path for path in tmp_path.iterdir() if path != text_file], "a plan writes nothing"
    assert main(["pretrain", str(text_file), *TEXT, *words, "-o", str(tmp_path / "run"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert planned["steps"] == done["steps"] > 1
    assert planned["seconds"] > planned["steps"] * planned["step_seconds"] > 0 and planned["peak_memory_bytes"] > 1e8
    assert planned["forecast_loss"] == forecast(
        body=done["body_parameters"], tokens=done["tokens_seen"], unique=done["train_tokens"],
        unigram_loss=done["unigram_loss"],
    )  # fmt: skip
    assert [one["size"] for one in planned["sizes"]] == ["tiny"]


@pytest.mark.long
def test_a_budget_is_compared_over_the_sizes(plan: Plan) -> None:
    planned = plan("--size", "tiny", "--budget", "60s")
    assert planned["seconds"] == pytest.approx(60, rel=0.15)
    sizes = {one["size"]: one for one in planned["sizes"]}
    assert {"tiny", "mini"} <= set(sizes)
    assert sizes["tiny"]["steps"] == planned["steps"] > sizes["mini"]["steps"]
    assert sizes["tiny"]["parameters"] < sizes["mini"]["parameters"]


@pytest.mark.long
def test_where_the_law_is_silent_so_is_the_plan(plan: Plan) -> None:
    for words in (["--objective", "clm"], ["--arch", "bert"], ["--dropout", "0.1"]):
        assert "forecast_loss" not in plan("--size", "tiny", "--max-steps", "5", *words)


def test_what_is_for_a_task_needs_one(text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(text_file), "--lora-rank", "8"]) == 2
    assert "--lora-rank is for a fine-tuning, and no task is named" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--task", "sentiment", "--model", "m"], []])
def test_max_length_is_that_of_the_job_which_is_planned(
    words: list[str], text_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("hflm.plan.plan", lambda config, task, watch: seen.append(config) or {})
    monkeypatch.setattr("hflm.plan_pretraining.plan_pretraining", lambda config, watch: seen.append(config) or {})
    words = ["plan", str(text_file), "--max-length", "64", *words]
    monkeypatch.setattr(sys, "argv", ["hflm", *words])
    assert main(words) == 0
    (config,) = seen
    assert (config.max_source_length if "--task" in words else config.max_length) == 64
    assert ("hflm calls it --max-source-length" in "".join(capsys.readouterr())) is ("--task" in words)


def test_a_run_whose_size_does_not_suit_its_time_is_told_so() -> None:
    own = outlook.Outlook("mini", 4_000_000, 0.1, 100, 1.0, 5.0)
    near = replace(own, size="tiny", loss=5.0 * (1 - LAW.error / 2))
    far = replace(own, size="small", loss=5.0 * (1 - 2 * LAW.error))
    assert outlook.better([near], than=own) is None and outlook.better([], than=own) is None
    assert outlook.better([near, far], than=own) is far
    assert outlook.better([near, replace(far, beyond=True)], than=own) is None, "the law has seen no such run"
