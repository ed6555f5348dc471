"""The test split: scored exactly once, at the end, with what was predicted for every row of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hflm.data.chats import CHATS
from hflm.data.examples import Example
from hflm.engine import ranks
from hflm.errors import DataError, UsageError
from hflm.finetuning.preflight import target_cap
from hflm.inference.predicting import REFERENCE, Shortened, as_row, classify_rows, lose_rows, write_rows
from hflm.metrics.registry import find_metric, score
from hflm.metrics.result import Result
from hflm.run import RunFolder, write_json_lines
from hflm.triples import MARK, from_line

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch
    from hflm.finetune_config import FinetuneConfig
    from hflm.finetuning.fitting import Fitted

# Which metrics a family's predictions can be scored by.
ALLOWED = {
    "classification": ("classification",),
    "tagging": ("tagging",),
    "seq2seq": ("rouge", "bleu", "triples"),
    "completion": ("rouge", "bleu", "triples", "perplexity"),
}


def check_metric(name: str, kind: str) -> None:
    """Raise UsageError for a metric that a family's predictions cannot be scored by."""
    find_metric(name)
    if name not in ALLOWED[kind]:
        raise UsageError(f"The metric {name!r} does not score {kind}.", fix=f"Choose {' or '.join(ALLOWED[kind])}.")


def check_answers(examples: Sequence[Example], metric: str) -> None:
    """Raise DataError for a row without an answer that a metric can compare with.

    That is a conversation or a text alone, no tags, messages where texts are compared, or a text that is no triples.
    """
    for example in examples if metric != "perplexity" else ():
        role = next((role for role in REFERENCE if role in example.values), None)
        if role is not None:
            _check_answer(example, role, metric)
        else:
            what = "conversation" if any(role in example.values for role in CHATS) else "text"
            raise DataError(
                f"{example.where}: a {what} has no answer of its own to compare with.",
                fix="Score by perplexity, or give rows of prompt and completion.",
            )


def _check_answer(example: Example, role: str, metric: str) -> None:
    answer, text = example[role], metric in ("rouge", "bleu", "triples")
    if answer == []:
        raise DataError(f"{example.where}: {role!r} is empty.", fix="Fill it, or leave the row out.")
    if text and not isinstance(answer, str):
        raise DataError(
            f"{example.where}: {role!r} holds messages, and {metric} compares texts.",
            fix="Score by perplexity, or give the answer as one text.",
        )
    if metric == "triples" and from_line(answer) is None:
        raise DataError(
            f"{example.where}: {role!r} is no line of triples.", fix=f"Write it as head {MARK} relation {MARK} tail."
        )


def test_split(fitted: "Fitted", run: RunFolder, *, watch: "Watch") -> dict[str, Any]:
    """Predict and score the test rows, write predictions.jsonl, and return what metrics.json says of them."""
    check_metric(fitted.task.metric, fitted.kind)
    cap = 0
    if fitted.kind in ("seq2seq", "completion"):
        # 20 tokens, the libraries' own cap, cuts most answers: the data says how long they are.
        cap = target_cap(fitted.train, fitted.kind)
        set_writing(fitted.model, fitted.config, cap=cap)
    if not fitted.splits.test:
        return {"metric": fitted.task.metric, "test_rows": 0}
    watch("note", {"text": f"testing on {len(fitted.splits.test):,} rows, once"})
    shortened = Shortened()
    rows, capped = predict_examples(
        fitted.model, fitted.family, fitted.splits.test, metric=fitted.task.metric, device=fitted.device,
        max_new_tokens=cap, watch=watch, shortened=shortened,
    )  # fmt: skip
    if not ranks.first():
        return {}
    options = metric_options(fitted.task.metric, labels=fitted.labels, language=fitted.config.target_lang)
    result = score_rows(fitted.task.metric, rows, options)
    write_json_lines(run.predictions, rows)
    if "confusion" in result.details:
        from hflm.plots import plot_confusion

        plot_confusion(result.details["confusion"], fitted.labels, run.confusion)
    for sentence in Shortened(read=shortened.read).sentences(cap=cap):
        watch("note", {"text": sentence})
    if capped > 0.05 * len(rows):
        watch("note", {"text": f"{capped:,} of {len(rows):,} outputs were stopped by the cap of "
                               f"{cap} tokens; see --max-target-length"})  # fmt: skip
    return {
        "metric": fitted.task.metric, "metric_options": options, "test_rows": len(rows), "capped": capped,
        "test": result.to_json(),
    }  # fmt: skip


def set_writing(model: Any, config: "FinetuneConfig", *, cap: int) -> None:
    """Put into a model how it writes, so that it is used as it was tested."""
    told = model.generation_config
    told.max_new_tokens, told.max_length = cap, None
    # A model of the hub may want more than the targets have.
    told.min_length = told.min_new_tokens = None
    told.num_beams, told.length_penalty = config.num_beams, config.length_penalty
    if config.num_beams == 1:
        told.early_stopping = False
    # A model of the hub may have one of its own; only an encoder-decoder counts what it wrote, and not its prompt.
    if config.no_repeat_ngram_size:
        told.no_repeat_ngram_size = config.no_repeat_ngram_size


def predict_examples(
    model: Any, family: Any, examples: Sequence[Example], *, metric: str, device: Any, max_new_tokens: int,
    watch: "Watch", shortened: Shortened | None = None,
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    """Return a line of predictions.jsonl for each example, and how many texts were stopped by the cap.

    `shortened` counts what was cut.
    """
    told = _teller(len(examples), watch)
    capped = 0
    if family.kind in ("classification", "tagging"):
        predicted = classify_rows(model, family, examples, device=device, told=told, shortened=shortened)
    elif metric == "perplexity":
        predicted = lose_rows(model, family, examples, device=device, told=told, shortened=shortened)
    else:
        predicted, capped = write_rows(
            model, family, examples, device=device, max_new_tokens=max_new_tokens, told=told, shortened=shortened
        )
    return [as_row(example, one) for example, one in zip(examples, predicted, strict=True)], capped


def _teller(rows: int, watch: "Watch") -> Any:
    import time

    start = time.perf_counter()

    def told(done: int) -> None:
        spent = time.perf_counter() - start
        watch("rows", {"done": done, "rows": rows, "rows_per_second": done / max(spent, 1e-9)})

    return told


def metric_options(metric: str, *, labels: Sequence[str], language: str | None) -> dict[str, Any]:
    """Return the options that a metric takes, so that a comparison can score as the run did."""
    known: dict[str, Any] = {"labels": list(labels) or None, "language": language}
    taken = find_metric(metric).options
    return {name: value for name, value in known.items() if name in taken and value is not None}


def score_rows(metric: str, rows: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Result:
    """Score lines of predictions.jsonl."""
    if metric == "perplexity":
        losses = [(row["loss"], row["tokens"]) for row in rows]
        return score(metric, predictions=losses, references=rows)
    return score(
        metric, predictions=[row["prediction"] for row in rows], references=[row["reference"] for row in rows],
        **options,
    )  # fmt: skip
