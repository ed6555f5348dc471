"""What was asked for and what came of it, in plain lines; and of what falls short, why."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
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
    "f6": "The pipeline reads one row at a time and so pads nothing: what is left to gain is precision and threads.",
    "f7": "One by one and all together read the same weights: the gain ends where products, not memory, are the limit.",
    "f8": "Each token reads all weights once: the speed of the memory is the limit.",
    "f9": "Python and typer start, and the commands are read.",
    "f10": "A larger text has a larger vocabulary to train and more new words, which no cache knows yet.",
    "f11": "Gradients travel between the processes in every step, and each has a program of its own in memory.",
}
BF16 = {"f1", "f2", "f2-small", "f5", "f6"}
# Rounds of one side that differ by more than this say that the machine did other work meanwhile.
BUSY = 1.3


def spread(rounds: Sequence[Sequence[float]]) -> float:
    """Return by how much the rounds of a side differ at most: the largest over the smallest."""
    return max((max(side) / min(side) for side in rounds), default=1.0)


def why(name: str, row: Row, entry: Any) -> str:
    """Say why the target of a row is not reached."""
    said = []
    gflops = entry.get("gflops")
    if name == "f8" and gflops and gflops["bf16"] < gflops["fp32"]:
        ratio = entry["median"]["hflm, int8"] / entry["median"]["hflm, bf16"]
        return (
            f"Without a fast bfloat16, eight bits have a quarter of the bytes of float32 and {ratio:.1f} x its tokens: "
            "their products are the limit, not the memory."
        )
    if name in BF16 and gflops and gflops["bf16"] < gflops["fp32"]:
        said.append(
            f"This processor is slow in bfloat16 ({gflops['bf16']:,.1f} GFLOP/s, {gflops['fp32']:,.0f} in float32), so "
            f"hflm computes in float32; where the target was set, products were {BF16_OVER_FP32} x as fast in bfloat16."
        )
    elif name in BF16 and gflops and gflops["bf16"] < FELT * gflops["fp32"]:
        said.append(
            f"Products in bfloat16 are {gflops['bf16'] / gflops['fp32']:.2g} x as fast as in float32 here, "
            f"not {BF16_OVER_FP32} x as where the target was set."
        )
    if spread(row.rounds(entry)) > BUSY:
        said.append(f"The machine was busy: rounds of one side differ by {spread(row.rounds(entry)):.1f} x.")
    return " ".join([*said, LIMITS[name]])


def short(found: Mapping[str, Any]) -> Iterator[tuple[str, Row]]:
    """Yield the rows with a target that was measured and not reached."""
    for name, rows in ROWS.items():
        for row in rows:
            if name in found and row.target != "none" and not row.good(found[name]):
                yield name, row


def lines(found: Mapping[str, Any], names: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a terminal: each row of these names, its target, its result, and why it falls short."""
    for name in names:
        if name not in found:
            yield from (f"{name.upper():10}not measured", "")
            continue
        for row in ROWS[name]:
            yield from textwrap.wrap(row.what, WIDTH, initial_indent=f"{name.upper():10}", subsequent_indent=" " * 10)
            yield from _field("result", row.value(found[name]))
            if row.target != "none":
                reached = row.good(found[name])
                yield from _field("target", f"{row.target}: {'reached' if reached else 'NOT REACHED'}")
                if not reached:
                    yield from _field("why", why(name, row, found[name]))
            yield ""


def _field(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{'':10}{name:8}", subsequent_indent=" " * 18)
