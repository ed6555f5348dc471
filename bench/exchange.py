"""What ranks spend on talking: steps of DDP with and without its all-reduce, and the all-reduce by itself.

python -m bench.exchange --world 2
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

STEPS, WARM_UP = 6, 2


def measure(*, world: int, size: str, batch_size: int) -> dict[str, Any]:
    """Start `world` ranks with one thread each and return what rank 0 measured, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--size", size, "--batch-size", str(batch_size), "--world", str(world), "--folder", folder]
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.exchange", *words, "--rank", str(rank)],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )
            for rank in range(world)
        ]  # fmt: skip
        said = [rank.communicate()[0] for rank in ranks]
    found: dict[str, Any] = json.loads(said[0].splitlines()[-1])
    return found


def timed(step: Callable[[], None], times: int = STEPS) -> float:
    """Return the median seconds of a step, the first ones left out."""
    seen = []
    for _ in range(times + WARM_UP):
        begin = time.perf_counter()
        step()
        seen.append(time.perf_counter() - begin)
    return median(seen[WARM_UP:])


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Be one rank: train on its share of the batch, talk and do not talk."""
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
    options.set, options.steps = ["optimizer=adamw", "threads=1"], 100
    setup = set_up(config_of(options), RunFolder(Path(options.folder)), arch="bert", say=lambda text: None)
    training = setup.training
    rows, share = Placed(training.rows_for(10**6)), options.batch_size // options.world
    distributed.init_process_group(
        "gloo", init_method=f"file://{options.folder}/meeting", rank=options.rank, world_size=options.world
    )
    model: Any = DistributedDataParallel(setup.model)
    optimizer = optimizer_of(training)(setup.model)
    batch = training.family.collate([rows[0, options.rank * share + row] for row in range(share)])

    def step(context: Callable[[], Any]) -> None:
        with context(), autocast(training.device):
            training.family.sums(model, batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    message = torch.zeros(sum(weight.numel() for weight in setup.model.parameters() if weight.requires_grad))
    return {
        "step_seconds": timed(lambda: step(contextlib.nullcontext)),
        "silent_seconds": timed(lambda: step(model.no_sync)),
        "all_reduce_seconds": timed(lambda: distributed.all_reduce(message) and None),
        "gradient_bytes": message.nbytes,
    }


def main() -> None:
    """Be a rank where a number says which; else start them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="mini")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--world", type=int, default=2)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--folder")
    options = parser.parse_args()
    if options.rank is None:
        print(json.dumps(measure(world=options.world, size=options.size, batch_size=options.batch_size)))
    else:
        print(json.dumps(run(options)))


if __name__ == "__main__":
    main()
