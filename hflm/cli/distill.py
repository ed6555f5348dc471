"""`hflm distill`: parse, call, show."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.finetune import report as report_task
from hflm.cli.pretrain import report as report_text
from hflm.cli.progress import Progress
from hflm.cli.settings import check_resume, kept, new_run, notices, resumed, with_settings
from hflm.cli.show import print_json, table
from hflm.distill_config import DistillConfig, resolve_distill
from hflm.recipe_files import load_task
from hflm.resume import task_of
from hflm.settings import read_yaml
from hflm.task import Task


def _distill(
    *,
    settings: dict[str, Any],
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Run folder. Default: runs/distill-<time>.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; flags win over it.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the same folder.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest whole checkpoint of the run.")
    ] = False,
    allow_change: Annotated[
        bool, typer.Option("--allow-change", help="With --resume: go on though data, weights or settings changed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON, and nothing else.")] = False,
) -> None:
    """Train a small model to do what a large one does, and say what it keeps of its quality.

    hflm distill --teacher mood --student-layers 2 --data reviews.jsonl -o small
    """
    check_resume(resume, overwrite=overwrite, allow_change=allow_change)
    if resume:
        run, resolved = resumed(DistillConfig, output_dir, given=settings, config=config, allow_change=allow_change)
        folder = run.path
        task = task_of(resolved, run)
    else:
        task, resolved = resolved_task(settings, config)
        folder = output_dir or new_run("distill")
    progress = Progress(quiet=json)
    again = partial(resolve_distill, task, name=resolved.task)
    own = kept(resolved, settings, None if resume else config, again)
    for notice in (*notices(sys.argv, DistillConfig), *own):
        progress.note(notice)
    from hflm.distill import distill

    with progress:
        metrics = distill(
            resolved, task, folder, overwrite=overwrite, resume=resume, watch=progress.watch, allow_change=allow_change
        )
    if json:
        print_json({"run": str(folder), **metrics})
    else:
        report(folder, metrics)


def resolved_task(settings: Mapping[str, Any], config: Path | None) -> tuple[Task, DistillConfig]:
    """Return the task, that of the teacher where none is named, and the settings with its numbers below them."""
    file = read_yaml(config) if config else {}
    given = {**file, **settings}
    name = given.get("task")
    if not name and given.get("teacher"):
        from hflm.distilling.teacher import task_of

        name = task_of(str(given["teacher"]))
    task = load_task(str(name or "sentiment"))
    where = str(config or "the command line")
    return task, resolve_distill(task, name=str(name), file=file, flags=settings, where=where)


def report(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Print what a run came to, then what the student keeps of its teacher."""
    (report_text if "objective" in metrics else report_task)(folder, metrics)
    print(f"\nKept of {metrics['distillation']['teacher']['model']}:")
    table(rows(metrics["distillation"]), ("", "teacher", "student", "kept", "difference", "95 %", "p"))


def rows(found: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """Return the table of a distillation: a row a score, then size and speed."""
    lines: list[dict[str, str | None]] = [
        {
            "": name, "teacher": f"{one['teacher']['value']:.4g}", "student": f"{one['student']['value']:.4g}",
            "kept": None if one["share"] is None else f"{one['share']:.1%}", "difference": f"{one['difference']:+.4g}",
            "95 %": f"{one['low']:+.4g} to {one['high']:+.4g}", "p": f"{one['p_value']:.3f}",
        }
        for name, one in found["kept"].items()
    ]  # fmt: skip
    teacher, student = found["teacher"], found["student"]
    for name, key, unit in (
        ("parameters", "parameters", 1e6),
        ("on disk", "bytes", 1e6),
        ("rows/s", "rows_per_second", 1),
    ):
        suffix = {"parameters": " M", "bytes": " MB"}.get(key, "")
        one, other = (f"{side[key] / unit:,.1f}{suffix}" for side in (teacher, student))
        lines.append({"": name, "teacher": one, "student": other, "kept": f"{student[key] / teacher[key]:.0%}"})
    return lines


# What the recipe or a choice sets otherwise than its field.
USUAL = {
    "batch_size": "the recipe's", "schedule": "linear; trapezoid for raw text", "optimizer": "adamw",
    "learning_rate": "the recipe's", "max_source_length": "the recipe's", "max_target_length": "the recipe's",
}  # fmt: skip
command = with_settings(_distill, DistillConfig, argument="data", usual=USUAL)
