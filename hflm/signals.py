"""The signals that ask a run to end, and catching them while something is done."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))


@contextmanager
def caught(handler: Callable[[int, Any], None]) -> Iterator[bool]:
    """Call `handler` with each of the signals while the block runs; False off the main thread: nothing is caught."""
    try:
        before = {number: signal.signal(number, handler) for number in SIGNALS}
    except ValueError:
        before = {}
    try:
        yield bool(before)
    finally:
        for number, old in before.items():
            signal.signal(number, old)
