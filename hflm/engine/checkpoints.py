"""Checkpoints that are whole or not there: staged, hashed, renamed; the newest verified one wins.

checkpoints/checkpoint-400/
├── model.safetensors, config.json      weights
├── optimizer.pt, scheduler.pt, rng_state.pth, trainer_state.json
└── manifest.json                       size and sha256 of each file, written last
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

from hflm.errors import CheckpointError

MANIFEST = "manifest.json"
PREFIX = "checkpoint-"
# Without any of these a run would go on, and go on wrongly.
REQUIRED = ("optimizer.pt", "scheduler.pt", "trainer_state.json")

log = logging.getLogger(__name__)


def commit(staging: Path, final: Path) -> None:
    """Turn a staged folder into a checkpoint: hash and sync every file, write the manifest, rename."""
    files = {path.name: _describe(path) for path in sorted(staging.iterdir()) if path.is_file()}
    manifest = staging / MANIFEST
    manifest.write_text(json.dumps(files, indent=1), encoding="utf-8")
    for path in staging.iterdir():
        _sync(path)
    _sync(staging)
    if final.exists():
        shutil.rmtree(final)
    staging.rename(final)
    _sync(final.parent)


def problem(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None where every byte is as it was written."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(files, dict):
            return f"{MANIFEST} is no list of files"
        missing = [name for name in REQUIRED if name not in files]
        for name, expected in files.items():
            path = checkpoint / name
            if not path.is_file():
                missing.append(name)
            elif _describe(path) != expected:
                return f"{name} is damaged"
    except (OSError, ValueError) as error:
        return f"{MANIFEST} cannot be read ({type(error).__name__})"
    return f"{', '.join(missing)} is missing" if missing else None


def newest_valid(folder: Path) -> Path:
    """Return the newest checkpoint whose files are all whole; those passed over are logged.

    Raises CheckpointError where there is none.
    """
    skipped = []
    for checkpoint in reversed(ordered(folder)):
        wrong = problem(checkpoint)
        if wrong is None:
            return checkpoint
        log.warning("Passing over %s: %s.", checkpoint.name, wrong)
        skipped.append(f"{checkpoint.name}: {wrong}")
    found = "; ".join(skipped) or "none was saved"
    raise CheckpointError(f"No valid checkpoint in {folder} ({found}).", fix="Start again with --overwrite.")


def ordered(folder: Path) -> list[Path]:
    """List the checkpoints, oldest first."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)))


def rotate(folder: Path, *, keep: int, best_step: int | None) -> None:
    """Delete the oldest checkpoints beyond `keep`, but never the newest nor the best."""
    all_of_them = ordered(folder)
    safe = {all_of_them[-1].name, f"{PREFIX}{best_step}"} if all_of_them else set()
    spare = [path for path in all_of_them if path.name not in safe]
    for path in spare[: max(0, len(all_of_them) - keep)]:
        shutil.rmtree(path)


def _describe(path: Path) -> dict[str, int | str]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
