"""Ranks as processes: started, listened to, signalled, ended with all that they started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import hflm

# A rank that is killed is gone within this, unless the system itself hangs.
GONE = 5.0


class Process(Protocol):
    """What is asked of a process; subprocess.Popen has it."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...


# Without the working directory on its path, where a file of the user's may have the name of a library.
PYTHON = (sys.executable, "-P", "-m", "hflm.rank")

# The place of the job, the file for what is printed, the end of a pipe for events, the environment.
Start = Callable[[Path, Path, int, Mapping[str, str]], Process]


def start_python(place: Path, log: Path, events: int, environment: Mapping[str, str]) -> Process:
    """Start a rank: a session of its own, so that what it starts can be ended with it, and Ctrl-C comes to us alone."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [*PYTHON, str(place), str(events)], stdin=subprocess.DEVNULL, stdout=stream,
            stderr=stream, pass_fds=(events,), env=_importable(environment), start_new_session=True,
        )  # fmt: skip


def start_visible(place: Path, log: Path, events: int, environment: Mapping[str, str]) -> Process:
    """Start a rank that prints where we print; only what it failed of goes into its log."""
    return subprocess.Popen(
        [*PYTHON, str(place), str(events)], stdin=subprocess.DEVNULL, pass_fds=(events,),
        env=_importable(environment), start_new_session=True,
    )  # fmt: skip


def _importable(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which hflm is found, also where it only lies in the working directory."""
    found, root = dict(environment), Path(hflm.__file__).resolve().parents[1]
    if root == Path.cwd().resolve():
        found["PYTHONPATH"] = os.pathsep.join([*filter(None, [found.get("PYTHONPATH")]), str(root)])
    return found


@dataclass
class Rank:
    """A rank of this machine."""

    number: int
    process: Process
    log: Path

    def send(self, number: int) -> None:
        """Send a signal to the rank alone, if it is still there."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def end(self) -> None:
        """Kill the rank and everything in its session."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.send(signal.SIGKILL)


def end_all(ranks: list[Rank]) -> None:
    """Kill ranks and wait until they are gone."""
    for rank in ranks:
        rank.end()
    until = time.monotonic() + GONE
    for rank in ranks:
        try:
            rank.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            # It is stuck in the system, as on a disk that does not answer, and dies when that lets it go.
            continue


def loopback() -> str | None:
    """Name the loopback interface, over which the ranks of one machine talk whatever its networks are."""
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in ("lo", "lo0") if name in names), None)


class Events:
    """What rank 0 tells, line by line, through a pipe."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._rest = b""

    def close_writer(self) -> None:
        """Close our end of the writing side, so that the pipe ends with the rank."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        """Close both."""
        self.close_writer()
        os.close(self.reader)

    def read(self, *, wait: float) -> list[dict[str, Any]]:
        """Return what was told since, waiting up to `wait` seconds for something."""
        import json
        import select

        ready, _, _ = select.select([self.reader], [], [], wait)
        while ready:
            try:
                found = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                break
            if not found:
                # The rank has gone; nothing will come, and select would return at once for ever.
                time.sleep(wait)
                break
            self._rest += found
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines if line]
