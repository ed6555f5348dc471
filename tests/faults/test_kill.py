"""`kill -9`, again and again: a run goes on from the last whole checkpoint, and ends as if nothing had been."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import Zygote, kill, same_run, words_of
from tests.promises import WHOLE

KILLS = 200 if WHOLE else 10


@pytest.mark.promise("R1", "R3")
def test_killed_again_and_again(
    zygote: Zygote, straight: Path, text_file: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Half of the kills fall into a save. Each run is killed until it is done, and is then the straight run."""
    draw, kills, inside, number = random.Random(11), 0, 0, 0
    # How long a save takes is measured: a moment drawn from longer than that falls behind it.
    measured = zygote.start(*words_of(tmp_path / "measured", text_file, steps=10, every=5))
    assert measured.end() == 0, measured.said()
    lasts = measured.save_seconds
    while kills < KILLS:
        number += 1
        run, saved = tmp_path / f"run-{number}", -1
        victim = zygote.start(*words_of(run, text_file, steps=40, every=5))
        while True:
            hit = kill(victim, draw, inside=kills % 2 == 0, span=12, lasts=lasts)
            if victim.code == 0:
                break
            assert victim.code == -9, victim.said()
            kills, inside = kills + 1, inside + hit
            saved, lasts = max(saved, victim.saved), victim.save_seconds or lasts
            victim = zygote.start("resume", run)
            victim.wait_for(lambda victim=victim: victim.step >= 0)  # type: ignore[misc]
            # A save that was cut may have come to its end all the same: then the run goes on from there.
            assert victim.ended() or victim.step >= max(saved, 0), f"{victim.step} after {saved} was saved"
        assert same_run(run, straight), f"run {number} differs from the straight one"
    assert inside >= 0.3 * kills, f"{inside} of {kills} kills fell into a save"
    record_property("cases", kills)


@pytest.mark.promise("R1", "R3")
@pytest.mark.parametrize("steps", [400 if WHOLE else 60])
def test_killed_ten_times_on_the_way(
    zygote: Zygote, text_file: Path, tmp_path: Path, steps: int, record_property: Callable[[str, object], None]
) -> None:
    draw, every = random.Random(3), steps // 20
    whole = tmp_path / "whole"
    assert zygote.run(*words_of(whole, text_file, steps=steps, every=every)).code == 0
    run, kills = tmp_path / "run", 0
    victim = zygote.start(*words_of(run, text_file, steps=steps, every=every))
    for _ in range(10):
        kill(victim, draw, inside=False, span=2 * every, lasts=0)
        if victim.code == 0:
            break
        kills += 1
        victim = zygote.start("resume", run)
    assert victim.end() == 0, victim.said()
    assert kills == 10 and same_run(run, whole)
    record_property("cases", kills)
