"""A disk that runs full: exit 5 and one line, nothing torn, and the run goes on when there is room again."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hflm.engine.checkpoints import ordered, problem
from tests.faults.harness import Zygote, same_run, words_of
from tests.promises import WHOLE

# From less than the first file to more than the whole run, in KiB.
SIZES = (64, 300, 700, 1200, 2500) if not WHOLE else tuple(64 + 140 * n for n in range(20))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of our own, in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or not mount(disk, "64k"):
        pytest.skip("a small disk can be mounted by root alone")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def mount(disk: Path, size: str, *, again: bool = False) -> bool:
    how = f"remount,size={size}" if again else f"size={size}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(disk)], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.promise("R8")
@pytest.mark.parametrize("size", SIZES)
def test_a_full_disk(zygote: Zygote, straight: Path, text_file: Path, small_disk: Path, size: int) -> None:
    assert mount(small_disk, f"{size}k", again=True)
    run = small_disk / "run"
    victim = zygote.run(*words_of(run, text_file, steps=40, every=5))
    assert victim.code in ((5,) if size <= 300 else (0, 5)) and "Traceback" not in victim.said(), victim.said()
    if victim.code == 5:
        last = victim.said().strip().splitlines()[-1]
        assert last.startswith("error: ") and str(small_disk) in last and "MB" in last
    assert all(problem(path) is None for path in ordered(run / "checkpoints"))
    assert mount(small_disk, "64m", again=True)
    if victim.code == 5:
        begun = (run / "plan.json").exists()
        words = ["resume", run] if begun else [*words_of(run, text_file, steps=40, every=5), "--overwrite"]
        victim = zygote.run(*words)
        assert victim.code == 0, victim.said()
    assert same_run(run, straight)
    assert not list(run.rglob("*.part")) and not (run / "checkpoints" / ".staging").exists()


@pytest.mark.promise("R8")
def test_a_disk_that_fills_while_training(zygote: Zygote, straight: Path, text_file: Path, small_disk: Path) -> None:
    """Another program takes the room away after the run has looked."""
    assert mount(small_disk, "64m", again=True)
    run = small_disk / "run"
    victim = zygote.start(*words_of(run, text_file, steps=40, every=5))
    assert victim.wait_for(lambda: victim.saved >= 10)
    with (small_disk / "other").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
        while True:
            stream.write(b"\0" * 4096)
    assert victim.end() == 5, victim.said()
    assert all(problem(path) is None for path in ordered(run / "checkpoints"))
    (small_disk / "other").unlink()
    assert zygote.run("resume", run).code == 0 and same_run(run, straight)
