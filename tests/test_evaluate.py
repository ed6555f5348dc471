"""Scores of a trained model on rows of one's own."""

from collections.abc import Callable
from pathlib import Path

from hflm.evaluate import evaluate
from hflm.inference.trained import open_trained
from tests.tiny import moods, write

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
