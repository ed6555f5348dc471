"""Where what was measured is kept: a folder for each machine, so that one machine's results replace no other's."""

import datetime
import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# Days for which a result stands where all targets are measured: hours that were spent are not spent again.
FRESH = 1


def title(machine: Mapping[str, Any]) -> str:
    """Return the GPU of a machine, or its processor, instructions and cores, without the words that say nothing."""
    if machine["gpu"]:
        return _plain(machine["gpu"])
    words = (machine["processor"] or platform.machine(), machine.get("instructions"), f"{machine['cores']} cores")
    return ", ".join(_plain(word) for word in words if word)


def folder(machine: Mapping[str, Any]) -> Path:
    """Return the folder of a machine's results."""
    return RESULTS / re.sub(r"[^a-z0-9]+", "-", title(machine).lower()).strip("-")


def measured(machine: Mapping[str, Any], name: str) -> Any:
    """Return what was measured on a machine under a name; raises RuntimeError where nothing was."""
    path = folder(machine) / f"{name}.json"
    if not path.exists():
        raise RuntimeError(f"it begins with the results of {name} on this machine: run `python -m bench {name}` first")
    return json.loads(path.read_text())


def fresh(machine: Mapping[str, Any], name: str) -> bool:
    """Tell whether a result is of this very machine, with these versions, and of today or the day before."""
    try:
        entry = measured(machine, name)
    except RuntimeError:
        return False
    age = datetime.date.today() - datetime.date.fromisoformat(entry["date"])
    return bool(entry["machine"] == machine) and age.days <= FRESH


def _plain(word: str) -> str:
    return " ".join(re.sub(r"\((R|TM)\)|\bProcessor\b", " ", word).split())
