"""Where what was measured is kept: a folder for each machine, so that one machine's results replace no other's."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def title(machine: Mapping[str, Any]) -> str:
    """Return the GPU of a machine, or its processor and instructions, without the words that say nothing."""
    words = (machine["gpu"],) if machine["gpu"] else (machine["processor"], machine.get("instructions"))
    return ", ".join(" ".join(re.sub(r"\((R|TM)\)|\bProcessor\b", " ", word).split()) for word in words if word)


def folder(machine: Mapping[str, Any]) -> Path:
    """Return the folder of a machine's results."""
    return RESULTS / re.sub(r"[^a-z0-9]+", "-", title(machine).lower()).strip("-")
