"""Checkpoints are whole or not there, and rotation never deletes what is needed."""

import json
import random
import shutil
import sys
from pathlib import Path

import pytest

from hflm.engine.checkpoints import (
    MANIFEST,
    STATE,
    bring_back,
    commit,
    delete,
    newest_valid,
    ordered,
    problem,
    rotate,
)
from hflm.errors import CheckpointError

MEMBERS = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", STATE)


def save(folder: Path, step: int, *, leave_out: str = "", best: int | None = None) -> Path:
    staging = folder / ".staging" / f"checkpoint-{step}"
    staging.mkdir(parents=True)
    for name in {*MEMBERS} - {leave_out}:
        state = json.dumps({"global_step": step, "best_global_step": best})
        (staging / name).write_text(state if name == STATE else f"{name} of {step}")
    commit(staging, folder / f"checkpoint-{step}")
    return folder / f"checkpoint-{step}"


def test_committed_is_valid_and_moved(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 5)
    assert problem(checkpoint) is None and newest_valid(tmp_path) == checkpoint
    assert not (tmp_path / ".staging" / "checkpoint-5").exists()
    # Saved again, the newer one replaces it.
    assert save(tmp_path, 5) == checkpoint and problem(checkpoint) is None


def test_the_number_counts_and_not_the_name(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        save(tmp_path, step)
    (tmp_path / "checkpoint-x").mkdir()
    assert [path.name for path in ordered(tmp_path)] == ["checkpoint-9", "checkpoint-10", "checkpoint-100"]
    assert newest_valid(tmp_path).name == "checkpoint-100"


@pytest.mark.parametrize("name", MEMBERS)
def test_a_checkpoint_saved_without_a_required_file(name: str, tmp_path: Path) -> None:
    save(tmp_path, 1)
    found = problem(save(tmp_path, 2, leave_out=name))
    assert found and found.endswith("is missing")
    assert newest_valid(tmp_path).name == "checkpoint-1"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', '{"a": 1}'])
def test_a_manifest_that_is_none(content: str, tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1)
    (checkpoint / MANIFEST).write_text(content)
    assert problem(checkpoint)
    with pytest.raises(CheckpointError, match="checkpoint-1"):
        newest_valid(tmp_path)


def test_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match="none was saved"):
            newest_valid(folder)


def test_a_checkpoint_without_its_best_is_the_second_choice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path, 1)
    best = save(tmp_path, 2, best=2)
    save(tmp_path, 3, best=2)
    (best / "model.safetensors").write_text("something else")
    assert newest_valid(tmp_path).name == "checkpoint-1"
    assert "its best, checkpoint-2, is not whole" in caplog.text
    delete(tmp_path / "checkpoint-1")
    assert newest_valid(tmp_path).name == "checkpoint-3"


def test_a_damaged_checkpoint_does_not_count_as_the_newest(tmp_path: Path) -> None:
    """The run went back from a damaged step 9 to step 3, and is at 6: the only whole ones are older than the newest."""
    for step in (3, 6, 9):
        save(tmp_path, step)
    (tmp_path / "checkpoint-9" / "optimizer.pt").unlink()
    rotate(tmp_path, keep=1, newest=6, best_step=None)
    assert [path.name for path in ordered(tmp_path)] == ["checkpoint-6"]


def damage(checkpoint: Path, draw: random.Random) -> None:
    """Cut, change or delete one file."""
    path = draw.choice(sorted(checkpoint.iterdir()))
    content = path.read_bytes()
    draw.choice([path.unlink, lambda: path.write_bytes(content[:-1]), lambda: path.write_bytes(content[:-1] + b"~")])()


class Model:
    """What a run with checkpoints must do, without any: steps that were saved, which of them are whole, the best."""

    def __init__(self) -> None:
        self.whole: dict[int, int | None] = {}
        self.losses: dict[int, float] = {}

    def best(self, step: int) -> int | None:
        """The best step that the state of a checkpoint knows of."""
        known = {at: loss for at, loss in self.losses.items() if at <= step}
        return min(known, key=lambda at: (known[at], at)) if known else None


def play(folder: Path, seed: int) -> int:
    """Save, evaluate, be killed, be damaged and go on, at random; return how many rotations were judged."""
    draw, model, step, rotations = random.Random(seed), Model(), 0, 0
    keep, every = draw.randint(1, 3), draw.randint(1, 3)
    for _ in range(draw.randint(8, 16)):
        if draw.random() < 0.3 and model.whole:
            # Killed; sometimes with a half save, sometimes with a damaged checkpoint. Never the only one.
            if draw.random() < 0.5:
                (folder / ".staging" / "checkpoint-99").mkdir(parents=True)
            hurt = draw.choice(sorted(model.whole))
            if draw.random() < 0.5 and len(model.whole) > 1:
                damage(folder / f"checkpoint-{hurt}", draw)
                del model.whole[hurt]
            step = int(newest_valid(folder).name.split("-")[1])
            assert step in model.whole, "a damaged checkpoint was believed"
            # A best that was rotated away since is found again on the way; one that is damaged is lost.
            hurt_ones = {int(path.name.split("-")[1]) for path in ordered(folder)} - set(model.whole)
            good = [at for at, best in model.whole.items() if best not in hurt_ones]
            assert step == max(good or model.whole)
            model.losses = {at: loss for at, loss in model.losses.items() if at <= step}
        step += draw.randint(1, every)
        if draw.random() < 0.7:
            model.losses[step] = draw.random()
        best = model.best(step)
        for left in (folder / ".staging").glob("*"):
            left.rmdir()
        save(folder, step, best=best if best in model.whole or best == step else None)
        model.whole[step] = best if best in model.whole or best == step else None
        if draw.random() < 0.2:
            continue  # killed before the rotation
        rotate(folder, keep=keep, newest=step, best_step=best)
        rotations += 1
        left_over = {int(path.name.split("-")[1]) for path in ordered(folder)}
        assert step in left_over and problem(folder / f"checkpoint-{step}") is None
        assert best not in model.whole or best in left_over
        assert len(left_over) <= max(keep, 2) and max(left_over) == step
        model.whole = {at: best for at, best in model.whole.items() if at in left_over}
    return rotations


def play_many(folder: Path, seeds: range) -> int:
    """Play the sequences of these seeds; return the number of rotations."""
    total = 0
    for seed in seeds:
        (folder / str(seed)).mkdir()
        total += play(folder / str(seed), seed)
    return total


@pytest.mark.promise("R9", cases=60)
def test_rotation_against_a_model(tmp_path: Path) -> None:
    assert play_many(tmp_path, range(60)) > 300


@pytest.mark.slow
@pytest.mark.promise("R9", cases=1000)
def test_rotation_against_a_model_a_thousand_times(tmp_path: Path) -> None:
    assert play_many(tmp_path, range(60, 1060)) > 5000


def staged_again(folder: Path) -> tuple[Path, Path]:
    """Save step 3, and leave another step 3 behind that is about to be committed."""
    final = save(folder, 3)
    staging = folder / ".staging" / final.name
    staging.mkdir()
    for name in MEMBERS:
        (staging / name).write_text("{}" if name == STATE else "new")
    return staging, final


def test_one_that_is_saved_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    staging, final = staged_again(tmp_path)
    commit(staging, final)
    assert (final / "model.safetensors").read_bytes() == b"new" and newest_valid(tmp_path) == final
    assert [path.name for path in (tmp_path / ".staging").iterdir()] == []


@pytest.mark.promise("R1")
@pytest.mark.parametrize("at", [1, 2])
def test_where_a_rename_breaks_off_the_old_one_stays(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging, final = staged_again(tmp_path)
    rename, calls = Path.rename, iter(range(1, 9))

    def breaks(path: Path, target: Path) -> Path:
        if next(calls) == at:
            raise OSError("the disk went away")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", breaks)
    with pytest.raises(OSError, match="went away"):
        commit(staging, final)
    # What is staged goes then.
    shutil.rmtree(tmp_path / ".staging")
    assert newest_valid(tmp_path) == final and (final / "model.safetensors").read_text() == "model.safetensors of 3"


@pytest.mark.promise("R1")
def test_killed_between_two_renames_the_old_one_gets_its_name_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any moment there is one of the two: nothing is deleted before the new one has its name."""
    staging, final = staged_again(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        rename, calls = Path.rename, iter(range(1, 9))
        # From the second on none is done: a process that was killed does nothing more.
        patch.setattr(Path, "rename", lambda path, to: rename(path, to) if next(calls) == 1 else sys.exit())
        commit(staging, final)
    assert not final.exists() and ordered(tmp_path) == []
    bring_back(tmp_path)
    assert newest_valid(tmp_path) == final and (final / "model.safetensors").read_text() == "model.safetensors of 3"
    # One that is not whole stays away, and so does one whose place is taken.
    shutil.copytree(final, tmp_path / ".staging" / "checkpoint-3.old")
    shutil.copytree(final, tmp_path / ".staging" / "checkpoint-4.old")
    (tmp_path / ".staging" / "checkpoint-4.old" / "optimizer.pt").unlink()
    bring_back(tmp_path)
    assert ordered(tmp_path) == [final]
