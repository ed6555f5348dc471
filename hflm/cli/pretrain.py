"""`hflm pretrain`: parse, call, show."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.progress import Progress
from hflm.cli.settings import check_resume, kept, new_run, notices, resumed, with_settings
from hflm.cli.show import print_json
from hflm.cli.slurm import DryRun, Nodes, Partition, Sbatch, Slurm, Time, check_slurm, hand_over
from hflm.config import PretrainConfig, resolve
from hflm.errors import UsageError
from hflm.recipe_files import find, load_task
from hflm.run import since
from hflm.settings import checked, read_yaml
from hflm.words import foreign


def _pretrain(
    *,
    settings: dict[str, Any],
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Run folder. Default: runs/pretrain-<time>.")] = None,
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
    """Train a language model on raw text: files, folders, globs or a hub data set; with none, a sample.

    hflm pretrain book.txt --size mini --budget 10m -o out
    """
    folder = output_dir or new_run("pretrain", slurm=slurm)
    asked: dict[str, Any] = {"partition": partition, "time": time, "sbatch": sbatch, "dry_run": dry_run}
    check_slurm(slurm, resume=resume, overwrite=overwrite, settings=settings, given={**asked, "nodes": nodes > 1})
    check_resume(resume, overwrite=overwrite, allow_change=allow_change)
    if resume:
        _, resolved = resumed(PretrainConfig, output_dir, given=settings, config=config, allow_change=allow_change)
    else:
        resolved = resolved_pretraining(
            file=read_yaml(config) if config else {}, flags=settings, where=str(config or "the command line")
        )
    if slurm:
        return hand_over(
            "pretrain", settings, folder, config, nodes=nodes, restarts=resolved.max_restarts, json=json, **asked
        )
    progress = Progress(quiet=json)
    own = kept(resolved, settings, None if resume else config, resolved_pretraining)
    for notice in (*notices(sys.argv, PretrainConfig), *own):
        progress.note(notice)
    from hflm.pretrain import pretrain

    with progress:
        metrics = pretrain(
            resolved, folder, overwrite=overwrite, resume=resume, watch=progress.watch, allow_change=allow_change
        )
    if json:
        print_json({"run": str(folder), **metrics})
    else:
        report(folder, metrics)


def resolved_pretraining(
    *, file: Mapping[str, Any], flags: Mapping[str, Any], where: str
) -> PretrainConfig:  # fmt: skip
    """Return the settings with the numbers of the recipe that is named below them."""
    name = {**file, **flags}.get("recipe", "pretraining")
    if not isinstance(name, str):
        # It is read before the settings are checked.
        raise UsageError(f"'recipe' in {where} is {name!r}.", fix="It must be text.")
    own = file.get("recipe")
    if len(file) > 1 and own not in (None, name) and find(str(own)).resolve() != find(name).resolve():
        raise UsageError(
            f"--recipe is {name}, and {where} is made for {own}: its numbers would win over the recipe's.",
            fix="Leave --recipe or --config away, or take out of the file what the recipe is to say.",
        )
    task = load_task(name)
    # That of generation is of fine-tuning: it knows several shapes of rows.
    if task.family not in ("masked_lm", "causal_lm") or task.shapes:
        raise UsageError(
            f"{name} is a recipe of a task.", fix=f"Run `hflm finetune --task {name}`, or name another recipe."
        )
    recipe = checked(PretrainConfig, task.defaults, where=f"the recipe {name}")
    return resolve(recipe=recipe, file=file, flags=flags, where=where)


def report(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Print what a run came to."""
    gain = metrics["unigram_loss"] - metrics["eval_loss"]
    side = "below" if gain >= 0 else "above"
    kind = "next" if metrics["objective"] == "clm" else "masked"
    best = f"; kept step {metrics['best_step']:,}" if metrics.get("best_step") else ""
    print(
        f"\neval loss      {metrics['eval_loss']:.3f} nats a token, {abs(gain):.3f} {side} the unigram baseline "
        f"({metrics['unigram_loss']:.3f})\n"
        f"accuracy       {metrics['eval_accuracy']:.1%} of the {kind} tokens\n"
        f"speed          {metrics['tokens_per_second']:,.0f} tokens/s; "
        f"{metrics['flops_per_second'] / 1e9:,.0f} GFLOP/s, "
        f"{metrics['model_flops_utilisation']:.0%} of the measured matmul ceiling\n"
        f"trained        {metrics['steps']:,} steps, {metrics['tokens_seen']:,} tokens in {metrics['seconds']:.0f} s"
        f"{since(metrics)}{best}; peak memory {metrics['peak_memory_bytes'] / 2**30:.2f} GiB\n"
        f"run            {folder}"
    )
    if metrics["samples"]:
        print("\nOn sentences that it was not trained on:")
    for sample in metrics["samples"]:
        print(f"  {sample['text']}\n    guesses {', '.join(sample['guesses'])}; the author wrote {sample['word']}")
    print("\nNext:")
    run = shlex.quote(str(folder))
    if metrics["objective"] == "clm":
        print(f"  hflm generate {shlex.quote(metrics.get('beginning') or 'She was very')} --model {run}")
    else:
        print(f"  hflm fill-mask {run} {_blanked(metrics)}")
    print(f"  hflm runs show {run}\n  open {folder / 'loss.png'} and {folder / 'model' / 'README.md'}")


def _blanked(metrics: Mapping[str, Any]) -> str:
    """Return a sentence to fill, of the text itself where that has other letters than English."""
    own = next((one["text"] for one in metrics["samples"] if foreign(one["text"])), None)
    return shlex.quote(own) if own else '"She was very [MASK] ."'


# What the recipe or a choice sets otherwise than its field.
USUAL = {"learning_rate": "4e-3, with --model 1e-4"}
command = with_settings(_pretrain, PretrainConfig, argument="data", usual=USUAL)
