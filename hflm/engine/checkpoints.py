"""Checkpoints that are whole or not there: staged, hashed, renamed; the newest verified one wins.

checkpoints/checkpoint-400/
├── model.safetensors, config.json      weights
├── optimizer.pt, scheduler.pt, rng_state.pth, trainer_state.json
└── manifest.json                       size and sha256 of each file, written last
"""

import fnmatch
import json
import logging
import shutil
from pathlib import Path

from hflm.durable import sync, sync_all
from hflm.errors import CheckpointError
from hflm.hashes import file_sha256

MANIFEST = "manifest.json"
PREFIX = "checkpoint-"
STATE = "trainer_state.json"
# Ends the name of one that is saved again, until the new one has its name.
ASIDE = ".old"
# Without any of these a run would go on, and go on wrongly. Ranks and shards have numbers of their own in their names.
REQUIRED = ("optimizer.pt", "scheduler.pt", STATE, "rng_state*.pth", "*.safetensors")

log = logging.getLogger(__name__)


def commit(staging: Path, final: Path) -> None:
    """Turn a staged folder into a checkpoint: hash and sync every file, write the manifest, rename."""
    files = {path.name: describe(path) for path in sorted(staging.iterdir()) if path.is_file()}
    manifest = staging / MANIFEST
    manifest.write_text(json.dumps(files, indent=1), encoding="utf-8")
    sync_all(staging)
    old = staging.with_name(f"{staging.name}{ASIDE}")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if final.exists():
            # Aside, and deleted last: that takes long enough to be killed in.
            final.rename(old)
        staging.rename(final)
    finally:
        if old.exists() and not final.exists():
            old.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    sync(final.parent)


def bring_back(folder: Path) -> None:
    """Give its name back to a checkpoint that was put aside for a newer one, which a killed process did not rename."""
    for old in list(folder.glob(f".staging/{PREFIX}*{ASIDE}")):
        final = folder / old.name.removesuffix(ASIDE)
        if not final.exists() and problem(old) is None:
            old.rename(final)


def problem(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None where every byte is as it was written."""
    if not (checkpoint / MANIFEST).is_file():
        return f"{MANIFEST} is missing"
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(files, dict):
            return f"{MANIFEST} is no list of files"
        missing = [pattern for pattern in REQUIRED if not fnmatch.filter(files, pattern)]
        for name, expected in files.items():
            path = checkpoint / name
            if not path.is_file():
                missing.append(name)
            elif describe(path) != expected:
                return f"{name} is damaged"
    except (OSError, ValueError) as error:
        return f"{MANIFEST} cannot be read ({type(error).__name__})"
    return f"{', '.join(missing)} is missing" if missing else None


def newest_valid(folder: Path) -> Path:
    """Return the newest checkpoint whose files are all whole; those passed over are logged.

    One whose best checkpoint is damaged is passed over too, where an older one stands behind it: from there the best
    is found again. Raises CheckpointError where none is whole.
    """
    skipped, spare = [], None
    for checkpoint in reversed(ordered(folder)):
        wrong = problem(checkpoint)
        if wrong is None:
            wrong = _problem_of_best(checkpoint)
            if wrong is None:
                return checkpoint
            spare = spare or checkpoint
        log.warning("Passing over %s: %s.", checkpoint.name, wrong)
        skipped.append(f"{checkpoint.name}: {wrong}")
    if spare is not None:
        log.warning("Nothing better is left: going on from %s.", spare.name)
        return spare
    found = "; ".join(skipped) or "none was saved"
    raise CheckpointError(f"No valid checkpoint in {folder} ({found}).", fix="Start again with --overwrite.")


def _problem_of_best(checkpoint: Path) -> str | None:
    """Say what is wrong with the checkpoint that one names as its best so far."""
    best = json.loads((checkpoint / STATE).read_text(encoding="utf-8")).get("best_global_step")
    other = checkpoint.with_name(f"{PREFIX}{best}")
    if best is None or other == checkpoint or not other.is_dir():
        # Where nothing asks for the best at the end, it is not saved: none is missed.
        return None
    wrong = problem(other)
    return f"its best, {other.name}, is not whole ({wrong})" if wrong else None


def ordered(folder: Path) -> list[Path]:
    """List the checkpoints, oldest first."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)))


def rotate(folder: Path, *, keep: int, newest: int, best_step: int | None) -> None:
    """Delete what was saved beyond `keep` checkpoints, the oldest first, but never the newest nor the best.

    `newest` is the step that was just saved. What has a higher number was passed over when the run went on from an
    older one: it is damaged, and must not count for one that can be used.
    """
    known = [(path, int(path.name.removeprefix(PREFIX))) for path in ordered(folder)]
    safe = {newest, best_step}
    for path in [path for path, step in known if step > newest and step not in safe]:
        delete(path)
    older = [(path, step) for path, step in known if step <= newest]
    spare = [path for path, step in older if step not in safe]
    for path in spare[: max(0, len(older) - keep)]:
        delete(path)


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, the manifest first: one that is half deleted is none."""
    (checkpoint / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


def describe(path: Path) -> dict[str, int | str]:
    """Return the size of a file in bytes and its sha256."""
    return {"size": path.stat().st_size, "sha256": file_sha256(path)}
