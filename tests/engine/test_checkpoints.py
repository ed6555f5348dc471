"""Checkpoints are whole or not there, and rotation never deletes what is needed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hflm.engine.checkpoints import MANIFEST, REQUIRED, commit, newest_valid, ordered, problem, rotate
from hflm.errors import CheckpointError


def save(folder: Path, step: int, leave_out: str = "") -> Path:
    staging = folder / ".staging" / f"checkpoint-{step}"
    staging.mkdir(parents=True)
    for name in {*REQUIRED, "model.safetensors"} - {leave_out}:
        (staging / name).write_bytes(f"{name} of {step}".encode())
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


@pytest.mark.parametrize("name", REQUIRED)
def test_a_checkpoint_saved_without_a_required_file(name: str, tmp_path: Path) -> None:
    save(tmp_path, 1)
    assert problem(save(tmp_path, 2, leave_out=name)) == f"{name} is missing"
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


@given(steps=st.lists(st.integers(1, 50), max_size=12), keep=st.integers(1, 4), best=st.integers(1, 50) | st.none())
def test_rotation(tmp_path_factory: pytest.TempPathFactory, steps: list[int], keep: int, best: int | None) -> None:
    folder = tmp_path_factory.mktemp("rotation")
    for step in steps:
        (folder / f"checkpoint-{step}").mkdir(exist_ok=True)
    rotate(folder, keep=keep, best_step=best)
    left = [int(path.name.split("-")[1]) for path in ordered(folder)]
    distinct = sorted(set(steps))
    assert not distinct or distinct[-1] in left
    assert best not in distinct or best in left
    # As many as asked; one more where the newest and the best are both beyond it.
    assert min(keep, len(distinct)) <= len(left) <= max(keep, 2)
