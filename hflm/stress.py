"""How far a trained model can be trusted: robustness, tests, calibration, groups, memorisation, what it writes.

hflm stress RUN --data rows.jsonl -o report.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hflm.data.checks import named_labels, usable
from hflm.data.documents import choose_unit, read_documents
from hflm.data.examples import Example
from hflm.data.overlap import text_of
from hflm.data.records import read_records
from hflm.data.sources import find_sources
from hflm.data.splits import Splits, content_key
from hflm.errors import HflmError, ModelError, UsageError
from hflm.evaluate import read_references
from hflm.finetune_config import FinetuneConfig
from hflm.finetuning.fitting import read_data
from hflm.inference.trained import Described, describe, open_trained
from hflm.recipe_files import load_task
from hflm.resume import kind_of, settings_of
from hflm.run import RunFolder, write_text
from hflm.sealed import seal_again
from hflm.stressing.calibration import save_temperature
from hflm.stressing.canaries import read_canaries
from hflm.stressing.checklists import read_tests
from hflm.stressing.groups import read_groups
from hflm.stressing.measuring import Questions, measure
from hflm.stressing.outputs import installed_words, read_words
from hflm.stressing.page import check_page, html_page
from hflm.stressing.perturbations import choose
from hflm.stressing.subject import READ, read_text
from hflm.stressing.summary import write_card
from hflm.stressing.words import language_of, named_language
from hflm.training.recorded import read_plan

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# Rows that are asked, of a classifier and of a model that writes, where nobody says how many.
ROWS = {"classification": 1000, "seq2seq": 100, "completion": 100}


@dataclass(frozen=True, kw_only=True)
class StressOptions:
    """What a user asks for; None and empty stand for what hflm chooses."""

    data: Sequence[str]
    task: str | None = None
    metric: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    source_lang: str | None = None
    target_lang: str | None = None
    perturbations: Sequence[str] = ()
    language: str | None = None
    max_rows: int | None = None
    seed: int = 0
    group_column: str | None = None
    tests: Path | None = None
    validation_file: str | None = None
    canaries: Path | None = None
    canary_others: int = 511
    train_data: Sequence[str] = ()
    word_list: Path | None = None
    max_new_tokens: int | None = None


def stress(name: str, options: StressOptions, *, watch: "Watch") -> dict[str, Any]:
    """Ask a model everything, and return the report; all that can be wrong with the rows is told before it loads.

    Raises ModelError for a model that tags words.
    """
    told: dict[str, Any] = {
        "task": options.task, "source_lang": options.source_lang, "target_lang": options.target_lang,
    }  # fmt: skip
    known = describe(name, **told)
    if known.kind == "tagging":
        raise ModelError(
            f"{name} tags words: `hflm stress` takes classifiers and models that write.",
            fix=f"Score it: `hflm evaluate {name} --data FILE`.",
        )
    questions, about = read_questions(known, options)
    for note in about["notes"]:
        watch("note", {"text": note})
    # In full precision: what moves is then the text, not the rounding of another batch.
    trained = open_trained(name, max_new_tokens=options.max_new_tokens, precision="fp32", **told)
    return {**about, **measure(trained, questions, watch=watch)}


def read_questions(known: Described, options: StressOptions) -> tuple[Questions, dict[str, Any]]:
    """Read all files, and draw the rows; also return what the report says of them."""
    metric = options.metric or known.task.metric
    examples = read_references(
        known, options.data, metric=metric, columns=options.columns, source_lang=options.source_lang,
        target_lang=options.target_lang,
    )  # fmt: skip
    if options.group_column == "length":
        raise UsageError(
            "--group-column length: so the report calls its own groups, by the length of the text.",
            fix="Give the column another name.",
        )
    groups = {options.group_column: read_groups(options.data, options.group_column)} if options.group_column else {}
    _check_options(known, options)
    tests = read_tests(options.tests, labels=known.labels) if options.tests else []
    canaries = read_canaries(options.canaries) if options.canaries else []
    bad_words, lists = (read_words(options.word_list), [options.word_list.name]) if options.word_list else (
        installed_words()
    )  # fmt: skip
    most = options.max_rows or ROWS[known.kind]
    kept = _draw(len(examples), most, options.seed)
    chosen = [examples[place] for place in kept]
    texts = [text for example in chosen if (text := read_text(example))]
    validation, notes = ([], []) if known.kind != "classification" else _validation(known, options, examples)
    if len(kept) < len(examples):
        notes.append(f"{len(kept):,} of {len(examples):,} rows, drawn by the seed; --max-rows takes more")
    questions = Questions(
        examples=chosen, metric=metric, perturbations=choose(options.perturbations), seed=options.seed,
        language=language_of(texts) if options.language is None else named_language(options.language),
        groups={name: [values[place] for place in kept] for name, values in groups.items()}, tests=tests,
        validation=validation, why_no_validation=notes[0] if notes and not validation else "", canaries=canaries,
        canary_others=options.canary_others, train=(lambda: _train_texts(options)) if options.train_data else None,
        bad_words=bad_words,
    )  # fmt: skip
    return questions, {"data": list(options.data), "rows_read": len(examples), "word_lists": lists, "notes": notes}


def _check_options(known: Described, options: StressOptions) -> None:
    """Raise UsageError for an option that says nothing of this kind of model."""
    writes = {
        "canaries": "--canaries", "train_data": "--train-data", "word_list": "--word-list",
        "max_new_tokens": "--max-new-tokens",
    }  # fmt: skip
    if known.kind == "classification":
        for name, flag in writes.items():
            if getattr(options, name):
                raise UsageError(f"{flag} is for models that write, and {known.name} classifies.", fix="Leave it out.")
    elif options.validation_file:
        raise UsageError(f"--validation-file is for classifiers, and {known.name} writes.", fix="Leave it out.")
    if options.canaries and known.kind == "seq2seq":
        raise UsageError(f"--canaries is for models that go on with a text, not {known.kind}.", fix="Leave it out.")
    if options.train_data:
        find_sources(options.train_data)


def _draw(rows: int, most: int, seed: int) -> list[int]:
    if rows <= most:
        return list(range(rows))
    return sorted(np.random.Generator(np.random.Philox(key=[seed, 37])).permutation(rows)[:most].tolist())


def _validation(
    known: Described, options: StressOptions, scored: Sequence[Example]
) -> tuple[list[Example], list[str]]:  # fmt: skip
    """Return rows to fit a temperature to, none of which is scored; and why there are none, or fewer."""
    seen = {read_text(example) for example in scored}
    if options.validation_file:
        rows = read_references(
            known, [options.validation_file], metric=None, columns=options.columns, source_lang=None, target_lang=None
        )
        return _others(rows, seen)
    run = RunFolder(Path(known.name))
    if not run.config.exists():
        return [], ["no rows of validation are known: --validation-file names some"]
    try:
        splits = _splits_of(run)
    except (HflmError, OSError) as error:
        return [], [f"the run's rows of validation cannot be read ({error}) --validation-file names some"]
    rows, notes = _others(splits.eval, seen)
    trained_on = sum(read_text(example) in seen for example in splits.train)
    if trained_on:
        notes.append(f"{trained_on:,} rows of the training have the text of a row that is scored here")
    return rows, notes


def _others(rows: Sequence[Example], seen: set[str | None]) -> tuple[list[Example], list[str]]:
    kept = [example for example in rows if read_text(example) not in seen]
    left = len(rows) - len(kept)
    if not kept:
        return [], ["every row of validation is scored here too, so that no temperature is fitted to them"]
    return kept, [f"{left:,} rows of validation are scored here too, and not fitted to"] if left else []


def _splits_of(run: RunFolder) -> Splits:
    """Read a run's rows again; raises UsageError where they are not those that it was trained with."""
    kind = kind_of(run)
    # A distillation is a fine-tuning beside a teacher: its rows are read in the same way.
    if not issubclass(kind, FinetuneConfig):
        raise UsageError(f"{run.path} was not fine-tuned.", fix="")
    config, task = settings_of(kind, run), load_task(str(run.recipe))
    splits, _ = usable(named_labels(read_data(config, task)))
    if content_key(splits) != read_plan(run)["data"]:
        raise UsageError("they have changed since.", fix="")
    return splits


def _train_texts(options: StressOptions) -> Iterator[tuple[str, str]]:
    for source in find_sources(options.train_data):
        if source.kind == "text":
            # As it is read to be trained on: a run of words goes on over the ends of the lines of a paragraph.
            unit, _ = choose_unit(source)
            for document in read_documents(source, unit=unit):
                yield f"{document.file}, line {document.line}", document.text
            continue
        for record in read_records(source):
            values = record.values
            yield record.where, text_of(values, [*READ, *(role for role in values if role not in READ)])


def check_files(name: str, page: Path | None, *, writes: bool) -> None:
    """Raise UsageError for a page that may not be written, ModelError for a model that is not the user's own."""
    if page is not None:
        check_page(page)
    if writes:
        _own_folder(name)


def _own_folder(name: str) -> Path:
    """Return the folder of a model that may be written to; not that of a cache or a package."""
    path = Path(name)
    folder = path / "model" if (path / "model" / "config.json").is_file() else path
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} is no folder of yours to write into.", fix="Name a run or a folder.")
    return folder


def keep(name: str, report: dict[str, Any], *, page: Path | None, card: bool, temperature: bool) -> Iterator[str]:
    """Write what was asked for, and yield a line for each; raises UsageError last, where there is no temperature."""
    if page is not None:
        write_text(page, html_page(report))
        yield f"wrote {page}"
    if card:
        path = _own_folder(name) / "README.md"
        write_card(path, report)
        yield f"wrote a summary into {path}"
    if temperature:
        found = report.get("calibration", {})
        if "temperature" not in found:
            why = found.get("not_fitted", "the model writes, and has no chances of classes")
            raise UsageError(f"There is no temperature to save: {why}.", fix="Leave --save-temperature out.")
        folder = _own_folder(name)
        save_temperature(folder, task=report["task"], temperature=found["temperature"])
        seal_again(RunFolder(folder.absolute().parent), folder.absolute() / "config.json")
        yield f"wrote temperature {found['temperature']:.4f} into {folder / 'config.json'}"
