"""Predictions of a trained model for rows: for a file, with what was done kept if it is stopped; or for a few texts.

hflm predict RUN --input-file in.jsonl --output-file out.jsonl
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.data.examples import Example, Shape, read_examples
from hflm.data.records import Record, read_records
from hflm.data.sources import find_sources
from hflm.errors import DataError, UsageError
from hflm.inference.predicting import classify_rows, write_rows
from hflm.inference.trained import Described, TrainedModel

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# Rows that are read, sorted by length, predicted and written together.
CHUNK = 2048


def predict_texts(trained: TrainedModel, texts: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    """Return the predictions for texts, in their order."""
    role = next(role for role in trained.task.complete[-1])
    values = [text.split() for text in texts] if role == "tokens" else texts
    return predict(trained, [Example("", {role: value}) for value in values], **more)


def predict(trained: TrainedModel, examples: Sequence[Example], **more: Any) -> list[dict[str, Any]]:
    """Return the predictions for examples, in their order."""
    if trained.kind in ("classification", "tagging"):
        more.clear()
        return classify_rows(trained.model, trained.family, examples, device=trained.device)
    rows, _ = write_rows(
        trained.model, trained.family, examples, device=trained.device, max_new_tokens=trained.max_new_tokens, **more
    )
    return rows


def predict_file(
    trained: TrainedModel, input_file: Path, output_file: Path, *, columns: Mapping[str, str], resume: bool,
    watch: "Watch", rows: int | None = None, **more: Any,
) -> int:  # fmt: skip
    """Write a line for every row of a file, the row's own columns and the prediction, in order; return their number.

    With `resume`, rows that stand in the output already are not predicted again. `rows` is what `check_file`
    returned, where it was asked before the model was loaded.
    """
    from time import perf_counter

    if rows is None:
        rows = check_file(trained, input_file, output_file, columns=columns, resume=resume)
    done = _whole_lines(output_file) if resume and output_file.exists() else 0
    start, counted = perf_counter(), 0
    (source,) = find_sources([str(input_file)])
    try:
        with output_file.open("a" if done else "w", encoding="utf-8") as stream:
            for chunk in _chunks(read_records(source), skip=done):
                examples = to_examples(trained, chunk, columns)
                for record, one in zip(chunk, predict(trained, examples, **more), strict=True):
                    stream.write(json.dumps({**record.values, **one}, ensure_ascii=False) + "\n")
                stream.flush()
                counted += len(chunk)
                rate = counted / (perf_counter() - start)
                watch("rows", {"done": done + counted, "rows": rows, "rows_per_second": rate})
    except OSError as error:
        raise UsageError(f"Cannot write {output_file}: {error.strerror}.", fix="Name another file.") from error
    return done + counted


def check_file(
    known: Described | TrainedModel, input_file: Path, output_file: Path, *, columns: Mapping[str, str], resume: bool
) -> int:
    """Look at every row before a model is loaded, and return their number; raises an HflmError for what is wrong."""
    # One that holds nothing is what a run leaves whose first row was wrong.
    if output_file.exists() and output_file.stat().st_size and not resume:
        raise UsageError(f"{output_file} exists.", fix="Go on with --resume, or name another.")
    (source,) = find_sources([str(input_file)])
    rows = sum(len(to_examples(known, chunk, columns)) for chunk in _chunks(read_records(source), skip=0))
    if not rows:
        raise DataError(f"{input_file} has no rows.", fix="Name a file with rows.")
    return rows


def to_examples(
    known: Described | TrainedModel, records: Sequence[Record], columns: Mapping[str, str]
) -> list[Example]:
    """Read the role that a task reads from records; a target need not be there."""
    learned = {"label", "label_name", "target", "tags", "completion", "output"}
    shape = Shape(
        roles={role: names for role, names in known.task.columns.items() if role not in learned},
        shapes=[[role for role in shape if role not in learned] for shape in known.task.complete],
        given=columns, source_lang=known.languages[0], target_lang=known.languages[1],
    )  # fmt: skip
    return [example for example, _ in read_examples(records, shape=shape)]


def _chunks(records: Iterator[Record], *, skip: int) -> Iterator[list[Record]]:
    chunk = []
    for number, record in enumerate(records):
        if number >= skip:
            chunk.append(record)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _whole_lines(path: Path) -> int:
    """Count the lines that were written whole, and cut off one that was not."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end != len(content):
        with path.open("r+b") as stream:
            stream.truncate(end)
    return content[:end].count(b"\n")
