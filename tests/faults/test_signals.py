"""Signals: the step is finished, everything is saved, exit 75, and the resumed run is the straight one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import Victim, Zygote, same_run, words_of
from tests.promises import WHOLE

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@pytest.mark.promise("R6", "R3")
def test_a_signal_at_any_moment(
    zygote: Zygote, straight: Path, text_file: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    draw, sent = random.Random(7), 0
    for number in range(50 if WHOLE else 6):
        run = tmp_path / f"run-{number}"
        victim = zygote.start(*words_of(run, text_file, steps=40, every=5))
        goal = draw.randrange(0, 36)
        assert victim.wait_for(lambda: victim.step >= goal), victim.said()  # noqa: B023
        time.sleep(draw.random() * 0.01)
        step = victim.step
        victim.send(SIGNALS[number % 3])
        assert victim.end() == 75, victim.said()
        sent += 1
        assert victim.step <= step + 2 and victim.saved == victim.step
        last = victim.said().strip().splitlines()[-1]
        assert f"Stopped by a signal after step {victim.step} of 40; everything is saved" in last
        assert f"hflm resume {run}" in last and "Traceback" not in victim.said()
        assert zygote.run("resume", run).code == 0 and same_run(run, straight)
    record_property("cases", sent)


@pytest.mark.promise("R6")
def test_a_second_signal_ends_at_once(zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    for number in range(20):
        run = tmp_path / f"run-{number}"
        victim = zygote.start(*words_of(run, text_file, steps=4000, every=50))
        assert victim.wait_for(lambda: victim.saved >= 50)  # noqa: B023
        victim.send(signal.SIGTERM)
        if victim.wait_for(lambda: "stopping:" in victim.said()):  # noqa: B023
            victim.send(signal.SIGTERM)
        if victim.end() == -signal.SIGTERM:
            break
        # The step and the save were over within a millisecond or so, before the second one came.
        assert victim.code == 75, victim.said()
    assert victim.code == -signal.SIGTERM, "no second signal has ended any of them"
    resumed = zygote.start("resume", run)
    assert resumed.wait_for(lambda: resumed.step >= 50), resumed.said()
    resumed.send(signal.SIGKILL)
    resumed.end()


@pytest.mark.promise("R6")
@pytest.mark.parametrize("number", SIGNALS)
def test_before_training_there_is_nothing_to_save(
    zygote: Zygote, text_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    victim = zygote.start(*words_of(tmp_path / "run", text_file, steps=40, every=5))
    assert victim.wait_for(lambda: bool(victim.said()))
    victim.send(number)
    code = victim.end()
    assert victim.step == -1 or code == 75
    assert code in (75, 130 if number == signal.SIGINT else -number) and "Traceback" not in victim.said()


def with_workers(zygote: Zygote, run: Path, text: Path) -> tuple[Victim, list[int]]:
    """Start a run of two data workers, and return it and them once each has made batches."""
    config = run.with_name("workers.yaml")
    config.write_text("training_arguments: {dataloader_num_workers: 2}\n")
    victim = zygote.start(*words_of(run, text, steps=40, every=5, more=("--config", config)))
    assert victim.wait_for(lambda: victim.step >= 10), victim.said()
    children = Path(f"/proc/{victim.pid}/task/{victim.pid}/children")
    return victim, [int(pid) for pid in children.read_text().split()]


@pytest.mark.promise("R6", "R3")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_data_workers_too(
    zygote: Zygote, straight: Path, text_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """As Ctrl-C, `timeout` and schedulers send it: to every process of the run."""
    run = tmp_path / "run"
    victim, workers = with_workers(zygote, run, text_file)
    assert len(workers) == 2
    for pid in (*workers, victim.pid):
        os.kill(pid, number)
    assert victim.end() == 75, victim.said()
    assert victim.saved == victim.step and victim.said().count("stopping:") == 1
    assert "everything is saved" in victim.said().strip().splitlines()[-1]
    assert zygote.run("resume", run).code == 0 and same_run(run, straight)


@pytest.mark.promise("R1", "R3")
def test_a_data_worker_that_is_killed(zygote: Zygote, straight: Path, text_file: Path, tmp_path: Path) -> None:
    """As the system kills it where memory is short."""
    run = tmp_path / "run"
    victim, workers = with_workers(zygote, run, text_file)
    os.kill(workers[0], signal.SIGKILL)
    assert victim.end() == 1, victim.said()
    last = victim.said().strip().splitlines()[-1]
    assert last.startswith("error: DataLoader worker (pid") and f"hflm resume {run}" in last, victim.said()
    assert zygote.run("resume", run).code == 0 and same_run(run, straight)


@pytest.mark.parametrize("late", [0, 0.05, 0.3, 1])
def test_what_ignores_its_end_does_not_hold_up_that_of_its_run(late: float) -> None:
    """An error may keep the loader until the interpreter ends, which waits for the workers then, begun or not."""
    script = f"""
import time
from torch.utils.data import DataLoader
from hflm.engine import workers

begin = workers.begin_worker

def begin_late(shared, number):
    time.sleep({late} * number)
    begin(shared, number)

workers.begin_worker = begin_late
batches = iter(DataLoader(range(64), **workers.worker_options(2)))
next(batches)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=120, check=False).returncode == 0


def test_processes_of_others_are_not_ended_with_the_workers(tmp_path: Path) -> None:
    """Who uses hflm as a library may have daemons of his own, which multiprocessing asks to end."""
    said = tmp_path / "said"
    script = f"""
import multiprocessing, os, pathlib, signal, time
from torch.utils.data import DataLoader
from hflm.engine.workers import worker_options

def end(*words):
    pathlib.Path({str(said)!r}).write_text("ended")
    os._exit(0)

def serve(ready):
    signal.signal(signal.SIGTERM, end)
    ready.set()
    time.sleep(60)

forks = multiprocessing.get_context("fork")
ready = forks.Event()
forks.Process(target=serve, args=(ready,), daemon=True).start()
ready.wait()
batches = iter(DataLoader(range(64), **worker_options(2)))
next(batches)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=120, check=False).returncode == 0
    assert said.read_text() == "ended"
