"""From rows and a model to a model that does the task, tested once: read, fit, train, test, save.

hflm finetune --task sentiment --model bert-base-cased --data reviews.jsonl -o out
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.errors import UsageError
from hflm.finetune_config import FinetuneConfig
from hflm.launch import check_same, check_shared
from hflm.pretrain import check_name, check_trackers
from hflm.recipe_files import find, recipe_key
from hflm.run import RunFolder, read_json, whole_folder, write_json, write_text
from hflm.sealed import seal_results
from hflm.settings import to_yaml
from hflm.task import Task
from hflm.training_job import begin, carry_out

# A run of fewer steps is over before it is known how long it takes; seconds spent on knowing, for a step and at most.
WORTH_ESTIMATING, PROBING, MOST_PROBING = 25, 0.03, 3.0

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch
    from hflm.finetuning.fitting import Fitted
    from hflm.training.training import Training


def finetune(
    config: FinetuneConfig, task: Task, folder: Path, *, overwrite: bool, resume: bool, watch: "Watch",
    allow_change: bool = False, like: RunFolder | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run the whole job and return its metrics; `watch` hears of every note, step and log.

    Several processes are started and waited for; in each of them this is called again, and only rank 0 returns metrics.
    A run that is resumed must find everything as it was, unless `allow_change`; `like` is a run to do again.
    Raises an HflmError for anything a user can mend; Interrupted where a signal stopped the run.
    """
    check_model(config, task)
    check_name(folder)
    check_trackers(config.report_to)
    return carry_out(
        config, folder, partial(_finetune, task=task), recipe=lambda: find(config.task),
        overwrite=overwrite, resume=resume, watch=watch, allow_change=allow_change, like=like,
    )  # fmt: skip


def _finetune(
    config: FinetuneConfig, run: RunFolder, *, task: Task, resume: bool, watch: "Watch", allow_change: bool,
    like: RunFolder | None, create: Callable[[], None],
) -> dict[str, Any]:  # fmt: skip
    began = time.perf_counter()

    def say(text: str) -> None:
        watch("note", {"text": text})

    from hflm.data.hub import pinned
    from hflm.engine import ranks
    from hflm.engine.callbacks import interruptible
    from hflm.engine.memory import give_back
    from hflm.inference.testing import test_split
    from hflm.training.steps import fix_steps
    from hflm.training.train import train

    if not resume and ranks.first():
        config = replace(config, data=pinned(config.data, say=say))
    config = ranks.agreed(config)
    with ranks.first_ahead():
        fitted = prepare_finetune(config, task, say=say)
    training = training_of(fitted, run, recipe=run.recipe if resume else None)
    watch("settings", {"yaml": to_yaml(fitted.config)})
    training = fix_steps(
        training, resume=resume, spent=time.perf_counter() - began, say=say, like=like, allow_change=allow_change
    )
    report = announce(fitted, training, say=say)
    if not resume:
        training, found = _estimated(fitted, training, say=say)
        report |= found
    check_same(training)
    if ranks.first():
        begin(
            run, to_yaml(fitted.config), fitted.family.tokenizer, recipe=None if resume else find(fitted.config.task),
            create=create, resume=resume, allow_change=allow_change,
        )  # fmt: skip
    check_shared(run)
    trained = train(training, resume=resume, watch=watch)
    # What training held is in a ring of references; the weights that adapters add and the test need room of their own.
    give_back()
    merge(fitted)
    with interruptible(run.path):
        tested = test_split(fitted, run, watch=watch)
        if not ranks.first():
            return {}
        metrics = {**summary(fitted, run, trained), **tested, "preflight": report}
        save(fitted, run, metrics)
    return metrics


def _estimated(fitted: "Fitted", training: "Training", *, say: Any) -> "tuple[Training, dict[str, Any]]":
    """Say what a longer run will take, which costs some of its steps; a budget was measured already."""
    from dataclasses import asdict

    from hflm.finetuning.estimate import estimate, lines
    from hflm.training.train import in_memory

    if training.steps < WORTH_ESTIMATING or training.config.budget:
        return training, {}
    within = min(MOST_PROBING, PROBING * training.steps)
    training, found = in_memory(training, partial(estimate, fitted, within=within), say=say)
    for line in lines(found):
        say(line)
    return training, asdict(found)


def check_model(config: FinetuneConfig, task: Task) -> None:
    """Raise UsageError where no model is named, or ModelError where none can be built as asked."""
    if config.arch:
        from hflm.finetuning.scratch import check_scratch

        check_scratch(config, task)
    elif not config.model:
        raise UsageError("No model is named.", fix="Pass --model FOLDER or a hub id, or --arch for one from scratch.")


def prepare_finetune(config: FinetuneConfig, task: Task, *, say: Any) -> "Fitted":
    """Read the data, then load the model: what is wrong with the rows is said before minutes are spent."""
    from hflm.families.completion import check_asked
    from hflm.finetuning.fitting import fit, name_languages, read_data
    from hflm.finetuning.idle import without_effect
    from hflm.finetuning.scratch import from_scratch
    from hflm.inference.testing import check_answers, check_metric
    from hflm.models.architecture import count_parameters
    from hflm.models.heads import family_of, load_config
    from hflm.training.process import prepare_process

    prepare_process(config)
    splits = read_data(config, task)
    name = from_scratch(config, task, splits.train, say=say) if config.arch else str(config.model)
    check_metric(task.metric, family_of(task.family, load_config(name), name=config.arch or name))
    check_answers(splits.test, task.metric)
    fitted = fit(name_languages(config, task, splits), task, splits, start=name)
    for example in splits.test if fitted.kind == "completion" and task.metric != "perplexity" else ():
        check_asked(example)
    for line in without_effect(config, task, fitted.kind, fitted.splits):
        say(line)
    most = getattr(fitted.family, "max_source_length", None) or getattr(fitted.family, "max_length", None)
    if most and most < config.max_source_length and any(row.cut for row in fitted.train):
        say(f"the model reads {most:,} tokens of a row at most, not {config.max_source_length:,} as was asked for")
    trained = sum(weight.numel() for weight in fitted.model.parameters() if weight.requires_grad)
    say(
        f"model: {fitted.model.config.model_type} as {fitted.kind}, {count_parameters(fitted.model):,} parameters, "
        f"{trained:,} of them trained, {fitted.device.kind} {fitted.device.precision}"
    )
    return fitted


def training_of(fitted: "Fitted", run: RunFolder, *, recipe: Path | None = None) -> "Training":
    """Return what the training of a fitted task needs; `recipe` is the file of the task, where the run has its own."""
    from hflm.engine import ranks
    from hflm.engine.order import LikeLengths
    from hflm.engine.split import eval_batch, split_batch
    from hflm.finetuning.fitting import layers_x_width
    from hflm.training.training import Training

    config = replace(fitted.config, optimizer="adamw" if fitted.config.optimizer == "auto" else fitted.config.optimizer)
    lengths = [row.length for row in fitted.train]
    split = split_batch(
        config.batch_size, micro_batch=config.micro_batch_size, processes=ranks.world(), max_length=max(lengths),
        gpu=fitted.device.kind == "cuda", layers_x_width=layers_x_width(fitted.model.config),
    )  # fmt: skip

    def order(steps: int) -> LikeLengths:
        return LikeLengths(
            lengths, total=steps * config.batch_size, seed=config.seed, batch_size=config.batch_size
        )  # fmt: skip

    best = fitted.task.best
    # That of tags is a share of the tags, of which those of a row are not independent.
    share_of_rows = best == "accuracy" and fitted.task.family == "classification"
    return Training(
        config=config, run=run, model=fitted.model, family=fitted.family, device=fitted.device, split=split,
        rows=fitted.train, count=len(fitted.train), eval_rows=fitted.eval, order=order, key=fitted.key,
        tokens_per_step=config.batch_size * sum(lengths) / len(lengths), keep_best=True,
        eval_batch=eval_batch(max((row.length for row in fitted.eval), default=1), gpu=fitted.device.kind == "cuda"),
        best=(best, best != "loss"), best_rows=len(fitted.eval) if share_of_rows else None,
        inputs={**fitted.inputs, "recipe": recipe_key(recipe or find(config.task))},
        name_row=partial(where_of, fitted),
    )  # fmt: skip


def where_of(fitted: "Fitted", row: int) -> str:
    """Name the place of a training row: an example may have become several."""
    example = fitted.train[row].example
    return fitted.splits.train[row if example is None else example].where


def announce(fitted: "Fitted", training: "Training", *, say: Any) -> dict[str, Any]:
    """Say what is known before the first step, and return it."""
    from hflm.finetuning.preflight import lines, preflight

    report = preflight(fitted, steps=training.steps, split=str(training.split))
    if training.best_rows:
        report["best_rows"] = training.best_rows
    for line in lines(report):
        say(line)
    return report


def merge(fitted: "Fitted") -> None:
    """Merge what LoRA has learned: the model that is counted, timed and tested is the one that is saved.

    A run that is stopped from here on goes on from its last checkpoint, which has the matrices by themselves.
    """
    from hflm.models.adapters import merge_lora

    if fitted.config.lora_rank:
        merge_lora(fitted.model)


def summary(fitted: "Fitted", run: RunFolder, trained: Any) -> dict[str, Any]:
    """Return what a run was, and how its training ended."""
    from hflm.data.splits import stem
    from hflm.engine.device import peak_memory
    from hflm.models.architecture import count_parameters

    config = fitted.config
    named = [config.train_file] if config.train_file else list(config.data)
    return {
        "job": "finetune",
        "task": fitted.task.name,
        "started": read_json(run.environment)["started"],
        "data": stem([str(name) for name in named]) or f"the sample of {fitted.task.name}",
        "model": config.model or f"{config.arch} from scratch",
        "arch": fitted.model.config.model_type,
        "family": fitted.kind,
        "parameters": count_parameters(fitted.model),
        "steps": trained.steps,
        "best_step": trained.best_step or trained.steps,
        "seconds": round(trained.seconds, 2),
        **({"first_step": trained.first} if trained.first else {}),
        "eval_loss": trained.evaluation["eval_loss"],
        "eval_accuracy": trained.evaluation["eval_accuracy"],
        "step_seconds": trained.step_seconds,
        "peak_memory_bytes": peak_memory(fitted.device.kind),
    }


def task_parameters(fitted: "Fitted") -> dict[str, Any]:
    """Return what a model must be told again to do its task as it was trained to."""
    family, config = fitted.family, fitted.config
    names = ("prefix", "instruction", "max_source_length", "max_target_length", "max_length")
    found = {name: getattr(family, name) for name in names if hasattr(family, name)}
    languages = {"source_lang": config.source_lang, "target_lang": config.target_lang}
    # The columns of the training are looked for first in files that are to be predicted.
    columns = dict(fitted.splits.columns)
    spoken = {name: code for name, code in languages.items() if code}
    triples = getattr(family, "triples", None)
    relations = {"relations": list(triples.relations)} if triples else {}
    thinks = {"thinks": family.thinks} if hasattr(family, "thinks") else {}
    # A recipe of one's own may be gone by then.
    scored = {"metric": fitted.task.metric, "writes": fitted.task.writes}
    return {"family": fitted.kind, "columns": columns, **scored, **found, **spoken, **relations, **thinks}


def save(fitted: "Fitted", run: RunFolder, metrics: Mapping[str, Any]) -> None:
    """Write the model folder, its card and picture, and last the metrics, which say that the run is done."""
    import torch

    from hflm.finetuning.card import task_card
    from hflm.models.heads import pad_as_used
    from hflm.models.writing import with_usual_cache
    from hflm.plots import plot_loss, read_log

    fitted.model.to(torch.device("cpu"))  # type: ignore[arg-type]
    with_usual_cache(fitted.model.config)
    # Read back by `hflm predict`, and by transformers' own pipelines, which have always kept prefixes here.
    fitted.model.config.task_specific_params = {fitted.task.name: task_parameters(fitted)}
    title = f"{fitted.task.name}: {metrics['arch']} on {metrics['data']}"
    unit = {"classification": "text", "tagging": "word"}.get(fitted.kind, "token")
    card = task_card(fitted.config, metrics=metrics, environment=read_json(run.environment))
    pad_as_used(fitted.family.tokenizer, fitted.kind)
    with whole_folder(run.model) as folder:
        fitted.model.save_pretrained(folder)
        fitted.family.tokenizer.save_pretrained(folder)
        write_text(folder / "README.md", card)
        plot_loss(read_log(run.log), folder / "loss.png", title=title, unit=unit)
    plot_loss(read_log(run.log), run.plot, title=title, unit=unit)
    seal_results(run)
    write_json(run.metrics, metrics)
