"""What a student keeps of its teacher's quality, and what it saves: scores on the same rows, size, speed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from hflm.data.examples import Example
from hflm.engine.device import Device
from hflm.engine.order import Placed, Readable
from hflm.inference.predicting import classify_rows, write_rows
from hflm.metrics.paired import compare_statistics
from hflm.metrics.registry import METRICS, statistics
from hflm.metrics.result import Statistics, Vector, with_intervals
from hflm.models.architecture import count_parameters
from hflm.training.training import autocast

Row = Mapping[str, Any]
# Rows that are timed at most, rounds, and seconds after which no further round begins.
CLASSIFIED, WRITTEN, TEXTS, ROUNDS, ENOUGH = 512, 16, 128, 5, 20.0
SMALLER_IS_BETTER = {"loss", "perplexity"}


def kept(ours: Statistics, theirs: Statistics) -> dict[str, Any]:
    """Return for each score those of student and teacher with their intervals, the share kept, and the difference.

    The difference is the student's less the teacher's, with the interval and the p-value of `hflm compare`.
    """
    mine, others = (with_intervals("", one).scores for one in (ours, theirs))
    found = {}
    for one in compare_statistics(ours, theirs):
        better, worse = (one.b, one.a) if one.score in SMALLER_IS_BETTER else (one.a, one.b)
        found[one.score] = {
            "teacher": asdict(others[one.score]), "student": asdict(mine[one.score]),
            "share": better / worse if worse > 0 else None, "difference": one.difference, "low": one.low,
            "high": one.high, "p_value": one.p_value,
        }  # fmt: skip
    return found


def row_statistics(metric: str, rows: Sequence[Row], options: Mapping[str, Any]) -> Statistics:
    """Return what each line of predictions adds to the scores of a metric."""
    loss = metric == "perplexity"
    said = [(row["loss"], row["tokens"]) if loss else row["prediction"] for row in rows]
    return statistics(metric, predictions=said, references=[row["reference"] for row in rows], **options)


def comparable(metric: str, student: Sequence[Row], teacher: Sequence[Row]) -> bool:
    """Tell whether scores of both compare: perplexities of other tokens do not."""
    return metric != "perplexity" or [row["tokens"] for row in student] == [row["tokens"] for row in teacher]


def primary(metric: str) -> str:
    """Return the score that speaks for a metric."""
    return METRICS[metric].primary


@torch.no_grad()
def token_statistics(model: Any, family: Any, rows: Readable, *, device: Device, batch_size: int = 32) -> Statistics:
    """Return what each row of text adds to the loss and the accuracy of a language model: loss, right ones, targets."""
    model.eval()
    data, sums = Placed(rows), np.zeros((len(rows), 3))
    for start in range(0, len(rows), batch_size):
        items = [data[0, index] for index in range(start, min(start + batch_size, len(rows)))]
        batch = {name: value.to(device.kind) for name, value in family.collate_eval(items).items()}
        with autocast(device):
            logits, labels = family.scores(model, batch)
        owners = (start + batch["positions"] // batch["input_ids"].size(1)).cpu().numpy()
        losses = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none").cpu().numpy()
        right = (logits.argmax(dim=-1) == labels).cpu().numpy()
        for column, values in enumerate((losses, right, np.ones(len(labels)))):
            np.add.at(sums[:, column], owners, values)
    return Statistics(sums, token_scores)


def token_scores(sums: Vector) -> dict[str, float]:
    """Return accuracy, perplexity and loss from the sums over rows."""
    count = max(sums[2], 1)
    loss = float(sums[0] / count)
    return {"accuracy": float(sums[1] / count), "loss": loss, "perplexity": float(np.exp(min(loss, 50.0)))}


def timed_rows(
    models: Sequence[tuple[Any, Any]], examples: Sequence[Example], *, device: Device, cap: int
) -> list[float]:
    """Return the rows a second of each (model, family), by turns on the same rows."""
    writes = models[0][1].kind in ("seq2seq", "completion")
    rows = examples[: WRITTEN if writes else CLASSIFIED]

    def one(model: Any, family: Any) -> None:
        if writes:
            write_rows(model, family, rows, device=device, max_new_tokens=cap)
        else:
            classify_rows(model, family, rows, device=device)

    return rates([partial(one, *pair) for pair in models], count=len(rows))


def timed_tokens(models: Sequence[tuple[Any, Any]], rows: Readable, *, device: Device) -> list[float]:
    """Return the rows of text a second of each (model, family), by turns on the same rows."""
    some = [rows[row] for row in range(min(len(rows), TEXTS))]
    return rates([partial(token_statistics, *pair, some, device=device) for pair in models], count=len(some))


def rates(calls: Sequence[Callable[[], Any]], *, count: int) -> list[float]:
    """Return how many of `count` things a second each call does: the median of its rounds, after one that warms up."""
    begin, times = time.perf_counter(), [list[float]() for _ in calls]
    for turn in range(ROUNDS + 1):
        if turn > 1 and time.perf_counter() - begin > ENOUGH:
            break
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return [count / median(found[1:] or found) for found in times]


def described(model: Any, *, name: str, rate: float, folder: str | None) -> dict[str, Any]:
    """Return a model's size and speed; `folder` holds its weights, where they are saved already."""
    files = list(Path(folder).glob("*.safetensors")) if folder and Path(folder).is_dir() else []
    weights = {weight.data_ptr(): weight.nbytes for weight in model.state_dict().values()}
    return {
        "model": name, "parameters": count_parameters(model),
        "bytes": sum(path.stat().st_size for path in files) or sum(weights.values()), "rows_per_second": rate,
    }  # fmt: skip
