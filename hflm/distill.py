"""From a large model to a small one that does the same: read, open both, train, test both, save.

hflm distill --teacher mood --student-layers 2 --data reviews.jsonl -o small
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.distill_config import DistillConfig
from hflm.finetune import announce, merge, summary, training_of
from hflm.finetune import save as save_task
from hflm.launch import check_same, check_shared
from hflm.pretrain import check_name, check_trackers
from hflm.pretrain import save as save_text
from hflm.recipe_files import find, recipe_key
from hflm.run import RunFolder, write_json_lines
from hflm.settings import to_yaml
from hflm.task import Task
from hflm.training_job import begin, carry_out

if TYPE_CHECKING:
    from hflm.distilling.lessons import Lesson, TextLesson
    from hflm.engine.callbacks import Watch
    from hflm.training.training import Training


def distill(
    config: DistillConfig, task: Task, folder: Path, *, overwrite: bool, resume: bool, watch: "Watch",
    allow_change: bool = False, like: RunFolder | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run the whole job and return its metrics; `watch` hears of every note, step and log.

    Several processes are started and waited for; in each of them this is called again, and only rank 0 returns metrics.
    A run that is resumed must find everything as it was, the teacher's weights too, unless `allow_change`; `like` is
    a run to do again. Raises an HflmError for anything a user can mend; Interrupted where a signal stopped the run.
    """
    check_trackers(config.report_to)
    check_name(folder)
    work = _distill_text if task.family == "masked_lm" else _distill_task
    return carry_out(
        config, folder, partial(work, task=task), recipe=lambda: find(config.task),
        overwrite=overwrite, resume=resume, watch=watch, allow_change=allow_change, like=like,
    )  # fmt: skip


def _distill_task(
    config: DistillConfig, run: RunFolder, *, task: Task, resume: bool, watch: "Watch", allow_change: bool,
    like: RunFolder | None, create: Callable[[], None],
) -> dict[str, Any]:  # fmt: skip
    began = time.perf_counter()

    def say(text: str) -> None:
        watch("note", {"text": text})

    from hflm.distilling.lessons import prepare_lesson
    from hflm.engine import ranks
    from hflm.engine.callbacks import interruptible
    from hflm.inference.testing import test_split
    from hflm.training.train import train

    config = get_ready(config, resume=resume, say=say)
    recipe = run.recipe if resume else find(config.task)
    lesson = prepare_lesson(config, task, recipe=str(recipe), say=say, watch=watch)
    fitted = lesson.fitted
    inputs = {**lesson.inputs, "recipe": recipe_key(recipe)}
    training = replace(training_of(fitted, run, recipe=recipe), family=lesson.family, inputs=inputs)
    training = _begin(
        training, to_yaml(fitted.config), fitted.family.tokenizer, task=recipe, resume=resume, watch=watch, began=began,
        like=like, allow_change=allow_change, create=create,
    )  # fmt: skip
    report = announce(fitted, training, say=say)
    trained = train(training, resume=resume, watch=watch)
    merge(fitted)
    with interruptible(run.path):
        tested = test_split(fitted, run, watch=watch)
        theirs = _test_teacher(lesson, watch=watch)
        if not ranks.first():
            return {}
        found = {**summary(fitted, run, trained), **tested, "preflight": report}
        metrics = {**found, "job": "distill", "distillation": _judge_task(lesson, run, tested, theirs)}
        _draw(metrics, run)
        save_task(fitted, run, metrics)
    return metrics


def _distill_text(
    config: DistillConfig, run: RunFolder, *, task: Task, resume: bool, watch: "Watch", allow_change: bool,
    like: RunFolder | None, create: Callable[[], None],
) -> dict[str, Any]:  # fmt: skip
    began = time.perf_counter()

    def say(text: str) -> None:
        watch("note", {"text": text})

    from hflm.distilling.lessons import prepare_text_lesson
    from hflm.engine import ranks
    from hflm.engine.callbacks import interruptible
    from hflm.pretraining.measure import measure
    from hflm.training.train import train

    config = get_ready(config, resume=resume, say=say)
    recipe = run.recipe if resume else find(config.task)
    with ranks.first_ahead():
        lesson = prepare_text_lesson(config, run, say=say, resume=resume)
    setup = lesson.setup
    settled = replace(config, optimizer=setup.config.optimizer)
    inputs = {**lesson.inputs, "recipe": recipe_key(recipe)}
    training = replace(setup.training, config=settled, family=lesson.family, inputs=inputs)
    training = _begin(
        training, to_yaml(settled), setup.data.tokenizer, task=recipe, resume=resume, watch=watch, began=began,
        like=like, allow_change=allow_change, create=create,
    )  # fmt: skip
    trained = train(training, resume=resume, watch=watch)
    if not ranks.first():
        return {}
    with interruptible(run.path), ranks.alone():
        found = {**measure(setup, trained), "job": "distill", "task": task.name, "model": config.model}
        metrics = {**found, "distillation": _judge_text(lesson, watch=watch)}
        _draw(metrics, run)
        save_text(setup, metrics)
    return metrics


def get_ready(config: DistillConfig, *, resume: bool, say: Callable[[str], None]) -> DistillConfig:
    """Quiet the libraries, set the threads, and name the revision of data from the hub, before anything is loaded."""
    from hflm.data.hub import pinned
    from hflm.engine import ranks
    from hflm.training.process import prepare_process

    prepare_process(config)
    if not resume and ranks.first():
        config = replace(config, data=pinned(config.data, say=say))
    agreed: DistillConfig = ranks.agreed(config)
    return agreed


def _begin(
    training: "Training", settings: str, tokenizer: Any, *, task: Path, resume: bool, watch: "Watch",
    began: float, like: RunFolder | None, allow_change: bool, create: Callable[[], None],
) -> "Training":  # fmt: skip
    """Fix the steps, and only then make the run folder and write what the run begins with."""
    from hflm.engine import ranks
    from hflm.training.steps import fix_steps

    def say(text: str) -> None:
        watch("note", {"text": text})

    run = training.run
    watch("settings", {"yaml": settings})
    training = fix_steps(
        training, resume=resume, spent=time.perf_counter() - began, say=say, like=like, allow_change=allow_change
    )
    check_same(training)
    if ranks.first():
        begin(run, settings, tokenizer, recipe=task, create=create, resume=resume, allow_change=allow_change)
    check_shared(run)
    return training


def _test_teacher(lesson: "Lesson", *, watch: "Watch") -> list[dict[str, Any]]:
    """Return what the teacher says of the rows that the student was tested on."""
    from hflm.inference.testing import predict_examples

    fitted, teacher, test = lesson.fitted, lesson.teacher, lesson.fitted.splits.test
    if not test:
        return []
    watch("note", {"text": f"testing the teacher on the same {len(test):,} rows"})
    rows, _ = predict_examples(
        teacher.model, teacher.family, test, metric=fitted.task.metric, device=teacher.device,
        max_new_tokens=teacher.max_new_tokens, watch=watch,
    )  # fmt: skip
    return rows


def _judge_task(
    lesson: "Lesson", run: RunFolder, tested: Mapping[str, Any], theirs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:  # fmt: skip
    """Compare student and teacher on the rows that both were tested on; return what was kept, and what was saved."""
    from hflm.distilling.quality import comparable, kept, primary, row_statistics, timed_rows
    from hflm.engine import ranks

    fitted, teacher = lesson.fitted, lesson.teacher
    metric, test = fitted.task.metric, fitted.splits.test
    found: dict[str, Any] = {"score": primary(metric), "kept": {}}
    if theirs:
        write_json_lines(run.teacher_predictions, theirs)
        ours = [json.loads(line) for line in run.predictions.read_text(encoding="utf-8").split("\n") if line]
        if comparable(metric, ours, theirs):
            found["kept"] = kept(*(row_statistics(metric, said, tested["metric_options"]) for said in (ours, theirs)))
    models = [(teacher.model, teacher.family), (fitted.model, fitted.family)]
    with ranks.alone():
        rates = timed_rows(models, test or fitted.splits.eval, device=fitted.device, cap=teacher.max_new_tokens)
    return {**found, **_sizes(str(teacher.name), lesson.origin, models, rates)}


def _judge_text(lesson: "TextLesson", *, watch: "Watch") -> dict[str, Any]:
    """Score teacher and student on the evaluation rows, masked alike; return what was kept, and what was saved."""
    from hflm.distilling.quality import kept, timed_tokens, token_statistics

    setup = lesson.setup
    rows, device = setup.data.eval_rows, setup.device
    watch("note", {"text": f"scoring teacher and student on {len(rows):,} rows of text"})
    models = [(lesson.teacher, lesson.taught), (setup.model, setup.family)]
    theirs, ours = (token_statistics(model, family, rows, device=device) for model, family in models)
    rates = timed_tokens(models, rows, device=device)
    found = {"score": "accuracy", "kept": kept(ours, theirs)}
    return {**found, **_sizes(lesson.name, lesson.origin, models, rates)}


def _sizes(name: str, origin: str, models: Sequence[tuple[Any, Any]], rates: Sequence[float]) -> dict[str, Any]:
    from hflm.distilling.quality import described
    from hflm.distilling.teacher import teacher_folder

    (teacher, _), (student, _) = models
    return {
        "teacher": described(teacher, name=name, rate=rates[0], folder=teacher_folder(name)),
        "student": described(student, name=origin, rate=rates[1], folder=None),
        "speedup": rates[1] / rates[0],
    }


def _draw(metrics: Mapping[str, Any], run: RunFolder) -> None:
    """Draw quality over speed of both, where the two were scored on the same rows."""
    from hflm.plots import plot_tradeoff

    found = metrics["distillation"]
    leading = found["kept"].get(found["score"])
    if leading:
        points = {side: {"rate": found[side]["rows_per_second"], **leading[side]} for side in ("teacher", "student")}
        plot_tradeoff(points, run.tradeoff, score=found["score"], title=f"{metrics['arch']} on {metrics['data']}")
