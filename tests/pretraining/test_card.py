"""The card of a pretrained language model: what it knows, what it reads, which weights were kept."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hflm.cli.pretrain import report
from hflm.config import PretrainConfig
from hflm.pretraining.card import model_card

Run = Callable[..., Path]
METRICS: dict[str, Any] = {
    "objective": "mlm", "train_tokens": 1000, "tokens_seen": 25_600, "arch": "bert", "data": "book.txt", "steps": 800,
    "parameters": 100, "seconds": 9.0, "eval_loss": 2.0, "unigram_loss": 6.0, "eval_accuracy": 0.5, "samples": [],
    "tokens_per_second": 1.0, "flops_per_second": 1.0, "model_flops_utilisation": 0.1, "peak_memory_bytes": 1,
}  # fmt: skip
TEACHER = "distilbert/distilbert-base-uncased"
SIDE = {"model": TEACHER, "parameters": 200, "bytes": 800, "rows_per_second": 2.0}
TOLD: dict[str, Any] = {"kept": {}, "teacher": SIDE, "student": SIDE}
INHERITED = "What the base model has learned, its errors and views included, is still in it."
ALONE = "knows the text above and nothing else"
BEST = "The weights are those after step 400, which did best on the held-out text."


def card_of(
    model: str | None = None, *, more: Mapping[str, Any] | None = None, command: str = "hflm pretrain",
    license: str | None = None, length: int = 128,
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """Return the front matter of a card, read as YAML, and its text."""
    environment = {"packages": {"torch": "2"}, "command": command, "processor": "a CPU", "platform": "Linux"}
    card = model_card(
        PretrainConfig(model=model), metrics={**METRICS, **(more or {})}, environment=environment, license=license,
        length=length,
    )  # fmt: skip
    _, front, text = card.split("---\n", 2)
    return yaml.safe_load(front), text


def test_a_model_from_scratch_knows_its_text_alone() -> None:
    matter, text = card_of()
    assert ALONE in text and INHERITED not in text and "base_model" not in matter
    assert "Trained by `hflm pretrain` on book.txt" in text and "reads at most 128 tokens" in text


@pytest.mark.parametrize(
    ("model", "more", "base", "made", "began"),
    [
        ("google-bert/bert-base-cased", {}, "google-bert/bert-base-cased",
         "Trained by `hflm pretrain`, from google-bert/bert-base-cased on,", "was trained on from google-bert/"),
        # The settings name a copy of the teacher's layers, which lies in the cache.
        ("/cache/shallow", {"distillation": TOLD, "model": None}, TEACHER,
         f"Distilled by `hflm distill` from {TEACHER}", f"began with layers of {TEACHER}."),
        ("me/small", {"distillation": TOLD, "model": "me/small"}, "me/small",
         f"Distilled by `hflm distill` from {TEACHER}, starting from me/small,", "was trained on from me/small."),
    ],
    ids=["weights", "layers", "student"],
)  # fmt: skip
def test_weights_that_were_given_know_more(
    model: str, more: dict[str, Any], base: str, made: str, began: str
) -> None:  # fmt: skip
    matter, text = card_of(model, more=more)
    assert matter["base_model"] == base
    assert ALONE not in text and INHERITED in text and f"{made} on book.txt" in text and f"The model {began}" in text
    assert "/cache" not in text


def test_weights_of_an_earlier_step_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert BEST not in card_of()[1] and BEST in card_of(more={"best_step": 400})[1]
    report(Path("out"), METRICS)
    assert "kept" not in capsys.readouterr().out
    report(Path("out"), {**METRICS, "best_step": 400})
    assert "trained        800 steps, 25,600 tokens in 9 s; kept step 400; peak" in capsys.readouterr().out


def test_the_front_matter_and_the_command_can_be_published() -> None:
    matter, text = card_of(license="Mine: all", command="hflm pretrain a.txt --rendezvous 10.0.0.7:29400 --machines 2")
    assert matter["license"] == "other" and matter["license_name"] == "mine-all"
    assert "`hflm pretrain a.txt`" in text


def test_a_model_without_positions_has_no_limit() -> None:
    assert "It reads texts of any length, and" in card_of("me/bloom", length=10**6)[1]


def test_rows_are_no_limit_of_given_weights(
    run_pretrain: Run, run_distill: Run, finished: Path, text_file: Path
) -> None:  # fmt: skip
    """They were made for 32 tokens, and read so many, though these rows have 16."""
    given = {"arch": None, "layers": None, "width": None, "heads": None, "vocab_size": None}
    runs = {
        "was trained on from": run_pretrain(model=str(finished), max_length=16, max_steps=4, **given),
        "began with layers of": run_distill("pretraining", data=[str(text_file)], max_source_length=16),
    }
    for began, run in runs.items():
        card = (run / "model" / "README.md").read_text(encoding="utf-8")
        assert "It reads at most 32 tokens" in card and f"The model {began} {finished}. {INHERITED}" in card
