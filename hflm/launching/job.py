"""What a rank is told to do, and what it tells of its end: two small files, and no command line."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hflm.errors import HflmError
from hflm.run import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job for every rank: which, with which settings, in which folder, if it has one.

    `recipe` is the task of a fine-tuning, `like` a run that is done again, `command` what the user typed, which is
    kept in the run folder.
    """

    name: str
    settings: Mapping[str, Any]
    folder: str | None = None
    recipe: str | None = None
    overwrite: bool = False
    resume: bool = False
    allow_change: bool = False
    like: str | None = None
    command: tuple[str, ...] = ()

    def write(self, place: Path) -> None:
        """Write it for the ranks to read."""
        write_json(place / "job.json", asdict(self))

    @classmethod
    def read(cls, place: Path) -> "Job":
        """Read it."""
        return cls(**read_json(place / "job.json"))


def write_result(place: Path, found: Mapping[str, Any]) -> None:
    """Leave what a job came to for the launcher to read."""
    write_json(place / "result.json", found)


def read_result(place: Path) -> dict[str, Any]:
    """Read it; empty where a job leaves nothing, or writes it into its own folder."""
    path = place / "result.json"
    return read_json(path) if path.exists() else {}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a rank ended, in its own words: `error` is the class of what was raised, empty where all is done.

    `by_others` marks what was raised because another rank had gone, or did not answer (`waited`).
    """

    error: str = ""
    problem: str = ""
    fix: str = ""
    by_others: bool = False
    waited: bool = False
    time: float = 0.0

    def write(self, place: Path, rank: int) -> None:
        """Write it for the launcher to read."""
        write_json(place / f"outcome-{rank}.json", asdict(self))

    @classmethod
    def read(cls, place: Path, rank: int) -> "Outcome | None":
        """Read it; None where the rank ended without a word."""
        try:
            return cls(**json.loads((place / f"outcome-{rank}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @classmethod
    def of(cls, error: BaseException) -> "Outcome":
        """Describe an error."""
        name = type(error).__name__
        if isinstance(error, HflmError):
            return cls(error=name, problem=error.problem, fix=error.fix, time=time.time())
        lost = lost_others(error)
        text = " ".join(str(error).split())
        return cls(
            error=name, problem=f"{name}: {text}"[:400].rstrip(": "), by_others=lost,
            waited=lost and any(sign in text.lower() for sign in WAITED), time=time.time(),
        )  # fmt: skip


# What gloo, NCCL and the store say where another rank has gone, or does not come.
LOST = ("connection closed by peer", "connection reset by peer", "broken pipe", "socket timeout", "gloo", "nccl")
WAITED = ("timed out", "timeout")


def lost_others(error: BaseException) -> bool:
    """Tell whether an error only says that another rank is missing."""
    if type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError"):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in LOST)
