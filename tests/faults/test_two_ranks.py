"""What holds for one process holds for two: killed or stopped at any moment, they go on to the same end."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hflm.engine.checkpoints import ordered, problem
from tests.faults.harness import Zygote, all_gone, followed, gone, same_run, stopped_after, two, words_of
from tests.promises import WHOLE
from tests.tiny import pairs, write

KILLS = 100 if WHOLE else 2


@pytest.mark.promise("P1", "R5")
def test_two_ranks_are_two_ranks(zygote: Zygote, pair: Path, text_file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    victim = zygote.run(*two(again, text_file))
    assert victim.code == 0 and "processes: 2, 1 thread each" in victim.said()
    assert "batch: 4 = 2 (micro-batch) x 1 (accumulation) x 2 (processes)" in victim.said()
    assert same_run(pair, again)
    states = {path.name for path in ordered(again / "checkpoints")[-1].glob("rng_state*")}
    assert states == {"rng_state_0.pth", "rng_state_1.pth"}


@pytest.mark.promise("R1", "R3")
def test_killed_again_and_again(
    zygote: Zygote, pair: Path, text_file: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The launcher or one of its ranks, half of the times inside a save."""
    draw, kills, number = random.Random(13), 0, 0
    while kills < KILLS:
        number += 1
        run = tmp_path / f"run-{number}"
        victim = zygote.start(*two(run, text_file))
        while kills < KILLS:
            pids = followed(victim)
            victim.wait_for(lambda victim=victim: victim.step >= 0)  # type: ignore[misc]
            goal, inside = victim.step + draw.randrange(-1, 9), draw.random() < 0.5
            victim.wait_for(lambda: victim.step >= goal and (victim.saving or not inside))  # noqa: B023
            time.sleep(draw.random() * 0.02)
            saved, target = victim.saved, draw.choice([victim.pid, *pids])
            if not gone(target):
                os.kill(target, signal.SIGKILL)
            if victim.end() == 0:
                break
            kills += 1
            assert all_gone(pids, within=10)
            assert all(problem(path) is None for path in ordered(run / "checkpoints"))
            assert saved < 0 or (run / "checkpoints" / f"checkpoint-{saved}").exists()
            victim = zygote.start("resume", run)
        assert victim.end() == 0, victim.said()
        assert same_run(run, pair), f"run {number} differs from the straight one"
    record_property("cases", kills)


@pytest.mark.promise("R6", "R3")
def test_a_signal_at_any_moment(
    zygote: Zygote, pair: Path, text_file: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    draw, sent = random.Random(7), 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) * 8 if WHOLE else [signal.SIGTERM]:
        run = tmp_path / f"run-{sent}"
        victim = zygote.start(*two(run, text_file))
        pids, goal = followed(victim), draw.randrange(0, 20)
        assert victim.wait_for(lambda: victim.step >= goal), victim.said()  # noqa: B023
        step = victim.step
        victim.send(number)
        for pid in pids if sent % 2 else ():
            # A scheduler may send it to all of them.
            if not gone(pid):
                os.kill(pid, number)
        assert victim.end() == 75, victim.said()
        sent += 1
        assert victim.step <= step + 3 and victim.saved == victim.step and all(gone(pid) for pid in pids)
        last = victim.said().strip().splitlines()[-1]
        assert f"Stopped by a signal after step {victim.step} of 24; everything is saved" in last
        assert f"hflm resume {run}" in last
        assert zygote.run("resume", run).code == 0 and same_run(run, pair)
    record_property("cases", sent)


@pytest.mark.promise("R6")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_training_there_is_nothing_to_save(
    zygote: Zygote, text_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    victim = zygote.start(*two(tmp_path / "run", text_file))
    pids = followed(victim)
    victim.send(number)
    code = victim.end()
    assert code in (75, 130 if number == signal.SIGINT else -number)
    assert "Traceback" not in victim.said() and all_gone(pids, within=10)


CASES: dict[str, tuple[object, ...]] = {
    "accumulation": ("--micro-batch-size", 1),
    "Muon": ("--optimizer", "muon", "--arch", "modernbert"),
    "a stream": ("--streaming", "--eval-data", "TEXT"),
    "next tokens": ("--arch", "llama", "--objective", "clm"),
    "patience": ("--patience", 2, "--eval-steps", 3, "--lr", 0.0),
    "bf16": ("--precision", "bf16"),
}


@pytest.mark.promise("R3")
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed(zygote: Zygote, text_file: Path, tmp_path: Path, case: str) -> None:
    more = [text_file if word == "TEXT" else word for word in CASES[case]]
    straight = tmp_path / "straight"
    victim = zygote.run(*two(straight, text_file, steps=12, every=2, more=("--save-total-limit", 99, *more)))
    assert victim.code == 0, victim.said()
    run = stopped_after(straight, tmp_path / "run", 4)
    victim = zygote.run("resume", run)
    assert victim.code == 0, victim.said()
    assert same_run(run, straight)


@pytest.mark.promise("R3")
@pytest.mark.slow
def test_a_fine_tuning_stopped_and_resumed(zygote: Zygote, tiny: Callable[[str], str], tmp_path: Path) -> None:
    data, straight = write(tmp_path / "rows.jsonl", pairs(60)), tmp_path / "straight"
    victim = zygote.run(
        "finetune", "--task", "summarization", "--model", tiny("llama"), "--lora-rank", 2, "--data", data,
        "--max-steps", 12, "--batch-size", 4, "--save-steps", 2, "--eval-steps", 4, "--save-total-limit", 99,
        "--max-source-length", 32, "--max-target-length", 8, "--processes", 2, "-o", straight,
    )  # fmt: skip
    assert victim.code == 0, victim.said()
    run = tmp_path / "run"
    shutil.copytree(straight, run)
    for checkpoint in ordered(run / "checkpoints")[3:]:
        shutil.rmtree(checkpoint)
    (run / "metrics.json").unlink()
    victim = zygote.run("resume", run)
    assert victim.code == 0, victim.said()
    for name in ("model/model.safetensors", "predictions.jsonl"):
        assert (run / name).read_bytes() == (straight / name).read_bytes()


@pytest.mark.slow
def test_a_budget_is_one_number_for_all(zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    words = two(tmp_path / "run", text_file)
    place = words.index("--max-steps")
    words[place : place + 2] = ["--budget", "6s"]
    victim = zygote.run(*words)
    assert victim.code == 0 and "budget: 6s holds" in victim.said(), victim.said()
    again = zygote.run("reproduce", tmp_path / "run", "-o", tmp_path / "again")
    assert again.code == 0, again.said()


@pytest.mark.promise("R7")
@pytest.mark.parametrize("rank", [0, 1])
def test_numbers_that_are_none(zygote: Zygote, text_file: Path, tmp_path: Path, rank: int) -> None:
    run, fault = tmp_path / "run", {"kind": "nan", "mark": "", "rank": rank, "step": 9}
    victim = zygote.run(*two(run, text_file), fault=fault)
    last = victim.said().strip().splitlines()[-1]
    assert victim.code == 4 and last.startswith(f"error: The loss is nan on rank {rank} at step 10, learning rate")
    assert victim.said().count("error:") == 1
    assert ordered(run / "checkpoints")[-1].name == "checkpoint-8"


@pytest.mark.promise("R4", "R3")
@pytest.mark.slow
def test_another_number_of_ranks(zygote: Zygote, pair: Path, text_file: Path, tmp_path: Path) -> None:
    """Refused, unless it is asked for; then the run goes on, near to what it would have been."""
    run = stopped_after(pair, tmp_path / "run", 12)
    words = ["pretrain", "-o", run, "--resume", "--processes", 1]
    victim = zygote.run(*words)
    assert victim.code == 2 and "--processes of" in victim.said() and "was 2, and is 1 now" in victim.said()
    victim = zygote.run(*words, "--allow-change")
    assert victim.code == 0 and "changed: --processes" in victim.said(), victim.said()
    assert ordered(run / "checkpoints")[-1].name == "checkpoint-24"


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--processes", 3), r"--batch-size 4 cannot be split over 3 processes. Pass --batch-size 3 or 6."),
        (("--processes", 8), r"--batch-size 4 cannot be split over 8 processes. Pass --batch-size 8 or 16."),
        (("--processes", 2, "--micro-batch-size", 4), "2 sequences a process cannot be split into micro-batches of 4"),
        (("--processes", 0), "--processes is '0'"),
        (("--processes", "many"), "--processes is 'many'"),
        (("--processes", 2, "--rank-timeout", "soon"), "--rank-timeout 'soon' is no duration"),
    ],
)
def test_what_cannot_be_is_refused(
    zygote: Zygote, text_file: Path, tmp_path: Path, words: tuple[object, ...], said: str
) -> None:
    victim = zygote.run(*words_of(tmp_path / "run", text_file, steps=4, every=4, more=words))
    assert victim.code == 2 and said in victim.said() and not (tmp_path / "run").exists()
