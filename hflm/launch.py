"""Doing a job with several processes: as many ranks as were asked for, or none.

hflm pretrain book.txt --processes 2 -o out
"""

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hflm.errors import DataError, RankError, UsageError
from hflm.launching.job import Job
from hflm.launching.machines import Machines, parse_rendezvous
from hflm.launching.strategy import check_strategy, note_of
from hflm.run import RunFolder, read_json
from hflm.settings import to_dict
from hflm.signals import caught
from hflm.training_settings import TrainingSettings, check_count

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch
    from hflm.launching.agent import Agent, Launch
    from hflm.training.training import Training

Config = TypeVar("Config", bound=TrainingSettings)
# Seconds within which a shared disk shows on all machines what was written on one.
SEEN = 10.0


def with_processes(config: Config) -> Config:
    """Put a number where the settings say auto: one process for each GPU, or one.

    Raises UsageError where there are not so many GPUs, where the batch cannot be shared, where another launcher has
    started this process, where a strategy lacks what it needs, or where several processes cannot train on this device.
    """
    if in_rank():
        # The launcher has done so, for all machines together.
        return config
    config = replace(config, processes=str(count_processes(config.processes, machines=config.machines)))
    check_alone()
    check_strategy(config)
    if int(config.processes) > 1:
        from hflm.engine.split import check_share

        _check_device(config)
        check_share(config.batch_size, processes=int(config.processes), micro_batch=config.micro_batch_size)
    return config


def _check_device(config: TrainingSettings) -> None:
    """Raise UsageError where a run would compute on an Apple GPU, over which torch has no way to sum gradients."""
    import torch

    if torch.backends.mps.is_available() and not torch.cuda.is_available():
        option = "--processes" if config.machines == 1 else "--machines"
        raise UsageError(f"--processes {config.processes}: on mps one process trains.", fix=f"Leave {option} away.")


def count_processes(asked: str, *, machines: int = 1) -> int:
    """Return how many processes are meant, on all machines together: for auto one for each GPU, or one each.

    Raises UsageError for what is no number, and where there are not so many GPUs.
    """
    check_count(asked)
    if asked == "1" and machines == 1:
        return 1
    if asked not in ("1", "auto") and int(asked) % machines:
        raise UsageError(f"--processes {asked} do not spread evenly over {machines} machines.",
                         fix=f"Pass --processes {max(machines, int(asked) // machines * machines)}.")  # fmt: skip
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto" or int(asked) < machines:
        return max(gpus, 1) * machines
    if gpus and int(asked) > gpus * machines:
        raise UsageError(
            f"--processes is {asked}, and this machine has {gpus} GPU{'s' if gpus > 1 else ''}.",
            fix=f"Pass --processes {gpus * machines}; for a run that goes on, with --resume --allow-change.",
        )
    return int(asked)


def check_alone() -> None:
    """Raise UsageError in a process that torchrun or `accelerate launch` has started as one of several."""
    started = os.environ.get("WORLD_SIZE", "1")
    if started.isdecimal() and int(started) > 1 and not in_rank():
        raise UsageError(
            f"Another launcher has started this as one of {started} processes, and each would write the same run.",
            fix=f"Run it without one, with `--processes {started}`.",
        )


def in_rank() -> bool:
    """Tell whether hflm has started this process as one of several."""
    ranks = sys.modules.get("hflm.engine.ranks")
    return ranks is not None and ranks.joined()


def wants_ranks(config: TrainingSettings) -> bool:
    """Tell whether a job is to be handed to ranks, which are not there yet."""
    return int(config.processes) > 1 and not in_rank()


def launch(
    config: TrainingSettings, run: RunFolder, *, recipe: Path | None = None, watch: "Watch", like: RunFolder | None,
    overwrite: bool, resume: bool, allow_change: bool,
) -> dict[str, Any]:  # fmt: skip
    """Start the ranks of a job and return its metrics when all of them are done.

    Raises what the first rank to fail failed of: its own HflmError, or RankError. All the others are ended then.
    """
    from hflm.environment import cores
    from hflm.launching.agent import Launch
    from hflm.launching.processes import start_python

    if config.machines > 1:
        parse_rendezvous(config.rendezvous)
    machines = Machines(config.machines, config.machine_rank, config.rendezvous)
    here = int(config.processes) // machines.count
    threads = max(1, (config.threads or cores()) // here)
    # Which machines a run was on is no part of it.
    told = replace(config, machines=1, machine_rank=0, rendezvous="")
    job = Job(
        name=config.job, settings=to_dict(told), folder=str(run.path), recipe=None if recipe is None else str(recipe),
        overwrite=overwrite, resume=resume, allow_change=allow_change, like=None if like is None else str(like.path),
        command=tuple(sys.argv[1:]),
    )  # fmt: skip
    on = f" on machine {machines.rank} of {machines.count}" if machines.count > 1 else ""
    each = f"{threads} thread{'s' if threads > 1 else ''} each"
    watch("note", {"text": f"processes: {here}{on}, {each}{note_of(config)}"})
    start_all(
        Launch(
            job=job, machines=machines, processes=here, threads=threads, max_restarts=config.max_restarts,
            timeout=config.rank_timeout, hear=listener(watch), start=start_python,
        )
    )  # fmt: skip
    return read_json(run.metrics)


def check_same(training: "Training") -> None:
    """Raise DataError where ranks have read other data, or began with other weights: each machine reads its own.

    It also is a place where all meet.
    """
    from hflm.engine import ranks

    first, *others = ranks.gathered({**training.inputs, "data": training.key})
    for number, other in enumerate(others, start=1):
        for name in first:
            if other.get(name) != first[name]:
                raise DataError(
                    f"The {name} of rank {number} ({other.get(name)}) is not that of rank 0 ({first[name]}).",
                    fix="Copy it anew to each machine.",
                )


def check_shared(run: RunFolder) -> None:
    """Raise UsageError where a rank does not see the folder that rank 0 has made: checkpoints hold parts of all."""
    from hflm.engine import ranks

    if int(os.environ.get("WORLD_SIZE", 1)) == int(os.environ.get("LOCAL_WORLD_SIZE", 1)) or not in_rank():
        return
    # An earlier run, or a copy, looks like this one on another disk too: a mark of this moment does not.
    mark = run.path / f".{ranks.agreed(uuid.uuid4().hex)}.part"
    if ranks.first():
        mark.touch()
    ranks.meet()
    until = time.monotonic() + SEEN
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.2)
    blind = [number for number, sees in enumerate(ranks.gathered(mark.exists())) if not sees]
    if ranks.first():
        mark.unlink(missing_ok=True)
    if blind:
        raise UsageError(
            f"Rank {blind[0]}, on another machine, does not see {run.path}.", fix="Name a folder on a shared disk."
        )


def launch_rows(
    name: str, settings: Mapping[str, Any], *, processes: int, timeout: str, watch: "Watch"
) -> dict[str, Any]:  # fmt: skip
    """Start the ranks of a job on rows, which has no folder, and return what rank 0 found."""
    from hflm.environment import cores
    from hflm.launching.agent import Launch
    from hflm.launching.processes import start_python

    threads = max(1, cores() // processes)
    watch("note", {"text": f"processes: {processes}, {threads} thread{'s' if threads > 1 else ''} each"})
    job = Job(name=name, settings={**settings, "rank_timeout": timeout}, command=tuple(sys.argv[1:]))
    return start_all(
        Launch(
            job=job, processes=processes, threads=threads, max_restarts=0, timeout=timeout, hear=listener(watch),
            start=start_python,
        )
    )  # fmt: skip


def start_all(wanted: "Launch") -> dict[str, Any]:
    """Start ranks and wait for them; return what rank 0 has left to be read, which may be nothing."""
    from hflm.launching.agent import ready_agent
    from hflm.launching.job import read_result

    agent = ready_agent(wanted)
    failed, named = True, False
    try:
        # Off the main thread none is caught, and the ranks hear of none.
        with caught(lambda number, frame: agent.forward(number)):
            agent.run()
        found = read_result(agent.place)
        failed = False
    except RankError as error:
        if agent.signals:
            leave_if_unsaved(agent)
        named = str(agent.place) in str(error)
        raise
    finally:
        agent.put_away(failed=failed, named=named)
    return found


def listener(watch: "Watch") -> Callable[[Mapping[str, Any]], None]:
    """Return what passes events of rank 0 on: to whoever watches, and warnings to the log."""

    latest = ""

    def hear(event: Mapping[str, Any]) -> None:
        nonlocal latest
        if event["kind"] == "stopping" and latest not in ("step", "log"):
            # No step is at work that could be finished.
            return
        latest = event["kind"]
        if event["kind"] == "warning":
            logging.getLogger(event["content"]["logger"]).warning("%s", event["content"]["text"])
        else:
            watch(event["kind"], event["content"])

    return hear


def leave_if_unsaved(agent: "Agent") -> None:
    """End as the signal would have ended this process, where it came before there was anything to save, or twice."""
    from hflm.launching.job import Outcome

    outcomes = [Outcome.read(agent.place, rank.number) for rank in agent.ranks]
    if any(outcome and outcome.error == "Interrupted" for outcome in outcomes):
        return
    if agent.signals[0] == signal.SIGINT and len(agent.signals) == 1:
        raise KeyboardInterrupt
    agent.put_away(failed=True, named=False)
    signal.signal(agent.signals[0], signal.SIG_DFL)
    os.kill(os.getpid(), agent.signals[0])
