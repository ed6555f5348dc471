"""`hflm finetune`: parse, call, show."""

import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.progress import Progress
from hflm.cli.settings import check_resume, kept, new_run, notices, resumed, with_settings
from hflm.cli.show import print_json
from hflm.cli.slurm import DryRun, Nodes, Partition, Sbatch, Slurm, Time, check_slurm, hand_over
from hflm.errors import UsageError
from hflm.finetune_config import FinetuneConfig, resolve_finetune
from hflm.recipe_files import load_task
from hflm.resume import task_of
from hflm.run import since
from hflm.settings import read_yaml
from hflm.task import Task


def _finetune(
    *,
    settings: dict[str, Any],
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Run folder. Default: runs/<task>-<time>.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; flags win over it.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the same folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest whole checkpoint.")] = False,
    allow_change: Annotated[
        bool, typer.Option("--allow-change", help="With --resume: go on though data, weights or settings changed.")
    ] = False,
    slurm: Slurm = False, nodes: Nodes = 1, partition: Partition = None, time: Time = None, sbatch: Sbatch = None,
    dry_run: DryRun = False,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON, and nothing else.")] = False,
) -> None:  # fmt: skip
    """Fine-tune a model on a task, choose the best weights, and test them once.

    hflm finetune --task sentiment --model bert-base-cased --data reviews.jsonl -o out
    """
    asked: dict[str, Any] = {"partition": partition, "time": time, "sbatch": sbatch, "dry_run": dry_run}
    check_slurm(slurm, resume=resume, overwrite=overwrite, settings=settings, given={**asked, "nodes": nodes > 1})
    check_resume(resume, overwrite=overwrite, allow_change=allow_change)
    if resume:
        run, resolved = resumed(FinetuneConfig, output_dir, given=settings, config=config, allow_change=allow_change)
        folder = run.path
        task = task_of(resolved, run)
    else:
        task, resolved = resolved_task(settings, config)
        folder = output_dir or new_run(task.name, slurm=slurm)
    if slurm:
        return hand_over(
            "finetune", settings, folder, config, nodes=nodes, restarts=resolved.max_restarts, json=json, **asked
        )
    progress = Progress(quiet=json)
    again = partial(resolve_finetune, task, name=resolved.task)
    own = kept(resolved, settings, None if resume else config, again)
    for notice in (*notices(sys.argv, FinetuneConfig), *own):
        progress.note(notice)
    from hflm.finetune import finetune

    with progress:
        metrics = finetune(
            resolved, task, folder, overwrite=overwrite, resume=resume, watch=progress.watch, allow_change=allow_change
        )
    if json:
        print_json({"run": str(folder), **metrics})
    else:
        report(folder, metrics)


def resolved_task(settings: Mapping[str, Any], config: Path | None) -> tuple[Task, FinetuneConfig]:
    """Return the task that is named, and the settings with its numbers below them."""
    file = read_yaml(config) if config else {}
    name = {**file, **settings}.get("task")
    if not name:
        raise UsageError("No task is named.", fix="Pass --task; `hflm recipes list` shows what there is.")
    task = load_task(str(name))
    where = str(config or "the command line")
    return task, resolve_finetune(task, name=str(name), file=file, flags=settings, where=where)


def report(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Print what a run came to."""
    print(f"\neval loss      {metrics['eval_loss']:.3f}, accuracy {metrics['eval_accuracy']:.1%}")
    if "test" in metrics:
        print(f"test           {metrics['test_rows']:,} rows, scored once; [95 % interval]")
        print_scores(metrics["test"])
    print(
        f"trained        {metrics['steps']:,} steps in {metrics['seconds']:.0f} s{since(metrics)}; "
        f"kept step {metrics['best_step']:,}\n"
        f"run            {folder}\n\nNext:"
    )
    for line in _next(folder, metrics):
        print(f"  {line}")


def print_scores(test: Mapping[str, Any]) -> None:
    """Print scores with their intervals, and what else a metric must say."""
    width = max(12, *map(len, test["scores"]))
    for name, score in test["scores"].items():
        print(f"  {name:<{width}} {score['value']:.4g}  [{score['low']:.4g}, {score['high']:.4g}]")
    if "parsed" in test["details"]:
        print(f"  {test['details']['parsed']:,} of {test['details']['rows']:,} outputs are triples")
    if "tokenizer" in test["details"]:
        print(f"  words: {test['details']['tokenizer']}")
    for signature in (test["details"].get("signature") or {}).values():
        print(f"  {signature}")


def _next(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    run = shlex.quote(str(folder))
    commands = {
        "classification": f'hflm classify {run} "..."', "tagging": f'hflm classify {run} "..."',
        "summarization": f'hflm summarize {run} "..."', "translation": f'hflm translate {run} "..."',
        "generation": f'hflm generate "..." --model {run}',
        "knowledge-graph": f"hflm graph build book.txt --model {run} -o graph.jsonl",
    }  # fmt: skip
    usual = f"hflm predict {run} --input-file rows.jsonl --output-file out.jsonl"
    first = commands.get(metrics["task"], commands.get(metrics["family"], usual))
    return [first, f"hflm runs show {run}", f"look at {folder / 'predictions.jsonl'} and {folder / 'loss.png'}"]


# What the recipe or a choice sets otherwise than its field.
USUAL = {
    "model": "the recipe's, from the hub", "data": "the sample of the task", "batch_size": "the recipe's, 16 or 32",
    "schedule": "linear; trapezoid with --arch", "optimizer": "adamw; muon with --arch",
    "max_source_length": "the recipe's", "max_target_length": "the recipe's",
}  # fmt: skip
command = with_settings(_finetune, FinetuneConfig, argument="data", usual=USUAL)
