"""All that is asked of a model, one part after the other, into one report of plain data."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hflm.data.examples import Example
from hflm.inference.predicting import REFERENCE, write_rows
from hflm.inference.testing import metric_options
from hflm.inference.trained import TrainedModel
from hflm.metrics.registry import find_metric, score
from hflm.stressing.calibration import scaled
from hflm.stressing.canaries import Canary, expose
from hflm.stressing.checklists import RowTest, judge, questions
from hflm.stressing.groups import by_group, by_length
from hflm.stressing.longest import longest_overlaps
from hflm.stressing.outputs import listed, personal
from hflm.stressing.robustness import Asked, moved, plan, worst_case
from hflm.stressing.subject import READ, Answers, ask, chances, class_logits, read_text, read_whole
from hflm.stressing.words import words

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# Words of a plain text that a model goes on from.
PROMPT = 12


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What a model is asked: rows and what belongs to them, read and looked at before it was loaded."""

    examples: list[Example]
    metric: str
    perturbations: list[str]
    language: str
    seed: int
    groups: dict[str, list[str]] = field(default_factory=dict)
    tests: list[RowTest] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    why_no_validation: str = ""
    canaries: list[Canary] = field(default_factory=list)
    canary_others: int = 511
    train: Callable[[], Any] | None = None
    bad_words: set[str] = field(default_factory=set)


def measure(trained: TrainedModel, asked: Questions, *, watch: "Watch") -> dict[str, Any]:
    """Ask everything, and return the report without what only the caller knows."""
    metric, examples = asked.metric, asked.examples
    options = metric_options(metric, labels=trained.labels, language=trained.languages[1])
    references = [reference(example) for example in examples]
    plain_text = metric == "perplexity" and "text" in examples[0].values
    plans = plan([] if plain_text else asked.perturbations, examples, seed=asked.seed, language=asked.language)
    told = _teller(len(examples) + sum(len(one.places) for one in plans), watch)
    before = ask(trained, examples, metric=metric, told=told())
    report: dict[str, Any] = {
        "model": trained.name, "task": trained.task.name, "kind": trained.kind, "metric": metric,
        "primary": find_metric(metric).primary, "rows": len(examples), "language": asked.language, "seed": asked.seed,
        "precision": trained.device.precision, "temperature": getattr(trained.family, "temperature", None),
        "scores": score(metric, predictions=before.predictions, references=references, **options).to_json()["scores"],
    }  # fmt: skip
    done: list[tuple[Asked, Answers]] = []
    report["perturbations"] = {}
    for one in plans:
        answers = ask(trained, one.examples, metric=metric, told=told()) if one.places else Answers([])
        done.append((one, answers))
        report["perturbations"][one.name] = moved(
            one, before, answers, examples=examples, references=references, metric=metric, options=options
        )
    if plain_text:
        report["not_perturbed"] = "the rows are plain text, which is what the model predicts, and no question"
    if trained.kind == "classification":
        report["worst_case"] = worst_case(done, before, references)
    report["groups"] = _groups(asked, before, references, options)
    _tests(trained, asked, report)
    if trained.kind == "classification":
        _calibration(trained, asked, before, references, report)
    else:
        _written(trained, asked, before, report, watch)
    return report


def reference(example: Example) -> Any:
    """Return what a row's answer is held against; of plain text the text is."""
    return next((example[role] for role in REFERENCE if role in example.values), read_text(example))


def _teller(rows: int, watch: "Watch") -> Callable[[], Callable[[int], None]]:
    """Count rows over all that is asked."""
    start, state = time.perf_counter(), {"before": 0, "now": 0}

    def next_part() -> Callable[[int], None]:
        state["before"] += state["now"]
        state["now"] = 0

        def told(done: int) -> None:
            state["now"] = done
            whole, spent = state["before"] + done, time.perf_counter() - start
            watch("rows", {"done": whole, "rows": max(rows, whole), "rows_per_second": whole / max(spent, 1e-9)})

        return told

    return next_part


def _groups(asked: Questions, before: Answers, references: Sequence[Any], options: Any) -> dict[str, Any]:
    primary = find_metric(asked.metric).primary
    found = {}
    kinds = {**asked.groups, "length": by_length(asked.examples)}
    for kind, names in kinds.items():
        if kind == "length":
            lengths = [len(read_text(example) or "") for example in asked.examples]
            order = sorted(range(len(names)), key=lambda place: lengths[place])
        else:
            order = list(range(len(names)))
        found[kind] = by_group(
            [names[p] for p in order], [before.predictions[p] for p in order], [references[p] for p in order],
            metric=asked.metric, primary=primary, options=options, in_order=kind == "length",
        )  # fmt: skip
    return found


def _tests(trained: TrainedModel, asked: Questions, report: dict[str, Any]) -> None:
    if not asked.tests:
        return
    role = next((role for role in READ if role in asked.examples[0].values), "text")
    rows = questions(asked.tests, role=role)
    # A model that writes is asked for its text, whatever its rows are scored by.
    answers = ask(trained, rows, metric="" if asked.metric == "perplexity" else asked.metric)
    report["tests"] = judge(
        asked.tests, rows, answers, labels=trained.labels, temperature=getattr(trained.family, "temperature", 1.0)
    )


def _calibration(
    trained: TrainedModel, asked: Questions, before: Answers, references: Sequence[str], report: dict[str, Any]
) -> None:
    labels, fit = trained.labels, asked.validation
    assert before.logits is not None
    wanted = [labels.index(name) for name in references]
    fit_logits = class_logits(trained, fit) if fit else chances(before.logits[:0])
    found = scaled(
        before.logits, wanted, fit_logits, [labels.index(example["label"]) for example in fit],
        saved=trained.family.temperature,
    )  # fmt: skip
    if not fit and asked.why_no_validation:
        found["not_fitted"] = asked.why_no_validation
    report["calibration"] = found


def _written(trained: TrainedModel, asked: Questions, before: Answers, report: dict[str, Any], watch: "Watch") -> None:
    texts, sources = _outputs(trained, asked, before, watch)
    wheres = [example.where for example in asked.examples]
    report["outputs"] = {
        "personal": personal(texts, sources, wheres),
        **({"listed": listed(texts, sources, asked.bad_words)} if asked.bad_words else {}),
    }
    if asked.train:
        report["overlap"] = longest_overlaps(texts, sources, asked.train())
    if asked.canaries:
        watch("note", {"text": f"canaries: {len(asked.canaries)}, each among {asked.canary_others:,} others"})
        report["canaries"] = expose(trained, asked.canaries, others=asked.canary_others, seed=asked.seed)


def _outputs(
    trained: TrainedModel, asked: Questions, before: Answers, watch: "Watch"
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Return texts that the model wrote, and what it read for each."""
    sources = [read_whole(trained, example) for example in asked.examples]
    if asked.metric != "perplexity":
        return [str(text) for text in before.predictions], sources
    examples = asked.examples
    if "text" in examples[0].values:
        sources = [_beginning(text) for text in sources]
        examples = [Example(e.where, {"text": text}) for e, text in zip(examples, sources, strict=True)]
    watch("note", {"text": f"writing after {len(examples):,} beginnings"})
    rows, _ = write_rows(
        trained.model, trained.family, examples, device=trained.device, max_new_tokens=trained.max_new_tokens
    )
    return [row["prediction"] for row in rows], sources


def _beginning(text: str) -> str:
    """Return the first words of a text, as they stand there."""
    found = words(text)[:PROMPT]
    end = 0
    for word in found:
        end = text.index(word, end) + len(word)
    return text[:end]
