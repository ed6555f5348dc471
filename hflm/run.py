"""The run folder: the only file that names files in a run.

out/
├── config.yaml         the resolved settings
├── environment.json    versions, machine, command
├── plan.json           what the probe and the data fixed: steps, split of the batch
├── log.jsonl           a line each logging step and evaluation
├── metrics.json        the results; there once the run is done
├── files.sha256        hashes of model and predictions, for `sha256sum -c`
├── loss.png
├── tokenizer/          what the rows were encoded with
├── checkpoints/        resumable state
├── ranks/              what each process printed, where one of several failed
└── model/              weights, configuration, tokenizer, model card
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hflm.durable import sync, sync_all
from hflm.errors import UsageError

MARKER = "config.yaml"
# Settings that every job has.
OURS = {"seed", "batch_size", "on_nan", "save_total_limit"}
# What a file system keeps in its root.
KEPT = "lost+found"


def _is_nobodys(path: Path) -> bool:
    """Tell whether a file is one that a killed process was writing, or belongs to the file system."""
    return path.name == KEPT or (path.name.startswith(".") and path.suffix == ".part")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; every path in it has a name here."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / MARKER

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def plot(self) -> Path:
        return self.path / "loss.png"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def ranks(self) -> Path:
        return self.path / "ranks"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.py"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.jsonl"

    @property
    def sums(self) -> Path:
        return self.path / "files.sha256"

    @property
    def teacher_predictions(self) -> Path:
        return self.path / "teacher_predictions.jsonl"

    @property
    def tradeoff(self) -> Path:
        return self.path / "distillation.png"

    @property
    def confusion(self) -> Path:
        return self.path / "confusion.png"

    @classmethod
    def free(cls, path: Path, *, overwrite: bool) -> "RunFolder":
        """Name a new run's folder; nothing is written or deleted yet.

        Raises UsageError where the folder holds something, unless that is an old run and `overwrite` is set.
        """
        run = cls(path)
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file.", fix="Give --output-dir a folder that does not exist yet.")
        if path.is_dir() and any(not _is_nobodys(found) for found in path.iterdir()):
            if not run.is_ours():
                raise UsageError(
                    f"The output folder {path} holds files that no run wrote.",
                    fix="Name another; hflm replaces only its own.",
                )
            if not overwrite:
                raise UsageError(
                    f"The output folder {path} is not empty.",
                    fix="Go on with --resume, or replace it with --overwrite.",
                )
        existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        if not os.access(existing, os.W_OK):
            raise UsageError(f"Cannot write to {existing}.", fix="Choose another --output-dir.")
        return run

    def create(self) -> None:
        """Make the folder, emptied of an old run; raises UsageError where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Emptied, not removed, for it may be a disk of its own; the file that makes it a run's folder goes last.
            for path in sorted(self.path.iterdir(), key=lambda path: path == self.config):
                if path.name == KEPT:
                    continue
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise UsageError(
                f"Cannot write to {self.path}: {error.strerror}.", fix="Choose another --output-dir."
            ) from error

    def is_ours(self) -> bool:
        """Tell whether a run has written the folder: other programs have a config.yaml too, of other settings."""
        try:
            found = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            found = None
        if isinstance(found, dict) and set(found) >= OURS:
            return True
        # Of a run whose settings were damaged the rest is still there.
        return self.config.exists() and self.plan.exists() and self.environment.exists()

    def never_began(self) -> bool:
        """Tell whether the run was ended while its folder was made: nothing else is there that could be lost."""
        early = (self.config, self.environment, self.recipe, self.tokenizer, self.ranks)
        return all(found in early or _is_nobodys(found) for found in self.path.iterdir())

    def has_checkpoints(self) -> bool:
        """Tell whether a state was saved that the run can go on from."""
        return any(self.checkpoints.glob("checkpoint-*"))

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open the folder of an earlier run."""
        run = cls(path)
        if not run.config.is_file():
            found = "no such folder" if not path.exists() else "no config.yaml in it"
            raise UsageError(f"{path} is no run folder: {found}.", fix="`hflm runs` lists the runs.")
        return run


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.part")
    try:
        # Names of files that are no UTF-8 are written as escapes, which YAML and JSON read back.
        with staging.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if path.is_dir():
            set_aside(path)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write into, which gets the name `path` when the block is done, or goes when it breaks off."""
    staging = path.with_name(f".{path.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        yield staging
        # A power cut may lose what was written before a name, and keep the name.
        sync_all(staging)
        if path.exists():
            shutil.rmtree(path)
        staging.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, one a line, whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def read_object(path: Path, *, or_else: Exception) -> dict[str, Any]:
    """Read a JSON object, or raise an error where there is none: not there, cut, no object."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError) as error:
        raise or_else from error
    if not isinstance(content, dict):
        raise or_else
    return content


def set_aside(path: Path) -> None:
    """Make way for a file where something else took its name, or what stands there cannot be used; it is kept."""
    if path.is_symlink() or path.exists():
        path.rename(path.with_name(f"{path.name}.damaged"))


def results(run: RunFolder) -> dict[str, Any] | None:
    """Return the metrics of a run that is done; None where it is not, or what it came to was lost since."""
    try:
        metrics = read_object(run.metrics, or_else=ValueError())
    except ValueError:
        return None
    whole = "job" in metrics and any(run.model.glob("*.safetensors"))
    return metrics if whole else None


def since(metrics: Mapping[str, Any]) -> str:
    """Say since which step seconds count, of a run that was gone on with."""
    return f" since step {metrics['first_step']:,}" if metrics.get("first_step") else ""
