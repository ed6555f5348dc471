"""A batch file for SLURM: one launcher on each node, and a run that goes on after it was pushed aside."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote
from typing import Any

from hflm.errors import UsageError
from hflm.settings import flag

# Seconds before its end at which a job is told, so that it can save.
AHEAD = 120


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What SLURM is asked for; `more` are further options of sbatch, as `account=physics`."""

    nodes: int = 1
    partition: str | None = None
    time: str | None = None
    more: tuple[str, ...] = ()


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the words that give these settings on a command line."""
    found = []
    for name, value in settings.items():
        if isinstance(value, bool):
            found.append(f"--{flag(name)}" if value else f"--no-{flag(name)}")
        else:
            values = value if isinstance(value, (list, tuple)) else [value]
            found += [word for one in values for word in (f"--{flag(name)}", str(one))]
    return found


def batch_text(command: Sequence[str], run: Path, batch: Batch, *, python: str) -> str:
    """Return the batch file of a command that trains into the folder `run`."""
    told = {
        "job-name": f"hflm-{run.name}", "nodes": str(batch.nodes), "ntasks-per-node": "1",
        "partition": batch.partition, "time": batch.time, "output": f"{run}-%j.log", "open-mode": "append",
        "requeue": "", "signal": f"B:USR1@{AHEAD}",
    }  # fmt: skip
    options = [f"--{name}={value}" if value else f"--{name}" for name, value in told.items() if value is not None]
    options += [f"--{one.removeprefix('--')}" for one in batch.more]
    for option in options:
        if "\n" in option or option != option.strip():
            raise UsageError(f"{option!r} is no option of sbatch.", fix="Write it as account=physics.")
    # Without the working directory on its path, where a file of the user's may have the name of a library.
    hflm = [python, "-P", "-m", "hflm"]
    heads = "\n".join(f"#SBATCH {quote(option) if ' ' in option else option}" for option in options)
    return BODY.format(
        heads=heads, run=quote(str(run)), first=join([*hflm, *command]),
        anew=join([*hflm, *command, "--overwrite"]), again=join([*hflm, *command, "--resume"]),
    )  # fmt: skip


BODY = """#!/bin/bash
{heads}

# A run that has begun goes on; SLURM starts this file again after it took the nodes away.
if [ -f {run}/plan.json ]; then
    command=({again})
elif [ -f {run}/config.yaml -o -f {run}/environment.json ] && [ ! -e {run}/metrics.json ]; then
    command=({anew})
else
    command=({first})
fi

# From SLURM 22.05 on, srun does not take this over from sbatch by itself.
[ -n "$SLURM_CPUS_PER_TASK" ] && export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# SLURM tells this shell that the end is near; srun passes it on, and hflm saves and ends with code 75.
step=
trap '[ -n "$step" ] && kill -USR1 "$step"' USR1

# One launcher on each node; they meet at the first.
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    export HFLM_MEET="$host:$((20000 + SLURM_JOB_ID % 20000))"
    srun bash -c 'exec "$@" --machines "$SLURM_JOB_NUM_NODES" --machine-rank "$SLURM_NODEID" \\
        --rendezvous "$HFLM_MEET"' launcher "${{command[@]}}" &
else
    srun "${{command[@]}}" &
fi
step=$!
wait "$step"
code=$?
while kill -0 "$step" 2>/dev/null; do
    wait "$step"
    code=$?
done
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def submit(text: str) -> str:
    """Hand a batch file to sbatch, and return what it says; raises UsageError where there is none, or it refuses."""
    if not shutil.which("sbatch"):
        raise UsageError("There is no sbatch on this machine.", fix="Run it where SLURM is, or look at --dry-run.")
    done = subprocess.run(["sbatch"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise UsageError(f"sbatch refused: {said.rstrip('.')}.", fix="Look at --dry-run, --partition and --time.")
    return done.stdout.strip()
