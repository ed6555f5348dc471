"""F11: two processes with a thread each against one process with two threads, the same global batch.

All of it in the same two processes, in turns of some seconds: on a machine that others use too, what is measured
minutes apart says little. Model, family, optimizer and precision are hflm's; the Trainer around them is left out.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

BATCH, LENGTH, WORLD = 32, 128, 2
STEPS, WARM_UP = 5, 1
ONE, TWO, PAIR = "1 process x 1 thread", "1 process x 2 threads", "2 processes x 1 thread"
# What the machine's load may be, and the seconds that are waited for what came before to fade from it.
QUIET, PATIENCE = 0.5, 120
NOTE = "measured while other programs used the machine: to be run again"


def measure(rounds: int) -> dict[str, Any]:
    """Start the ranks, and return what rank 0 measured, with a note where the machine was not ours alone."""
    # Two processes get twice the share of one of a busy machine: the ratio means nothing there.
    note = None if _quiet() else NOTE
    with tempfile.TemporaryDirectory() as folder:
        said = _of_ranks(Path(folder), rounds)
    seen: dict[str, Any] = json.loads(said.splitlines()[-1])
    size = seen.pop("gradient_bytes")
    seconds = {name: median(values) for name, values in seen.items()}
    step = seconds[PAIR]
    return {
        "rounds": {name: [round(value, 4) for value in values] for name, values in seen.items()}, "note": note,
        "median": {name: BATCH * LENGTH / seconds[name] for name in (ONE, TWO, PAIR)},
        "two_over_one": seconds[TWO] / step,
        "exchange": {
            "gradient_bytes": size, "all_reduce_seconds": seconds["all-reduce"],
            "all_reduce_share": seconds["all-reduce"] / step,
            "exposed_share": max(0.0, 1 - seconds["without all-reduce"] / step),
        },
    }  # fmt: skip


def _quiet() -> bool:
    """Wait until the machine has nothing else to do; tell whether it came to that."""
    until = time.monotonic() + PATIENCE
    while os.getloadavg()[0] > QUIET and time.monotonic() < until:
        time.sleep(2)
    return os.getloadavg()[0] <= QUIET


def _of_ranks(folder: Path, rounds: int) -> str:
    """Run the ranks and return what rank 0 printed; raises RuntimeError where one has failed: others would wait."""
    ranks = []
    for rank in range(WORLD):
        out, error = ((folder / f"{rank}.{kind}").open("w") for kind in ("out", "error"))
        words = [sys.executable, "-m", "bench.processes", str(folder), str(rounds), str(rank)]
        with out, error:
            ranks.append(subprocess.Popen(words, stdout=out, stderr=error))
    while any(one.poll() is None for one in ranks) and not any(one.returncode for one in ranks):
        time.sleep(0.5)
    for number, one in enumerate(ranks):
        if one.poll():
            for other in ranks:
                other.kill()
                other.wait()
            raise RuntimeError(f"rank {number} failed: {(folder / f'{number}.error').read_text().strip()[-600:]}")
    return (folder / "0.out").read_text()


def timed(step: Callable[[], object]) -> float:
    """Return the median seconds of a step."""
    seen = []
    for _ in range(STEPS + WARM_UP):
        begin = time.perf_counter()
        step()
        seen.append(time.perf_counter() - begin)
    return median(seen[WARM_UP:])


def run(folder: str, rounds: int, rank: int) -> dict[str, Any]:
    """Be one rank: train on its share, with and without talking, and by turns let rank 0 train on all of it alone."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from bench.side import config_of
    from hflm.engine.order import Placed
    from hflm.engine.trainer import quiet_libraries
    from hflm.pretraining.assemble import set_up
    from hflm.run import RunFolder
    from hflm.training.training import autocast, optimizer_of

    quiet_libraries()
    options = argparse.Namespace(size="mini", batch_size=BATCH, steps=100, set=["optimizer=adamw"])
    setup = set_up(config_of(options), RunFolder(Path(folder, "run")), arch="bert", say=lambda text: None)
    training, family = setup.training, setup.family
    rows, share = Placed(training.rows_for(10**6)), BATCH // WORLD
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    model: Any = DistributedDataParallel(setup.model, forward_sync_buffers=False)
    optimizer = optimizer_of(training)(setup.model)
    mine = family.collate([rows[0, rank * share + row] for row in range(share)])
    whole = family.collate([rows[0, row] for row in range(BATCH)])

    def step(batch: Any) -> None:
        with autocast(training.device):
            family.sums(model, batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def silent(batch: Any) -> None:
        with model.no_sync():
            step(batch)

    message = torch.zeros(sum(weight.numel() for weight in setup.model.parameters() if weight.requires_grad))
    seen: dict[str, Any] = {}
    for _ in range(rounds):
        for name, threads, act in (
            (ONE, 1, lambda: silent(whole)), (TWO, 2, lambda: silent(whole)),
            (PAIR, 1, lambda: step(mine)), ("without all-reduce", 1, lambda: silent(mine)),
            ("all-reduce", 1, lambda: distributed.all_reduce(message)),
        ):  # fmt: skip
            torch.set_num_threads(threads)
            if rank == 0 or name not in (ONE, TWO):
                seen.setdefault(name, []).append(timed(act))
            distributed.barrier()
    distributed.destroy_process_group()
    return {**seen, "gradient_bytes": message.nbytes}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(found))
