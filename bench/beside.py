"""Commands that run beside each other, each with its share of the cores: what is compared meets the same crowd."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any


def run_beside(
    commands: Sequence[Sequence[str]], *, at_once: int, done: Callable[[dict[str, Any]], None] = lambda found: None
) -> list[dict[str, Any]]:
    """Run `python -m COMMAND` for each, `at_once` at a time, and return the first JSON object of each, in their order.

    `done` is called with each as soon as it has come, one after the other.
    """
    lock = Lock()

    def run(words: Sequence[str]) -> dict[str, Any]:
        ended = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(f"{' '.join(words)}: {ended.stderr.strip()[-600:]}")
        found: dict[str, Any] = json.JSONDecoder().raw_decode(ended.stdout, ended.stdout.index("{"))[0]
        print(f"  {' '.join(words)}: {found.get('eval_loss', '')}", file=sys.stderr, flush=True)
        with lock:
            done(found)
        return found

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, commands))


def threads(at_once: int) -> int:
    """Return the threads of each of the commands that run at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // at_once)
