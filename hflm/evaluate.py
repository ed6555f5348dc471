"""Score a trained model on rows that were not part of its run.

hflm evaluate RUN --data rows.jsonl
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hflm.data.examples import Example, Shape, read_examples
from hflm.data.records import read_records
from hflm.data.sources import find_sources
from hflm.engine import ranks
from hflm.errors import DataError
from hflm.families.triple_tokens import relations_of
from hflm.inference.predicting import Shortened, check_writing
from hflm.inference.testing import check_answers, check_metric, metric_options, predict_examples, score_rows
from hflm.inference.trained import Described, TrainedModel, describe, open_trained
from hflm.launch import check_alone, count_processes, in_rank, launch_rows

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch


def read_references(
    known: Described | TrainedModel, data: Sequence[str], *, metric: str | None, columns: Mapping[str, str],
    source_lang: str | None, target_lang: str | None,
) -> list[Example]:  # fmt: skip
    """Read rows with their references, before a model is loaded; raises an HflmError for what cannot be scored."""
    task = known.task
    check_metric(metric or task.metric, known.kind)
    shape = Shape(
        roles=task.columns, shapes=task.complete, given=columns, source_lang=source_lang or known.languages[0],
        target_lang=target_lang or known.languages[1], by_place=task.by_place, writes=task.writes,
    )  # fmt: skip
    records = (record for source in find_sources(data) for record in read_records(source))
    examples = [example for example, _ in read_examples(records, shape=shape)]
    if not examples:
        raise DataError(f"{data[0]} has no rows.", fix="Name a file with rows.")
    labels = known.labels
    if known.kind == "classification":
        # Rows may keep numbers, with the names that the model knows beside them.
        named = [e.values.get("label_name") for e in examples]
        if all(name in labels for name in named):
            examples = [Example(e.where, {**e.values, "label": name}) for e, name in zip(examples, named, strict=True)]
    check_answers(examples, metric or task.metric)
    for example in examples:
        _check_labels(example, labels)
        _check_relations(example, known.relations)
        _check_reference(example)
    return examples


def evaluate(
    trained: TrainedModel, data: Sequence[str], *, metric: str | None, columns: Mapping[str, str],
    source_lang: str | None, target_lang: str | None, watch: "Watch", examples: Sequence[Example] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the scores with their intervals, and the lines of a file of predictions under `predictions`;
    of several ranks the first.

    `examples` are what `read_references` returned, where it was asked before the model was loaded.
    """
    name = metric or trained.task.metric
    if examples is None:
        examples = read_references(
            trained, data, metric=metric, columns=columns, source_lang=source_lang, target_lang=target_lang
        )
    shortened = Shortened()
    rows, capped = predict_examples(
        trained.model, trained.family, examples, metric=name, device=trained.device,
        max_new_tokens=trained.max_new_tokens, watch=watch, shortened=shortened,
    )  # fmt: skip
    if not ranks.first():
        return {}
    for sentence in shortened.sentences(cap=trained.max_new_tokens):
        watch("note", {"text": sentence})
    options = metric_options(name, labels=trained.labels, language=target_lang or trained.languages[1])
    found = score_rows(name, rows, options).to_json()
    return {
        "model": trained.name, "task": trained.task.name, "metric": name, "metric_options": options,
        "test_rows": len(rows), "capped": capped, "test": found, "predictions": rows,
    }  # fmt: skip


def evaluate_named(
    model: str, data: Sequence[str], *, metric: str | None, columns: Mapping[str, str], told: Mapping[str, Any],
    task: str | None, max_new_tokens: int | None, watch: "Watch", processes: str = "1", rank_timeout: str = "10m",
) -> dict[str, Any]:  # fmt: skip
    """Read rows with their references, then open a model by its name and do what `evaluate` does.

    Several processes share the rows: they are started and waited for, and in each of them this is called again.
    """
    count = 1
    if not in_rank():
        check_alone()
        count = count_processes(processes)
    known = describe(model, task=task, **told)
    check_writing(model, known.kind, max_new_tokens=max_new_tokens)
    examples = read_references(known, data, metric=metric, columns=columns, **told)
    if count > 1:
        settings = {
            "model": model, "data": list(data), "metric": metric, "columns": dict(columns), "told": dict(told),
            "task": task, "max_new_tokens": max_new_tokens,
        }  # fmt: skip
        return launch_rows("evaluate", settings, processes=count, timeout=rank_timeout, watch=watch)
    trained = open_trained(model, task=task, max_new_tokens=max_new_tokens, **told)
    return evaluate(trained, data, metric=metric, columns=columns, watch=watch, examples=examples, **told)


def _check_reference(example: Example) -> None:
    """Raise DataError for an empty text where one is to be compared with."""
    for role in ("target", "completion", "output"):
        if not str(example.values.get(role, "a")).strip():
            raise DataError(f"{example.where}: the {role} is empty.", fix="Fill it, or leave the row out.")


def _check_relations(example: Example, relations: Sequence[str] | None) -> None:
    """Raise DataError for a triple whose relation the model does not know."""
    wanted = [str(example.values["target"])] if "target" in example.values else []
    unknown = [name for name in relations_of(wanted) if name not in relations] if relations else []
    if unknown:
        raise DataError(
            f"{example.where}: the model has no relation {unknown[0]!r}; it has {list(relations or ())[:8]}.",
            fix="Name the relations as in training.",
        )


def _check_labels(example: Example, labels: Sequence[str]) -> None:
    """Raise DataError for a label or a tag that the model lacks, and for words and tags of different number."""
    values = example.values
    if "tags" in values and len(values["tags"]) != len(values["tokens"]):
        problem = f"{example.where}: {len(values['tokens'])} words and {len(values['tags'])} tags."
        raise DataError(problem, fix="Give one tag for every word.")
    for label in (*values.get("tags", ()), *([values["label"]] if "label" in values else [])):
        if label not in labels:
            raise DataError(
                f"{example.where}: the model has no label {label!r}; it has {list(labels)[:8]}.",
                fix="Name the labels as in training.",
            )
