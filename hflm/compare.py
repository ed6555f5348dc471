"""Two runs on the same test rows: is the one really better?

hflm compare RUN_A RUN_B
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hflm.errors import DataError
from hflm.metrics.paired import Paired, compare
from hflm.run import RunFolder, read_json
from hflm.sealed import check_results

Row = dict[str, Any]
# What a model says of a row; everything else was given to it, and has to be the same for both.
SAID = {"prediction", "score", "loss", "triples", "confidence"}


def compare_runs(a: Path, b: Path) -> list[Paired]:
    """Compare the predictions of two runs by the metric of both.

    Raises UsageError where a path is no run folder, DataError where a run is not tested, or the two were tested by
    different metrics, on different rows or against different references.
    """
    run_a, run_b = RunFolder.open(a), RunFolder.open(b)
    metric, options = same_metric(run_a, run_b)
    rows_a, rows_b = read_predictions(run_a), read_predictions(run_b)
    check_same_rows(rows_a, rows_b, a=run_a.predictions, b=run_b.predictions)
    return compare(
        metric, a=answers(run_a, metric, rows_a), b=answers(run_b, metric, rows_b),
        references=[row.get("reference") for row in rows_a], **options,
    )  # fmt: skip


def same_metric(a: RunFolder, b: RunFolder) -> tuple[str, dict[str, Any]]:
    """Return the metric that both runs were tested by, and its options."""
    (metric, options), (other, others) = _metric(a), _metric(b)
    if metric != other:
        raise DataError(f"{a.path} was tested by {metric}, {b.path} by {other}.", fix="Compare like with like.")
    for name in sorted({*options, *others}):
        one, two = options.get(name), others.get(name)
        if one != two and not (name == "language" and _cut_alike(a, one, two)):
            raise DataError(
                f"{a.path} was tested with {name} {one!r}, {b.path} with {two!r}.",
                fix="Compare like with like.",
            )
    return metric, options


def _cut_alike(run: RunFolder, one: str | None, two: str | None) -> bool:
    """Tell whether BLEU cuts references into the same words for both names of a language, as es and spa_Latn."""
    from hflm.metrics.translation import tokenizer_for

    references = [str(row.get("reference")) for row in read_predictions(run)] or [""]
    return tokenizer_for(one, references) == tokenizer_for(two, references)


def _metric(run: RunFolder) -> tuple[str, dict[str, Any]]:
    if not run.metrics.exists():
        raise DataError(f"{run.path} is not finished: it has no {run.metrics.name}.", fix="Go on with --resume.")
    try:
        metrics: Any = read_json(run.metrics)
    except ValueError as error:
        raise DataError(f"{run.metrics} is no JSON: {error}.", fix="Test the run again.") from error
    metric = metrics.get("metric") if isinstance(metrics, Mapping) else None
    if not isinstance(metric, str) or not run.predictions.exists():
        raise DataError(
            f"{run.path} holds no predictions of test rows.", fix="Compare runs of `hflm finetune` with a test split."
        )
    # The order of labels changes no score, and two runs may have learned them in different orders.
    given = metrics.get("metric_options") or {}
    if not isinstance(given, Mapping):
        raise DataError(f"{run.metrics} is damaged: its metric_options are no object.", fix="Test the run again.")
    return metric, {name: value for name, value in given.items() if name != "labels"}


def read_predictions(run: RunFolder) -> list[Row]:
    """Read the lines of a run's predictions."""
    rows: list[Row] = []
    check_results(run, under=run.predictions.name)
    # By the file, not by str.splitlines, which would cut texts at U+2028; as bytes, of which a line may be no UTF-8.
    with run.predictions.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line.decode())
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise DataError(f"{run.predictions}, line {number}: no JSON object.", fix="Test the run again.")
            rows.append(row)
    return rows


def check_same_rows(rows_a: Sequence[Row], rows_b: Sequence[Row], *, a: Path, b: Path) -> None:
    """Raise DataError unless both files hold the same rows in the same order, but for what the models said."""
    same = "Test both on one file with the same --seed and --max-test-samples."
    if len(rows_a) != len(rows_b):
        raise DataError(f"{a} has {len(rows_a):,} rows, {b} has {len(rows_b):,}.", fix=same)
    for number, (row_a, row_b) in enumerate(zip(rows_a, rows_b, strict=True), start=1):
        for name in {**row_a, **row_b}:
            if name in SAID or row_a.get(name) == row_b.get(name):
                continue
            if name == "tokens" and isinstance(row_a.get(name), int):
                raise DataError(
                    f"{a} and {b} differ in line {number}: {row_a[name]} tokens and {row_b.get(name)}.",
                    fix="Perplexities of different tokenizers or lengths do not compare.",
                )
            raise DataError(f"{a} and {b} differ in line {number}: not the same {name}.", fix=same)


def answers(run: RunFolder, metric: str, rows: Sequence[Row]) -> list[Any]:
    """Return what a metric compares: predictions, or of perplexity the (summed loss, tokens) of each row."""
    needed = ("loss", "tokens") if metric == "perplexity" else ("prediction", "reference")
    for number, row in enumerate(rows, start=1):
        missing = next((name for name in needed if row.get(name) is None), None)
        if missing:
            raise DataError(f"{run.predictions}, line {number}: no {missing}.", fix="Test the run again.")
    if metric == "perplexity":
        return [(row["loss"], row["tokens"]) for row in rows]
    return [row["prediction"] for row in rows]
