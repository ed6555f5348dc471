"""Metrics by name, each imported when it is asked for; and which of their scores speaks for them."""

import difflib
import importlib
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hflm.errors import DataError, UsageError
from hflm.metrics.result import Result, Statistics, with_intervals


@dataclass(frozen=True)
class Metric:
    """Where a metric is computed, its leading score, whether more of it is better, and what options it takes."""

    module: str
    primary: str
    larger_is_better: bool = True
    options: tuple[str, ...] = ()


METRICS = {
    "bleu": Metric("hflm.metrics.translation", "chrf", options=("language",)),
    "rouge": Metric("hflm.metrics.summarization", "rouge1", options=("stemmer",)),
    "classification": Metric("hflm.metrics.classification", "accuracy", options=("labels",)),
    "tagging": Metric("hflm.metrics.tagging", "f1"),
    "triples": Metric("hflm.metrics.triples", "strict_f1"),
    "perplexity": Metric("hflm.metrics.perplexity", "perplexity", larger_is_better=False),
}


def find_metric(name: str) -> Metric:
    """Return a metric; raises UsageError for an unknown name."""
    if name not in METRICS:
        guess = difflib.get_close_matches(name, METRICS, 1)
        fix = f"Did you mean {guess[0]!r}?" if guess else f"Choose one of {', '.join(METRICS)}."
        raise UsageError(f"There is no metric {name!r}.", fix=fix)
    return METRICS[name]


def statistics(name: str, *, predictions: Sequence[Any], references: Sequence[Any], **options: Any) -> Statistics:
    """Return what every row adds to a metric; raises DataError where there are no rows, or not as many of each."""
    metric = find_metric(name)
    if len(predictions) != len(references):
        problem = f"{len(predictions)} predictions for {len(references)} references."
        raise DataError(problem, fix="Give one prediction for every reference.")
    if not len(references):
        raise DataError("There is nothing to score.", fix="Give at least one row.")
    if name != "perplexity":
        for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True), start=1):
            if prediction is None or reference is None or not str(reference).strip() or reference == []:
                what = "prediction" if prediction is None else "reference"
                raise DataError(f"Row {number} has no {what}.", fix="Remove the rows that have none.")
    _check_kinds(name, predictions, references)
    taken = {key: value for key, value in options.items() if key in metric.options and value is not None}
    found: Statistics = getattr(importlib.import_module(metric.module), name)(predictions, references, **taken)
    return found


def _check_kinds(name: str, predictions: Sequence[Any], references: Sequence[Any]) -> None:
    """Raise DataError for what is not of the kind that a metric compares."""
    fits, what = KINDS.get(name, KINDS[""])
    sides = (("prediction", predictions), *((("reference", references),) if name != "perplexity" else ()))
    for side, values in sides:
        for number, value in enumerate(values, start=1):
            if not fits(value):
                raise DataError(f"Row {number}: the {side} {reprlib.repr(value)} is no {what}.", fix=f"Give a {what}.")


def _is_list(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(one, kinds) for one in value)


# Metric -> what a prediction must be, and how it is called; "" is every other metric.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "": (lambda value: isinstance(value, str), "string"),
    "tagging": (lambda value: _is_list(value, str), "list of strings"),
    "perplexity": (
        lambda value: len(value) == 2 if _is_list(value, (int, float)) else False, "pair of loss and tokens"
    ),
}  # fmt: skip


def score(name: str, *, predictions: Sequence[Any], references: Sequence[Any], **options: Any) -> Result:
    """Score predictions, with 95 % intervals; `options` that the metric does not know are left aside."""
    return with_intervals(name, statistics(name, predictions=predictions, references=references, **options))
