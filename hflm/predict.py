"""Predictions of a trained model for rows: for a file, with what was done kept if it is stopped; or for a few texts.

hflm predict RUN --input-file in.jsonl --output-file out.jsonl
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.data.columns import flag
from hflm.data.examples import Example, Shape, read_examples
from hflm.data.lines import read_lines
from hflm.data.records import Record, read_records
from hflm.data.sources import one_source
from hflm.errors import DataError
from hflm.families.completion import check_asked
from hflm.inference.predicting import check_writing, classify_rows, write_rows
from hflm.inference.row_files import add_to_rows, check_output, chunks
from hflm.inference.trained import Described, TrainedModel, describe, open_trained
from hflm.launch import check_alone, count_processes, launch_rows
from hflm.models.fingerprints import model_key
from hflm.stressing.words import letters
from hflm.words import LETTERS, UNSPACED

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# Rows that are read, sorted by length, predicted and written together; fewer where each is a text to write.
CHUNK, WRITTEN = 2048, 128
# Letters of scripts without spaces in a row, or others.
RUN = re.compile(rf"[{LETTERS}]+|[^{LETTERS}]+")


def predict_texts(trained: TrainedModel, texts: Sequence[Any], **more: Any) -> list[dict[str, Any]]:
    """Return the predictions for texts, in their order; for a tagger they may be lists of words."""
    role = next(role for role in trained.task.complete[-1])
    values = [text if isinstance(text, list) else _words(text) for text in texts] if role == "tokens" else texts
    return predict(trained, [Example("", {role: value}) for value in values], **more)


def _words(text: str) -> list[str]:
    """Split a text at its spaces, and where a script sets none, into letters with their marks."""
    runs = (run for piece in text.split() for run in RUN.findall(piece))
    return [word for run in runs for word in (letters(run) if UNSPACED.search(run) else [run])]


def predict(trained: TrainedModel, examples: Sequence[Example], **more: Any) -> list[dict[str, Any]]:
    """Return the predictions for examples, in their order."""
    if trained.kind in ("classification", "tagging"):
        more.clear()
        return classify_rows(
            trained.model, trained.family, examples, device=trained.device, shortened=trained.shortened
        )
    rows, _ = write_rows(
        trained.model, trained.family, examples, device=trained.device, max_new_tokens=trained.max_new_tokens,
        shortened=trained.shortened, **more,
    )  # fmt: skip
    return rows


def predict_file(
    trained: TrainedModel, input_file: Path, output_file: Path, *, columns: Mapping[str, str], resume: bool,
    watch: "Watch", rows: int | None = None, **more: Any,
) -> int:  # fmt: skip
    """Write a line for every row of a file, the row's own columns and the prediction, in order; return their number.

    With `resume`, rows that stand in the output already are not predicted again. `rows` is what `check_file`
    returned, where it was asked before the model was loaded. Raises UsageError where a file that is not done was begun
    with another model or other options.
    """

    if rows is None:
        check_file(trained, input_file, output_file, columns=columns, resume=resume)

    # A model may be used for several files.
    trained.shortened.read = trained.shortened.written = 0

    def add(records: Sequence[Record], _: int) -> Sequence[dict[str, Any]]:
        return predict(trained, to_examples(trained, records, columns), **more)

    def made_with() -> dict[str, Any]:
        return {
            "model": model_key(trained.name, sampled=True), "task": trained.task.name, "languages": trained.languages,
            "columns": dict(columns), "max_new_tokens": trained.max_new_tokens, **more,
        }  # fmt: skip

    chunk = CHUNK if trained.kind in ("classification", "tagging") else WRITTEN
    found = add_to_rows(
        input_file, output_file, add, resume=resume, chunk=chunk, watch=watch, made_with=made_with
    )  # fmt: skip
    for sentence in trained.shortened.sentences(cap=trained.max_new_tokens):
        watch("note", {"text": sentence})
    return found


def predict_named(
    model: str, input_file: str, output_file: str, *, columns: Mapping[str, str], told: Mapping[str, Any],
    max_new_tokens: int | None, num_beams: int | None, resume: bool, watch: "Watch", rows: int | None = None,
    processes: str = "1", rank_timeout: str = "10m",
) -> dict[str, Any]:  # fmt: skip
    """Look at the rows of a file, then open a model by its name and predict for them; return the number of rows.

    Several processes share each chunk of rows: they are started and waited for, and in each of them this is called
    again, with the number of `rows` that were seen.
    """
    count, given, written = 1, Path(input_file), Path(output_file)
    if rows is None:
        check_alone()
        count = count_processes(processes)
        known = describe(model, **told)
        check_writing(model, known.kind, num_beams=num_beams, max_new_tokens=max_new_tokens)
        rows = check_file(known, given, written, columns=columns, resume=resume)
    if count > 1:
        settings = {
            "model": model, "input_file": input_file, "output_file": output_file, "columns": dict(columns),
            "told": dict(told), "max_new_tokens": max_new_tokens, "num_beams": num_beams, "resume": resume,
            "rows": rows,
        }  # fmt: skip
        return launch_rows("predict", settings, processes=count, timeout=rank_timeout, watch=watch)
    trained = open_trained(model, max_new_tokens=max_new_tokens, **told)
    found = predict_file(
        trained, given, written, columns=columns, resume=resume, watch=watch, rows=rows, num_beams=num_beams
    )
    return {"rows": found}


def check_file(
    known: Described | TrainedModel, input_file: Path, output_file: Path, *, columns: Mapping[str, str], resume: bool
) -> int:
    """Look at every row before a model is loaded, and return their number; raises an HflmError for what is wrong."""
    check_output(output_file, resume=resume, input_file=input_file)
    source, rows = one_source(input_file), 0
    for chunk in chunks(read_records(source), size=CHUNK):
        examples = to_examples(known, chunk, columns)
        rows += len(examples)
        for example in examples if known.kind == "completion" else ():
            check_asked(example)
    if not rows:
        raise DataError(f"{input_file} has no rows.", fix="Name a file with rows.")
    return rows


def read_texts(
    known: Described, path: Path, *, whole: bool, blank: bool = False, columns: Mapping[str, str]
) -> list[Any]:
    """Return the texts of a file: the lines of a .txt file, or with `whole` all of it as one; else a text a row.

    Of rows with words these are lists of words. `blank` keeps lines of a .txt file with nothing in them; `columns` are
    those of rows. Raises DataError where there is no text, or a file of text should have columns.
    """
    source = one_source(path)
    if columns and source.kind == "text":
        raise DataError(f"{path} has lines, and no columns.", fix=f"Leave --{flag(next(iter(columns)))} out.")
    if source.kind == "text" and whole:
        found = ["\n".join(line for _, line in read_lines(source)).strip()]
    elif source.kind == "text":
        lines = [line for _, line in read_lines(source)]
        kept = [line for line in lines if line.strip()]
        found = lines if blank and kept else kept
    else:
        found = [next(iter(e.values.values())) for e in to_examples(known, list(read_records(source)), columns)]
    blanks = (number for number, text in enumerate(found, start=1) if not "".join(text).strip())
    empty = None if blank and source.kind == "text" and found else next(blanks, None)
    if not found or empty:
        raise DataError(
            f"{path}: text {empty} is empty." if empty else f"{path} has no rows.", fix="Name another file."
        )
    return found


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
