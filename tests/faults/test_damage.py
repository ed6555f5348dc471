"""Any file of the newest checkpoint cut, flipped, emptied, deleted: passed over in one line, or exit 3."""

import random
import shutil
from pathlib import Path

import pytest

from hflm.engine.checkpoints import ordered
from tests.faults.harness import Zygote, same_run, stopped_after

MEMBERS = (
    "model.safetensors", "config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json",
    "manifest.json",
)  # fmt: skip


def cut(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(len(content)).randrange(len(content))] ^= 16
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


DAMAGES = {"cut": cut, "flip": flip, "empty": empty, "grow": grow, "delete": Path.unlink}


# Some in every run of the tests, all of them in `make faults`.
CASES = [
    pytest.param(member, damage, marks=() if (place + turn) % 5 == 0 else pytest.mark.slow)
    for place, member in enumerate(MEMBERS)
    for turn, damage in enumerate(DAMAGES)
]


@pytest.mark.promise("R2")
@pytest.mark.parametrize(("member", "damage"), CASES)
def test_a_damaged_file_is_passed_over(
    zygote: Zygote, straight: Path, tmp_path: Path, member: str, damage: str
) -> None:
    run = stopped_after(straight, tmp_path / "run", 30)
    newest = ordered(run / "checkpoints")[-1]
    assert newest.name == "checkpoint-30" and (newest / member).is_file()
    DAMAGES[damage](newest / member)
    victim = zygote.run("resume", run)
    assert victim.code == 0, victim.said()
    told = [line for line in victim.said().splitlines() if "checkpoint-30" in line]
    assert len(told) == 1 and "Traceback" not in victim.said()
    assert same_run(run, straight)


@pytest.mark.promise("R2")
@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_whole_is_left(zygote: Zygote, straight: Path, tmp_path: Path, damage: str) -> None:
    run = stopped_after(straight, tmp_path / "run", 15)
    for place, checkpoint in enumerate(ordered(run / "checkpoints")):
        DAMAGES[damage](checkpoint / MEMBERS[place % len(MEMBERS)])
    victim = zygote.run("resume", run)
    last = victim.said().strip().splitlines()[-1]
    assert victim.code == 3 and last.startswith("error: No valid checkpoint") and "--overwrite" in last
    assert not (run / "model").exists()


@pytest.mark.promise("R2")
@pytest.mark.parametrize("extra", [".staging", "checkpoint-99", "checkpoint-abc", "checkpoint-40.part"])
def test_what_is_no_checkpoint_is_not_taken_for_one(zygote: Zygote, straight: Path, tmp_path: Path, extra: str) -> None:
    run = stopped_after(straight, tmp_path / "run", 30)
    (run / "checkpoints" / extra).mkdir()
    (run / "checkpoints" / extra / "model.safetensors").write_bytes(b"\0" * 64)
    victim = zygote.run("resume", run)
    assert victim.code == 0 and same_run(run, straight), victim.said()


@pytest.mark.promise("R2")
def test_a_checkpoint_of_another_run_has_its_own_name(zygote: Zygote, straight: Path, tmp_path: Path) -> None:
    """Two checkpoints swapped by hand: the state of each says its step, and the name does not agree."""
    run = stopped_after(straight, tmp_path / "run", 30)
    old, new = run / "checkpoints" / "checkpoint-10", run / "checkpoints" / "checkpoint-30"
    new.rename(tmp_path / "aside")
    old.rename(new)
    victim = zygote.run("resume", run)
    assert victim.code == 0 and same_run(run, straight), victim.said()


@pytest.mark.promise("R1", "R2")
def test_one_that_was_put_aside_for_a_newer_one_is_gone_on_from(zygote: Zygote, straight: Path, tmp_path: Path) -> None:
    """Killed between the two renames of a save, with no other checkpoint."""
    run = stopped_after(straight, tmp_path / "run", 30)
    *others, newest = ordered(run / "checkpoints")
    for other in others:
        shutil.rmtree(other)
    (run / "checkpoints" / ".staging").mkdir()
    newest.rename(run / "checkpoints" / ".staging" / f"{newest.name}.old")
    victim = zygote.run("resume", run)
    assert victim.code == 0 and same_run(run, straight), victim.said()
