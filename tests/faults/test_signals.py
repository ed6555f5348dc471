"""Signals: the step is finished, everything is saved, exit 75, and the resumed run is the straight one."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import Zygote, same_run, words_of
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
