"""A process that has imported everything and forks a victim for each request: starting one takes no seconds.

It must be fresh, and not forked from a test process: threads of OpenMP do not live through a fork.
"""

import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

# What a victim tells whoever watches it, in memory that both see: steps done, last step that was saved whole,
# whether it is inside a save, microseconds of the last whole save.
LAYOUT = struct.Struct("iiii")


def shared(path: Path) -> mmap.mmap:
    """Map the memory that a victim and its watcher share."""
    if not path.exists():
        path.write_bytes(LAYOUT.pack(-1, -1, 0, 0))
    with path.open("r+b") as stream:
        return mmap.mmap(stream.fileno(), LAYOUT.size)


class Forked:
    """A rank that was forked from its launcher; it looks like a subprocess.Popen.

    It is forked, and waits, before the launcher has threads: what they hold at the moment of a fork, as the lock of
    the resolver, would be held in the child for ever.
    """

    waiting: ClassVar[list["Forked"]] = []

    def __init__(self) -> None:
        self.code: int | None = None
        self.here, there = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            for other in [*self.waiting, self]:
                other.here.close()
            os._exit(self.wait_and_work(there))
        there.close()

    @classmethod
    def start(cls, place: Path, log: Path, events: int, environment: Mapping[str, str]) -> "Forked":
        """Let one of those that wait begin."""
        rank = cls.waiting.pop(0)
        told = json.dumps([str(place), str(log), dict(environment)]).encode()
        socket.send_fds(rank.here, [told], [events])
        rank.here.close()
        return rank

    @staticmethod
    def wait_and_work(there: socket.socket) -> int:
        """Wait to be told what to do, and do it."""
        told, handles, _, _ = socket.recv_fds(there, 1 << 20, 1)
        if not told:
            return 0
        place, log, environment = json.loads(told)
        os.setsid()
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        os.environ.update(environment)
        from hflm.rank import main

        try:
            return main([place, str(handles[0])])
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else 1
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
            return 1

    def poll(self) -> int | None:
        if self.code is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if found else None
        return self.code

    def wait(self, timeout: float | None = None) -> int:
        until = time.monotonic() + (timeout or 3600)
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("rank", timeout or 3600)
            time.sleep(0.002)
        assert self.code is not None
        return self.code


def watched(memory: mmap.mmap) -> None:
    """Let the engine write down where it is."""
    from hflm.engine import ranks
    from hflm.engine.callbacks import Recorder
    from hflm.engine.trainer import EngineTrainer

    save, step_end, begin = EngineTrainer._save_checkpoint, Recorder.on_step_end, Recorder.on_train_begin

    def tell(place: int, value: int) -> None:
        if ranks.first():
            struct.pack_into("i", memory, 4 * place, value)

    def on_train_begin(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        begin(self, args, state, control, **more)
        tell(0, state.global_step)

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        step_end(self, args, state, control, **more)
        tell(0, state.global_step)

    def save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        tell(2, 1)
        begin = time.perf_counter()
        save(self, model, trial)
        tell(3, int(1e6 * (time.perf_counter() - begin)))
        tell(1, self.state.global_step)
        tell(2, 0)

    Recorder.on_train_begin, Recorder.on_step_end = on_train_begin, on_step_end  # type: ignore[method-assign]
    EngineTrainer._save_checkpoint = save_checkpoint  # type: ignore[method-assign]


def victim(request: dict[str, Any]) -> int:
    """Run a command line in this process, which is a fork."""
    import hflm.launching.processes
    import hflm.predict
    import hflm.pretraining.measure
    from hflm.cli.app import main
    from tests.faults.rank_faults import inject

    out = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    hflm.pretraining.measure.matmul_ceiling = lambda device: 1e11
    hflm.launching.processes.start_python = Forked.start
    if request.get("fault"):
        inject(**request["fault"])
    watched(shared(Path(request["shared"])))
    if request.get("folder"):
        os.chdir(request["folder"])
    for _ in range(request["ranks"]):
        Forked.waiting.append(Forked())
    os.environ.update(request.get("environment", {}))
    return main(request["words"])


def serve() -> None:
    """Fork a victim for each line of stdin; answer with its number, and with its end when it has ended."""
    import matplotlib.figure  # noqa: F401
    import torch

    import hflm.cli.distill
    import hflm.cli.finetune
    import hflm.cli.pretrain
    import hflm.cli.resume
    import hflm.distilling.lessons
    import hflm.distilling.quality
    import hflm.evaluate
    import hflm.finetune
    import hflm.finetuning.fitting
    import hflm.launching.agent
    import hflm.predict
    import hflm.pretraining.measure
    import hflm.rank
    import hflm.training.steps  # noqa: F401

    torch.set_num_threads(1)
    # A shell without a terminal starts what it puts into the background with Ctrl-C switched off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = victim(json.loads(line))
            finally:
                os._exit(code)
        print(pid, file=answers)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), file=answers)


if __name__ == "__main__":
    serve()
