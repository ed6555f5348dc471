"""Hashes of what a run wrote: what was changed or damaged since is noticed before it is used.

plan.json keeps the hashes of the records that a run goes on from, and one of itself. files.sha256 has those of what a
run came to, in the form that `sha256sum -c files.sha256` reads.
"""

import json
import shlex
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from hflm.errors import UsageError
from hflm.hashes import file_sha256, seen_sha256
from hflm.run import RunFolder, read_object, write_json, write_text

SEAL, RECORDS = "seal", "records"
# Meant for people, who may add to them.
FREE = {".md", ".png"}


def write_plan(run: RunFolder, plan: Mapping[str, Any]) -> None:
    """Write a run's plan, which has its settings, with the hashes of recipe and tokenizer; it comes after them."""
    content = {**{name: value for name, value in plan.items() if name != SEAL}, RECORDS: record_hashes(run)}
    write_json(run.plan, {**content, SEAL: _hash(content)})


def open_plan(run: RunFolder) -> dict[str, Any]:
    """Read a run's plan; raises UsageError where it is not as it was written."""
    wrong = UsageError(
        f"{run.plan} is damaged or was changed: it is not as {run.path} wrote it.",
        fix="Restore it, or start again with --overwrite.",
    )
    plan = read_object(run.plan, or_else=wrong)
    kept = {name: value for name, value in plan.items() if name != SEAL}
    # A plan of an earlier version has no seal.
    if (SEAL in plan or RECORDS in plan) and plan.get(SEAL) != _hash(kept):
        raise wrong
    missing = [name for name in ("steps", "data") if name not in plan]
    if missing:
        raise wrong
    return plan


def record_hashes(run: RunFolder) -> dict[str, str]:
    """Hash each file that a run goes on from, by its name in the folder."""
    files = [run.recipe, *sorted(run.tokenizer.glob("*"))]
    return {str(path.relative_to(run.path)): file_sha256(path) for path in files if path.is_file()}


def changed_records(run: RunFolder, plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """List the records that are not as the plan knows them: name, hash then, hash now."""
    before, now = plan.get(RECORDS, {}), record_hashes(run)
    return [(name, old, now.get(name, "")) for name, old in before.items() if old != now.get(name)]


def seal_results(run: RunFolder) -> None:
    """Write the hashes of the model and of the predictions that a run came to."""
    files = [*sorted(run.model.rglob("*")), run.predictions]
    lines = [
        f"{file_sha256(path)}  {path.relative_to(run.path)}\n"
        for path in files
        if path.is_file() and path.suffix not in FREE
    ]
    write_text(run.sums, "".join(lines))


def damage(run: RunFolder, *, under: str = "") -> str | None:
    """Say which file below `under` is not as the run wrote it, or None; runs of earlier versions have no sums."""
    for name, old in _sums(run).items():
        path = run.path / name
        if not name.startswith(under):
            continue
        if not path.is_file():
            return f"{path} is missing"
        if seen_sha256(path, path.stat().st_size, path.stat().st_mtime_ns) != old:
            return f"{path} is damaged or was changed"
    return None


def check_results(run: RunFolder, *, under: str = "") -> None:
    """Raise UsageError where a file below `under` is not as the run wrote it."""
    if found := damage(run, under=under):
        fix = "Restore it"
        if run.has_checkpoints():
            fix += f", or do the end of the run again with `hflm resume {shlex.quote(str(run.path))}`"
        raise UsageError(
            f"{found}: it is not as the run wrote it.",
            fix=f"{fix}; to use it all the same, name {run.model}, which is not compared.",
        )


def _sums(run: RunFolder) -> dict[str, str]:
    try:
        lines = run.sums.read_text(encoding="utf-8").splitlines() if run.sums.is_file() else []
    except (OSError, ValueError):
        return {}
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return {name: digest for digest, name in pairs if len(digest) == 64}


def _hash(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def seal_again(run: RunFolder, path: Path) -> None:
    """Write a new hash for one file of a run's results, which its owner had hflm change; the others keep theirs."""
    sums = _sums(run)
    name = str(path.relative_to(run.path))
    if name in sums:
        sums[name] = file_sha256(path)
        write_text(run.sums, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
