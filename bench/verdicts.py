"""What was asked for and what came of it, in plain lines; and of what falls short, why."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from bench.rows import ROWS, Row

WIDTH = 100
# The targets were set on a processor whose bfloat16 has 2.5 times the products of its float32; half of that is missed.
BF16_OVER_FP32, FELT = 2.5, 1.5
# What holds each target back where it is not reached, beside a busy machine and a slow bfloat16.
LIMITS = {
    "f1": "hflm saves products, and what is left waits for memory, which is not as fast on each machine of one name: "
    "`make bench-parts` takes a step apart.",
    "f2": "The beginning of a run, before it is better than word frequencies, takes most of its steps.",
    "f2-small": "The beginning of a run, before it is better than word frequencies, takes most of its steps, and a "
    "minute holds few of them at this size.",
    "f3": "Weights, gradients, the optimizer and the libraries are as large on both sides.",
    "f4": "Copies, casts, norms and element-wise functions wait for memory: `make bench-parts` has each of them.",
    "f5": "Accuracies of 1,000 test rows differ by a point or two by chance. hflm chooses its weights by 200 rows of "
    "validation and has evaluations and checkpoints in its seconds; the plain side keeps its last.",
    "f6": "The pipeline reads one row at a time and so pads nothing: what is left to gain is precision and threads. "
    "Small products in bfloat16 wait for memory.",
    "f7": "One by one and all together read the same weights: the gain ends where products, not memory, are the limit.",
    "f8": "Each token reads all weights once: the speed of the memory is the limit.",
    "f9": "Python and typer start, and the commands are read.",
    "f10": "A larger text has a larger vocabulary to train and more new words, which no cache knows yet.",
    "f11": "Gradients travel between the processes in every step, and each has a program of its own in memory.",
}
BF16 = {"f1", "f2", "f2-small", "f5", "f6"}
# Rounds of one side that differ by more than this say that the machine did other work meanwhile.
BUSY = 1.3


def spread(entry: Any) -> float:
    """Return by how much the rounds of a side differ at most: the largest over the smallest."""
    found = [1.0]
    for part in (entry, *(value for value in entry.values() if isinstance(value, dict))):
        rounds = part.get("rounds")
        for values in rounds.values() if isinstance(rounds, dict) else ():
            numbers = [float(value["seconds"] if isinstance(value, dict) else value) for value in values]
            found.append(max(numbers) / min(numbers))
    return max(found)


def why(name: str, entry: Any) -> str:
    """Say why a target is not reached."""
    said = []
    gflops = entry.get("gflops")
    if name in BF16 and gflops and gflops["bf16"] < FELT * gflops["fp32"]:
        said.append(
            f"Products in bfloat16 are {gflops['bf16'] / gflops['fp32']:.2g} x as fast as in float32 here, "
            f"not {BF16_OVER_FP32} x as where the target was set."
        )
    if spread(entry) > BUSY:
        said.append(f"The machine was busy: rounds of one side differ by {spread(entry):.1f} x.")
    return " ".join([*said, LIMITS[name]])


def short(found: Mapping[str, Any]) -> Iterator[tuple[str, Row]]:
    """Yield the rows with a target that was measured and not reached."""
    for name, rows in ROWS.items():
        for row in rows:
            if name in found and row[1] != "none" and not row[3](found[name]):
                yield name, row


def lines(found: Mapping[str, Any], names: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a terminal: each row of these names, its target, its result, and why it falls short."""
    for name in names:
        if name not in found:
            yield from (f"{name.upper():10}not measured", "")
            continue
        for what, target, value, good in ROWS[name]:
            yield from textwrap.wrap(what, WIDTH, initial_indent=f"{name.upper():10}", subsequent_indent=" " * 10)
            yield from _field("result", value(found[name]))
            if target != "none":
                reached = good(found[name])
                yield from _field("target", f"{target}: {'reached' if reached else 'NOT REACHED'}")
                if not reached:
                    yield from _field("why", why(name, found[name]))
            yield ""


def _field(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{'':10}{name:8}", subsequent_indent=" " * 18)
