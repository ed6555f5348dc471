"""The options that hand a training to SLURM, and what they do."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.settings import asked_again
from hflm.cli.show import print_json
from hflm.errors import UsageError
from hflm.launching.slurm import Batch, batch_text, submit, words_of
from hflm.resume import kind_of, settings_of
from hflm.run import RunFolder, results
from hflm.settings import flag

PANEL = "SLURM"
Slurm = Annotated[bool, typer.Option("--slurm", help="Submit this as a batch job.", rich_help_panel=PANEL)]
Nodes = Annotated[int, typer.Option(help="Nodes, with one launcher each.", min=1, rich_help_panel=PANEL)]
Partition = Annotated[str | None, typer.Option(help="Partition.", rich_help_panel=PANEL)]
Time = Annotated[str | None, typer.Option(help="Time limit, as SLURM writes it: 12:00:00.", rich_help_panel=PANEL)]
Sbatch = Annotated[
    list[str] | None, typer.Option(help="Another option of sbatch, as gpus-per-node=8.", rich_help_panel=PANEL)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the batch file only.", rich_help_panel=PANEL)]


def hand_over(
    job: str, settings: Mapping[str, Any], folder: Path, config: Path | None, *, nodes: int, restarts: int,
    partition: str | None, time: str | None, sbatch: list[str] | None, dry_run: bool, json: bool,
) -> None:  # fmt: skip
    """Print the batch file of a command, or submit it."""
    _check_folder(job, settings, RunFolder(folder), config)
    if nodes > 1 and restarts:
        raise UsageError("--max-restarts is for one machine.", fix="Leave it away, or pass --nodes 1.")
    words = [job, *words_of(settings), "--output-dir", str(folder), *(["--config", str(config)] if config else [])]
    batch = Batch(nodes=nodes, partition=partition, time=time, more=tuple(sbatch or ()))
    text = batch_text(words, folder, batch, python=sys.executable)
    if dry_run:
        print_json({"run": str(folder), "file": text}) if json else print(text, end="")
        return
    # SLURM makes no folder for the log that it is told to write.
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    said = submit(text).rstrip(".")
    if not json:
        print(f"{said}; run {folder}, log {folder}-JOB.log")
        return
    # As in "Submitted batch job 40007".
    number = next(iter(re.findall(r"\d+", said)), None)
    print_json({"run": str(folder), "job": number, "log": f"{folder}-{number or 'JOB'}.log"})


def _check_folder(job: str, settings: Mapping[str, Any], run: RunFolder, config: Path | None) -> None:
    """Raise UsageError where the batch job would go on with a run that is done, or is another one."""
    if not run.plan.exists():
        # What the batch job finds there later is then its own.
        RunFolder.free(run.path, overwrite=False)
        return
    if results(run) is not None:
        raise UsageError(f"{run.path} holds a run that is done.", fix="Choose another --output-dir.")
    kind = kind_of(run)
    if kind.job != job:
        raise UsageError(f"{run.path} is a run of `hflm {kind.job}`.", fix="Choose another --output-dir.")
    settings_of(kind, run, asked_again(kind, config, settings))


def check_slurm(
    slurm: bool, *, resume: bool, overwrite: bool, settings: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Raise UsageError for options of SLURM without it, and for what a batch job settles by itself."""
    named = [name for name, value in given.items() if value]
    if not slurm and named:
        raise UsageError(f"--{flag(named[0])} is an option of --slurm.", fix="Pass --slurm too.")
    if slurm and (resume or overwrite):
        raise UsageError(
            "A batch job goes on by itself where its run has begun.", fix="Leave --resume and --overwrite."
        )
    if slurm and {"machines", "machine_rank", "rendezvous"} & settings.keys():
        raise UsageError("With --slurm the nodes are the machines.", fix="Pass --nodes.")
