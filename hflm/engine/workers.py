"""Data workers: processes that make batches beside the training, where `dataloader_num_workers` asks for them.

A signal that asks a run to end often comes to all of its processes at once: by Ctrl-C, `timeout`, or a scheduler. It is
for the run to answer, which still needs the batches of the step at work.
"""

import atexit
import multiprocessing
import os
import re
import signal
from functools import partial
from typing import Any

from hflm.signals import SIGNALS

# What torch raises where one has died, by a signal or by itself; what a worker raised reads "in DataLoader worker".
LOST = re.compile(r"DataLoader worker \(pid")
# Where the workers of each loader write their process ids, as other children of this process are not hflm's to end; and
# behind these, whether it ends.
_begun: list[Any] = []


def worker_options(count: int) -> dict[str, Any]:
    """Return what a DataLoader is told of its workers."""
    if not count:
        return {"num_workers": 0}
    # Once, and before the clean-up of multiprocessing, which was registered earlier.
    atexit.unregister(_end_workers)
    atexit.register(_end_workers)
    # Memory that they share with this process, however they are started.
    _begun.append(multiprocessing.RawArray("l", count + 1))
    return {"num_workers": count, "worker_init_fn": partial(begin_worker, _begun[-1])}


def begin_worker(shared: Any, number: int) -> None:
    """Say which process worker `number` is, and leave the signals that ask a run to end to the run."""
    # Before it ignores its SIGTERM, which would end it otherwise.
    shared[number] = os.getpid()
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    # The run ended before it was told of this process.
    if shared[-1]:
        os._exit(0)


def _end_workers() -> None:
    """End workers that are left at the end of the process: it would wait for ever for what ignores its SIGTERM."""
    if hasattr(signal, "SIGCHLD"):
        # Of their end torch would make an error.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for shared in _begun:
        shared[-1] = 1
    ours = {pid for shared in _begun for pid in shared[:-1]}
    for child in multiprocessing.active_children():
        if child.pid in ours:
            child.kill()


def lost_worker(error: BaseException) -> str | None:
    """Return what torch says of a worker that has died, or None where an error is another."""
    text = " ".join(str(error).split())
    return text if isinstance(error, RuntimeError) and LOST.search(text) else None
