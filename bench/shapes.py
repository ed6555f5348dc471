"""What a step of `hflm pretrain` takes with the shapes of its products as they come, and as hflm makes them.

Two things are turned off in turns with the step as it is, in one process: predicted positions in ever other numbers,
for each of which oneDNN compiles the products of the output layer anew, and matrices that Muon takes one by one.

python -m bench shapes
"""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.levers import prepared
from hflm.engine import optimizer
from hflm.families import sparse_head

# What is turned off -> the module and its number.
OFF: Mapping[str, tuple[Any, str]] = {
    "any number of positions": (sparse_head, "MULTIPLE"), "matrices one by one": (optimizer, "TOGETHER"),
}  # fmt: skip


def measure(*, size: str = "mini", steps: int = 24) -> dict[str, Any]:
    """Return the median milliseconds of a step as it is, and with each of the two turned off."""
    usual = {what: getattr(module, name) for what, (module, name) in OFF.items()}
    times: dict[str, list[float]] = {"as it is": [], **{what: [] for what in OFF}}
    with tempfile.TemporaryDirectory() as folder:
        side = prepared(("--size", size), Path(folder))
        for _ in range(steps + 2):
            for what, taken in times.items():
                for other, (module, name) in OFF.items():
                    setattr(module, name, 1 if other == what else usual[other])
                side.step()
                taken.append(1000 * side.times[-1])
    for what, (module, name) in OFF.items():
        setattr(module, name, usual[what])
    return {"size": size, "median": {what: statistics.median(taken[2:]) for what, taken in times.items()}}
