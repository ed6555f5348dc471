"""Python code that comes from elsewhere, run within limits of time and memory, in whichever thread it runs."""

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

POLL, IDLE = 0.02, 1.0  # seconds


class Stopped(BaseException):
    """Raised inside the code that is limited; no Exception, so that the code does not take it for its own."""


@dataclass
class _Job:
    end: float
    most: int


class _Watcher:
    """One thread that looks after every limited piece of code, and ends when there was none for a while."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.jobs: dict[int, _Job] = {}
        self.thread: threading.Thread | None = None
        self.used = 0

    def add(self, seconds: float, memory: int) -> None:
        with self.lock:
            if self.thread is None or not self.thread.is_alive():
                self.used = _memory()
            # While the thread runs, what it saw a moment ago will do: to look takes longer than most of these jobs.
            self.jobs[threading.get_ident()] = _Job(time.monotonic() + seconds, self.used + memory)
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._watch, name="hflm-limits", daemon=True)
                self.thread.start()

    def remove(self) -> None:
        with self.lock:
            self.jobs.pop(threading.get_ident(), None)

    def _watch(self) -> None:
        busy = time.monotonic()
        while True:
            time.sleep(POLL)
            now, used = time.monotonic(), _memory()
            with self.lock:
                self.used = used
                busy = now if self.jobs else busy
                if now - busy > IDLE:
                    self.thread = None
                    return
                for number, job in list(self.jobs.items()):
                    if now > job.end or used > job.most:
                        del self.jobs[number]
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(number), ctypes.py_object(Stopped))


_watcher = _Watcher()


def _renew() -> None:
    """In a forked process there is no thread, and the lock may be held for ever."""
    global _watcher
    _watcher = _Watcher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


@contextmanager
def limited(seconds: float, *, memory: int) -> Iterator[None]:
    """Raise Stopped inside after some seconds, or once the process has `memory` bytes more than before.

    Between two operations of Python, that is: one that takes long itself is stopped when it is done. Memory is
    looked at on Linux alone.
    """
    _watcher.add(seconds, memory)
    try:
        yield
    finally:
        _watcher.remove()


def _memory() -> int:
    """Return the bytes of memory that this process has; 0 where nobody tells."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
