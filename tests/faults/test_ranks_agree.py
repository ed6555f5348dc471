"""Two and four ranks come to what one process comes to: every family, option and metric."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.faults.harness import Zygote
from tests.tiny import asked, moods, pairs, tagged, write

Tiny = Callable[[str], str]
PRETRAINING: dict[str, tuple[object, ...]] = {
    "modernbert, Muon": ("--arch", "modernbert", "--optimizer", "muon"),
    "bert, AdamW, accumulation": ("--arch", "bert", "--optimizer", "adamw", "--micro-batch-size", 1),
    "roberta, whole words": ("--arch", "roberta", "--objective", "wwm", "--optimizer", "adamw"),
    "distilbert, several passes": ("--arch", "distilbert", "--max-documents", 8, "--optimizer", "adamw"),
    "deberta": ("--arch", "deberta-v2", "--optimizer", "adamw"),
    # Embeddings are Adam's: where a gradient is near its epsilon, 5e-11 more moves a weight by 0.005 of the rate.
    "llama, Muon": ("--arch", "llama", "--objective", "clm", "--optimizer", "muon", "--lr", 1e-3),
    "gpt2": ("--arch", "gpt2", "--objective", "clm", "--optimizer", "adamw"),
    "a stream": ("--arch", "bert", "--streaming", "--eval-data", "TEXT", "--optimizer", "adamw"),
    "a worker": ("--arch", "bert", "--optimizer", "adamw", "--config", "WORKER"),
    "patience": ("--arch", "bert", "--optimizer", "adamw", "--patience", 1, "--eval-steps", 1, "--lr", 0.0),
}
FINETUNING: dict[str, tuple[str, str, Callable[[int], list[dict[str, Any]]], tuple[object, ...]]] = {
    "classes, weighted and smoothed": (
        "sentiment", "bert", moods, ("--class-weights", "balanced", "--label-smoothing", 0.1),
    ),
    "classes of a decoder by LoRA": ("sentiment", "llama", moods, ("--lora-rank", 2)),
    "tags": ("tagging", "distilbert", tagged, ()),
    "summaries by T5": ("summarization", "t5", pairs, ("--label-smoothing", 0.1)),
    "summaries by BART, beams": ("summarization", "bart", pairs, ("--num-beams", 2, "--gradient-checkpointing")),
    "summaries by Marian": ("summarization", "marian", pairs, ()),
    "summaries by GPT-2": ("summarization", "gpt2", pairs, ("--freeze", 1)),
    "answers by LoRA": ("generation", "llama", asked, ("--lora-rank", 4)),
}  # fmt: skip
DISTILLING: dict[str, tuple[str, str, tuple[object, ...]]] = {
    "texts that the teacher writes": ("summarization", "pairs", ()),
    "classes": ("sentiment", "moods", ("--hidden-weight", 0.5)),
    "masked words": ("pretraining", "TEXT", ()),
}
# A few in every run of the tests, all of them in `make faults`.
SOON = ("modernbert, Muon", "classes, weighted and smoothed", "texts that the teacher writes")


def cases(names: Any) -> list[Any]:
    return [pytest.param(name, marks=() if name in SOON else pytest.mark.slow) for name in names]


def logged(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def agree(one: Path, other: Path, *, without: str | None = None) -> None:
    """Hold a run of several ranks against that of one process: first loss, evaluations, weights."""
    first, second = logged(one), logged(other)
    assert [line["step"] for line in first] == [line["step"] for line in second]
    assert second[0]["loss"] == pytest.approx(first[0]["loss"], rel=1e-6)
    assert second[0]["grad_norm"] == pytest.approx(first[0]["grad_norm"], rel=1e-4)
    for line, same in zip(first, second, strict=True):
        if "eval_loss" in line:
            assert same["eval_loss"] == pytest.approx(line["eval_loss"], rel=1e-4)
    weights, others = (load_file(run / "model" / "model.safetensors") for run in (one, other))
    assert weights.keys() == others.keys()
    assert max((weights[name] - others[name]).abs().max().item() for name in weights if name != without) < 1e-5


def rows_of_steps(mark: Path, ranks: int, *, batch: int, rows: int) -> list[set[str]]:
    """Return the places that the ranks read in each step, evaluations left out."""
    # Before the first step, several ranks try a row of the evaluation.
    first = int(ranks > 1)
    read = [Path(f"{mark}-{rank}").read_text().splitlines()[first : first + rows] for rank in range(ranks)]
    share = batch // ranks
    steps = len(read[0]) // share
    return [{place for one in read for place in one[step * share : (step + 1) * share]} for step in range(steps)]


@pytest.mark.promise("R5")
@pytest.mark.parametrize("case", cases(PRETRAINING))
def test_pretraining(zygote: Zygote, text_file: Path, tmp_path: Path, case: str) -> None:
    config = tmp_path / "worker.yaml"
    config.write_text("training_arguments: {dataloader_num_workers: 1}\n")
    named = {"TEXT": text_file, "WORKER": config}
    more = [named.get(str(word), word) for word in PRETRAINING[case]]
    words = [
        "pretrain", text_file, "--layers", 2, "--width", 64, "--heads", 2, "--vocab-size", 500, "--max-length", 32,
        "--batch-size", 8, "--max-steps", 4, "--logging-steps", 1, "--eval-steps", 2, "--precision", "fp32",
        "--max-documents", 60, "--lr", 1e-4 if "adamw" in more else 4e-3, *more,
    ]  # fmt: skip
    runs = {}
    for processes in (1, 2) if case in SOON else (1, 2, 4):
        runs[processes] = tmp_path / f"run-{processes}"
        victim = zygote.run(*words, "--processes", processes, "-o", runs[processes])
        assert victim.code == 0, victim.said()
    for processes in runs:
        agree(runs[1], runs[processes])


@pytest.mark.promise("R5")
@pytest.mark.parametrize("case", cases(FINETUNING))
def test_finetuning(zygote: Zygote, tiny: Tiny, tmp_path: Path, case: str) -> None:
    task, kind, rows, more = FINETUNING[case]
    data = write(tmp_path / "rows.jsonl", rows(60))
    words = [
        "finetune", "--task", task, "--model", tiny(kind), "--data", data, "--max-steps", 4, "--batch-size", 8,
        "--logging-steps", 1, "--eval-steps", 2, "--precision", "fp32", "--max-source-length", 32,
        "--max-target-length", 16, "--lr", 1e-4, *more,
    ]  # fmt: skip
    runs = {}
    for processes in (1, 2) if case in SOON else (1, 2, 4):
        runs[processes] = tmp_path / f"run-{processes}"
        victim = zygote.run(*words, "--processes", processes, "-o", runs[processes])
        assert victim.code == 0, victim.said()
    tested = [json.loads((run / "metrics.json").read_text()) for run in runs.values()]
    for processes, metrics in zip(runs, tested, strict=True):
        agree(runs[1], runs[processes])
        assert metrics["test_rows"] == tested[0]["test_rows"] and metrics["capped"] == tested[0]["capped"]
        one, other = (
            [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
            for run in (runs[1], runs[processes])
        )
        assert [row["prediction"] for row in one] == [row["prediction"] for row in other]
        assert [row["reference"] for row in one] == [row["reference"] for row in other]


@pytest.mark.promise("P1", "R5")
@pytest.mark.parametrize("case", cases(DISTILLING))
def test_distilling(
    zygote: Zygote, teachers: dict[str, str], distill_rows: dict[str, str], text_file: Path, tmp_path: Path, case: str
) -> None:
    task, data, more = DISTILLING[case]
    words = [
        "distill", "--task", task, "--teacher", teachers[task], "--student-layers", 1, "--max-steps", 4,
        "--data", distill_rows.get(data, text_file), "--batch-size", 8, "--logging-steps", 1, "--eval-steps", 2,
        "--precision", "fp32", "--max-source-length", 32, "--lr", 1e-4, "--optimizer", "adamw", *more,
    ]  # fmt: skip
    runs = {}
    for processes in (1, 2) if case in SOON else (1, 2, 4):
        runs[processes] = tmp_path / f"run-{processes}"
        # Each has a cache of its own: what one has the teacher write, the next would only read.
        environment = {"XDG_CACHE_HOME": str(tmp_path / f"cache-{processes}")}
        victim = zygote.run(*words, "--processes", processes, "-o", runs[processes], environment=environment)
        assert victim.code == 0, victim.said()
        assert processes == 1 or f"processes: {processes}," in victim.said()
    found = [json.loads((run / "metrics.json").read_text())["distillation"] for run in runs.values()]
    # A key's bias changes no attention: its gradient is rounding, which AdamW makes as large as any other.
    nothing = "bert.encoder.layer.0.attention.self.key.bias"
    for processes, one in zip(runs, found, strict=True):
        agree(runs[1], runs[processes], without=nothing)
        assert one["kept"].keys() == found[0]["kept"].keys() and one["speedup"] > 0
        for score, values in one["kept"].items():
            assert values["teacher"]["value"] == pytest.approx(found[0]["kept"][score]["teacher"]["value"], rel=1e-4)


@pytest.mark.promise("R5")
@pytest.mark.slow
def test_a_global_batch_holds_the_same_rows(zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    found = {}
    for processes in (1, 2, 4):
        mark = tmp_path / f"read-{processes}"
        victim = zygote.run(
            "pretrain", text_file, "--layers", 1, "--width", 32, "--heads", 2, "--vocab-size", 300, "--max-length", 16,
            "--batch-size", 8, "--micro-batch-size", 1, "--max-steps", 6, "--eval-steps", 6, "--processes", processes,
            "--max-documents", 8, "-o", tmp_path / f"run-{processes}", fault={"kind": "record", "mark": str(mark)},
        )  # fmt: skip
        assert victim.code == 0, victim.said()
        found[processes] = rows_of_steps(mark, processes, batch=8, rows=48 // processes)
    assert len(found[1]) == 6 and all(len(step) == 8 for step in found[1])
    assert found[2] == found[1] and found[4] == found[1]
