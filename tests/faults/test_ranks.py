"""One of several ranks is struck: all end at once, the first cause is said once, and nothing is left behind."""

import random
import re
import signal
import time
from pathlib import Path

import pytest

from hflm.engine.checkpoints import ordered, problem
from tests.faults.harness import Zygote, all_gone, followed, gone, same_run, two
from tests.promises import WHOLE

# What is said of each way to go.
SAID = {
    "raise": r"Rank {} failed: ValueError: something that nobody has foreseen\.",
    "kill": r"Rank {} was ended by SIGKILL\.",
    "crash": r"Rank {} was ended by SIGSEGV\.",
    "exit": r"Rank {} ended with code 7\.",
    "leave": r"Rank {} left early, as if it were done\.",
    "quit": r"Rank {} left early, as if it were done\.",
    "hang": r"Rank {} did not answer the others for 3s\.",
    "stop": r"Rank {} did not answer the others for 3s\.",
}
PLACES = ("prepare", "begin", "forward", "update", "save", "evaluate")
HANGS = ("hang", "stop")
WITHIN, TIMEOUT, STEPS = 10.0, 3.0, 24
# Nobody can tell a rank 0 that hangs from one that reads for hours, before it trains.
POINTS = [
    (kind, place, rank)
    for kind in SAID
    for place in PLACES
    for rank in (0, 1)
    if not (kind in HANGS and place == "prepare")
]
DRAWN = random.Random(5).sample(POINTS, 48) if WHOLE else [("kill", "update", 1), ("hang", "save", 0)]


@pytest.mark.promise("P2")
@pytest.mark.parametrize(("kind", "place", "rank"), DRAWN)
def test_one_is_struck_and_all_end(
    zygote: Zygote, text_file: Path, tmp_path: Path, kind: str, place: str, rank: int
) -> None:
    run, mark = tmp_path / "run", tmp_path / "mark"
    step = 0 if place in ("prepare", "begin") else random.Random(f"{kind} {place} {rank}").randrange(STEPS - 4)
    fault = {"rank": rank, "kind": kind, "place": place, "step": step, "mark": str(mark)}
    victim = zygote.start(*two(run, text_file, steps=STEPS), fault=fault)
    pids = followed(victim)
    code, end = victim.end(), time.time()
    took = end - mark.stat().st_mtime
    assert code == 1 and took < WITHIN + (TIMEOUT if kind in HANGS else 0), f"{took:.1f} s: {victim.said()}"
    assert all(gone(pid) for pid in pids)
    last = victim.said().strip().splitlines()[-1]
    assert re.match(f"error: {SAID[kind].format(rank)}", last), last
    assert victim.said().count("error:") == 1 and "Traceback" not in victim.said()
    log = Path(re.findall(r"\S+/rank-\d\.log", last)[0])
    assert log.exists() and log.parent == run / "ranks" if run.exists() else log.exists()
    if kind in ("raise", "hang"):
        assert "rank_faults.py" in log.read_text(), "where it stood"
    assert all(problem(path) is None for path in ordered(run / "checkpoints"))


@pytest.mark.promise("P2")
@pytest.mark.parametrize("step", [-1, 0, 3, 9, 17] if WHOLE else [5])
def test_the_launcher_is_killed(zygote: Zygote, text_file: Path, tmp_path: Path, step: int) -> None:
    victim = zygote.start(*two(tmp_path / "run", text_file, steps=400))
    pids = followed(victim)
    victim.wait_for(lambda: victim.step >= step)
    victim.send(signal.SIGKILL)
    assert victim.end() == -9
    assert all_gone(pids, within=WITHIN)


@pytest.mark.promise("P2", "R3")
def test_it_starts_again_by_itself(zygote: Zygote, pair: Path, text_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fault = {"rank": 1, "kind": "kill", "place": "update", "step": 10, "mark": str(tmp_path / "mark"), "once": True}
    victim = zygote.run(*two(run, text_file, more=("--max-restarts", 1)), fault=fault)
    assert victim.code == 0, victim.said()
    assert "Rank 1 was ended by SIGKILL. Was memory short? Starting again, 1 of 1." in victim.said()
    assert same_run(run, pair)


@pytest.mark.promise("P2")
@pytest.mark.slow
def test_starting_again_has_an_end(zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    fault = {"rank": 0, "kind": "raise", "place": "forward", "step": 2, "mark": str(tmp_path / "mark")}
    victim = zygote.run(*two(tmp_path / "run", text_file, more=("--max-restarts", 2)), fault=fault)
    assert victim.code == 1
    assert [f"Starting again, {n} of 2" in victim.said() for n in (1, 2, 3)] == [True, True, False]
