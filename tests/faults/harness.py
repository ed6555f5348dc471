"""What the fault tests share: victims, how to kill them, and how to see that nothing was lost."""

import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file

from hflm.engine.checkpoints import ordered
from tests.faults.zygote import LAYOUT, shared

ROOT = Path(__file__).parents[2]


class Victim:
    """A process that trains, and where it is."""

    def __init__(self, zygote: "Zygote", pid: int, memory: Any, output: Path) -> None:
        self.zygote, self.pid, self.memory, self.output = zygote, pid, memory, output
        self.code: int | None = None

    @property
    def step(self) -> int:
        """Steps done; -1 before training began."""
        return int(struct.unpack_from("i", self.memory, 0)[0])

    @property
    def saved(self) -> int:
        """The last step that was saved whole; -1 where none was."""
        return int(struct.unpack_from("i", self.memory, 4)[0])

    @property
    def saving(self) -> bool:
        """True inside a save."""
        return bool(struct.unpack_from("i", self.memory, 8)[0])

    @property
    def save_seconds(self) -> float:
        """How long its last whole save took; 0 where none was."""
        return int(struct.unpack_from("i", self.memory, 12)[0]) / 1e6

    def ended(self) -> bool:
        """Tell whether it has ended, without waiting."""
        return gone(self.pid)

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Wait until something is so, looking every tenth of a millisecond; False where the victim ended before."""
        while not condition():
            if self.ended():
                return False
            time.sleep(1e-4)
        return True

    def ranks(self) -> list[int]:
        """Return the ranks that are at work."""
        try:
            found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return []
        # Those that wait for their work have not left the launcher's session yet.
        return [int(pid) for pid in found if leads_session(int(pid))]

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """Wait for the end and return the exit code, or minus the signal that ended it."""
        if self.code is None:
            self.code = int(self.zygote.read())
        return self.code

    def said(self) -> str:
        """Return what it printed."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""


def gone(pid: int) -> bool:
    """Tell whether a process has ended; whether anybody has taken note of it does not matter."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def leads_session(pid: int) -> bool:
    """Tell whether a process stands in a session of its own."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def ranks_of(words: list[str]) -> int:
    """Count the ranks that a command will start, those that may be started again included."""

    def number(name: str) -> int:
        if words[0] in ("resume", "reproduce"):
            found = re.search(rf"^{name}: '?(\d+)", _settings(Path(words[1])), re.MULTILINE)
            return int(found[1]) if found else 0
        flag = f"--{name.replace('_', '-')}"
        return int(words[words.index(flag) + 1]) if flag in words and words[words.index(flag) + 1].isdecimal() else 0

    processes = number("processes")
    return 0 if processes < 2 else processes * (1 + number("max_restarts"))


def _settings(run: Path) -> str:
    """Return the settings of a run, nothing where they were damaged: then it starts nothing."""
    try:
        return (run / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def followed(victim: Victim) -> set[int]:
    """Return the ranks of a launcher of two once both are there."""
    assert victim.wait_for(lambda: len(victim.ranks()) == 2), victim.said()
    return set(victim.ranks())


def all_gone(pids: set[int], *, within: float) -> bool:
    """Tell whether processes end in so many seconds."""
    until = time.monotonic() + within
    while not all(gone(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.005)
    return all(gone(pid) for pid in pids)


class Zygote:
    """The process that forks victims, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment, cwd=ROOT, bufsize=1,
        )  # fmt: skip

    def start(
        self, *words: object, fault: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None,
        ranks: int | None = None, folder: Path | None = None,
    ) -> Victim:  # fmt: skip
        """Start `hflm` with these words; `fault` is what one of its ranks is to do, and where.

        `ranks` is how many it will start, where its words do not say; `folder` where it is started.
        """
        self.count += 1
        memory, output = self.folder / f"{self.count}.memory", self.folder / f"{self.count}.out"
        mapped = shared(memory)
        request = {
            "words": [str(word) for word in words], "shared": str(memory), "output": str(output),
            "fault": dict(fault or {}), "ranks": ranks_of([str(word) for word in words]) if ranks is None else ranks,
            "folder": str(folder or ""),
            "environment": dict(environment or {}),
        }  # fmt: skip
        self._stream(self.process.stdin).write(json.dumps(request) + "\n")
        return Victim(self, int(self.read()), mapped, output)

    def run(
        self, *words: object, fault: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None
    ) -> Victim:  # fmt: skip
        """Start `hflm` and wait for its end."""
        victim = self.start(*words, fault=fault, environment=environment)
        victim.end()
        return victim

    def read(self) -> str:
        """Read an answer."""
        line = self._stream(self.process.stdout).readline()
        assert line, "the zygote has ended"
        return line

    def close(self) -> None:
        """End it."""
        self._stream(self.process.stdin).close()
        self.process.wait(timeout=30)
        self._stream(self.process.stdout).close()

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream


def words_of(run: Path, text: Path, *, steps: int, every: int, more: tuple[object, ...] = ()) -> list[object]:
    """Return the words of a tiny `hflm pretrain` with dropout, whose data are read more than once."""
    return [
        "pretrain", text, "-o", run, "--arch", "bert", "--layers", 1, "--width", 32, "--heads", 2, "--vocab-size", 300,
        "--max-length", 16, "--batch-size", 4, "--max-steps", steps, "--save-steps", every, "--eval-steps", 4 * every,
        "--logging-steps", 10, "--precision", "fp32", "--dropout", 0.1, "--threads", 1, "--max-documents", 40,
        "--optimizer", "adamw", *more,
    ]  # fmt: skip


def two(run: Path, text: Path, *, steps: int = 24, every: int = 4, more: tuple[object, ...] = ()) -> list[object]:
    """Return the words of the same with two ranks, which wait three seconds for each other."""
    return words_of(run, text, steps=steps, every=every, more=("--processes", 2, "--rank-timeout", "3s", *more))


def kill(victim: Victim, draw: random.Random, *, inside: bool, span: int, lasts: float) -> bool:
    """Kill a victim at a random moment of the next `span` steps, or inside one of its saves; tell whether it was one.

    `lasts` is how long a save takes, in seconds.
    """
    if inside:
        first = draw.randrange(span)
        begun = victim.wait_for(lambda: victim.step >= 0)
        goal = victim.step + first
        if begun and victim.wait_for(lambda: victim.step >= goal and victim.saving):
            time.sleep(draw.random() * lasts)
    else:
        goal = draw.randrange(-1, span)
        begun = victim.wait_for(lambda: victim.step >= 0)
        goal = victim.step + goal
        victim.wait_for(lambda: victim.step >= goal)
        time.sleep(draw.random() * 0.01)
    if not victim.ended():
        victim.send(signal.SIGKILL)
    victim.end()
    return victim.saving


def same_state(one: Any, two: Any) -> bool:
    """Compare nested states exactly."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same_state(one[name], two[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(same_state(left, right) for left, right in zip(one, two, strict=True))
    return bool(one == two)


def same_run(one: Path, two: Path) -> bool:
    """Tell whether two runs ended with the same weights, optimizer and schedule, bit by bit."""
    last = ordered(one / "checkpoints")[-1].name
    if ordered(two / "checkpoints")[-1].name != last:
        return False
    for name in ("model/model.safetensors", f"checkpoints/{last}/model.safetensors"):
        if not same_state(load_file(one / name), load_file(two / name)):
            return False
    states = [
        [torch.load(run / "checkpoints" / last / name, weights_only=True) for name in ("optimizer.pt", "scheduler.pt")]
        for run in (one, two)
    ]
    return same_state(*states)


def stopped_after(straight: Path, folder: Path, step: int) -> Path:
    """Copy a finished run as it was right after it saved at `step`."""
    shutil.copytree(straight, folder)
    for checkpoint in ordered(folder / "checkpoints"):
        if int(checkpoint.name.split("-")[1]) > step:
            shutil.rmtree(checkpoint)
    shutil.rmtree(folder / "model")
    for name in ("metrics.json", "loss.png"):
        (folder / name).unlink()
    return folder


assert LAYOUT.size == 16
