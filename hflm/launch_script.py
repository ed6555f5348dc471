"""A script of the user's own on several ranks: with Accelerate, or with torch.distributed alone.

hflm launch -n 2 -- train.py --epochs 3
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hflm.errors import UsageError
from hflm.launch import check_alone, count_processes, listener, start_all
from hflm.launching.job import Job

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch


def launch_script(
    script: Path, words: Sequence[str], *, processes: str | None, accelerate_config: Path | None, max_restarts: int,
    watch: "Watch",
) -> None:  # fmt: skip
    """Run a script on so many ranks and wait for them: for None as many as the file of Accelerate says, else auto.

    Raises RankError for what the first rank to fail failed of; all the others are ended then.
    """
    if not script.is_file():
        raise UsageError(f"The script {script} is not there.", fix="Write `hflm launch -n 2 -- SCRIPT ARGUMENTS`.")
    check_alone()
    environment = on_cpu()
    if accelerate_config:
        from hflm.launching.accelerate_file import read_accelerate

        named, told = read_accelerate(accelerate_config)
        environment |= told
        processes = processes or str(named)
    from hflm.environment import cores
    from hflm.launching.agent import Launch
    from hflm.launching.processes import start_visible

    count = count_processes(processes or "auto")
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(given) if given.isdecimal() and int(given) else max(1, cores() // count)
    watch("note", {"text": f"processes: {count}, {threads} thread{'s' if threads > 1 else ''} each"})
    job = Job(name="script", settings={"script": str(script)}, command=tuple(words))
    start_all(
        Launch(
            job=job, processes=count, threads=threads, max_restarts=max_restarts,
            timeout="longer than the script's time-out", hear=listener(watch), start=start_visible,
            environment=environment,
        )
    )  # fmt: skip


def on_cpu() -> dict[str, str]:
    """Tell Accelerate to use the CPU where there is nothing else: otherwise each rank takes itself for the only one."""
    import torch

    return {} if torch.cuda.is_available() or torch.xpu.is_available() else {"ACCELERATE_USE_CPU": "true"}
