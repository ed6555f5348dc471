"""F4's other half: what a training step of BERT base spends its time on, operation by operation.

The step is that of F4 (batch 16 x 128, AdamW). Its outer parts are timed by the clock without a profiler: the rows of a
batch, forward, backward, the norm of the gradient, the optimizer. Forward and backward are then taken apart by torch's
profiler, by the time that each operation spends itself. How fast the products are by themselves says how much of the
distance to the ceiling is theirs, and how much is that of all the rest.

python -m bench parts
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.levers import Side
from bench.side import config_of, widen
from bench.table import between
from hflm.engine.device import matmul_ceiling
from hflm.models.flops import flops_shape, forward_flops
from hflm.pretraining.assemble import Setup, set_up
from hflm.recipe_files import load_task
from hflm.run import RunFolder
from hflm.training.training import autocast

WARM_UP, STEPS, PROFILED = 3, 8, 3
BATCH, LENGTH, VOCABULARY = 16, 128, 30_522
# Of the recipe: the share of positions that are predicted.
PREDICTED = load_task("pretraining").defaults["mlm_probability"]
OUTER = ("rows of the batch", "forward", "backward", "norm of the gradient", "optimizer")
# Operations by what they are for, the first that names one of theirs; `aten::` is left out.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "matrix products of layers and head": ("mm", "addmm", "linear", "matmul", "mkldnn", "_convert_weight"),
    "attention: its products": ("bmm", "baddbmm", "_scaled_dot_product", "_flash_attention"),
    "attention: softmax": ("_softmax", "softmax"),
    "GELU": ("gelu",),
    "layer norms": ("native_layer_norm",),
    "copies and casts": ("copy_", "clone", "_to_copy", "contiguous"),
    "embeddings, rows picked out": ("embedding", "index", "gather", "scatter", "select"),
    "sums, differences, products by element": ("add", "sub", "mul", "div", "sum", "where", "masked_fill", "neg"),
    "new memory filled": ("fill_", "zero_", "zeros", "empty", "resize_"),
    "cross-entropy": ("exp", "logsumexp", "max", "log"),
}
REST = "everything else, Python between operations too"
PAGE, BEGIN, END = Path("docs/performance.md"), "<!-- parts -->", "<!-- /parts -->"


def group_of(operation: str) -> str:
    """Return the group of an operation; the longest of the names that it begins with decides."""
    name = operation.removeprefix("aten::")
    found = [(len(start), group) for group, starts in GROUPS.items() for start in starts if name.startswith(start)]
    return max(found)[1] if found else REST


class Steps:
    """Steps of a training that are taken by hand, each part timed."""

    def __init__(self, setup: Setup) -> None:
        self.side, self.times = Side(setup), list[list[float]]()

    def both_ways(self, batch: Any, times: list[float]) -> None:
        """Go forward and back, and note when each was done."""
        training = self.side.training
        with autocast(training.device):
            loss = training.family.sums(training.model, batch).loss
        times.append(time.perf_counter())
        (loss / training.family.count(batch)).backward()
        times.append(time.perf_counter())

    def step(self, around: AbstractContextManager[Any] | None = None) -> None:
        """Take a step; `around` is a context for forward and backward."""
        side, times = self.side, [time.perf_counter()]
        batch = side.training.family.collate(side.items())
        times.append(time.perf_counter())
        with around or nullcontext():
            self.both_ways(batch, times)
        torch.nn.utils.clip_grad_norm_(side.training.model.parameters(), 1.0).item()
        times.append(time.perf_counter())
        side.optimizer.step()
        side.optimizer.zero_grad()
        times.append(time.perf_counter())
        self.times.append([end - begin for begin, end in pairwise(times)])


def groups(profiled: Any) -> dict[str, float]:
    """Return the seconds that the operations of each group spent themselves."""
    found = dict.fromkeys((*GROUPS, REST), 0.0)
    for entry in profiled.key_averages():
        found[group_of(entry.key)] += entry.self_cpu_time_total / 1e6
    return found


def prepared(folder: Path) -> Steps:
    """Set up the training of F4."""
    options = argparse.Namespace(
        size="base", batch_size=BATCH, steps=100, set=["optimizer=adamw"], vocab_size=VOCABULARY, side="hflm"
    )
    setup = set_up(config_of(options), RunFolder(folder), arch="bert", say=lambda text: None)
    widen(setup, VOCABULARY)
    return Steps(setup)


def measure() -> dict[str, Any]:
    """Return the seconds of each part of a step, and how near the products and the whole come to the ceiling."""
    with tempfile.TemporaryDirectory() as folder:
        steps, compiled = prepared(Path(folder)), prepared(Path(folder))
    compiled.side.training.model.compile()
    device = steps.side.training.device
    # The machine is not as fast all the time: its ceiling is looked for around the steps too, and the best counts.
    ceilings = [matmul_ceiling(device)]
    for _ in range(WARM_UP + STEPS):
        steps.step()
        compiled.step()
    ceilings.append(matmul_ceiling(device))
    taken = [profile(activities=[ProfilerActivity.CPU]) for _ in range(PROFILED)]
    for one in taken:
        steps.step(one)
    ceilings.append(matmul_ceiling(device))
    columns = zip(*steps.times[WARM_UP : WARM_UP + STEPS], strict=True)
    outer = {what: statistics.median(column) for what, column in zip(OUTER, columns, strict=True)}
    inner = [groups(one) for one in taken]
    return {
        "outer": outer, "inner": {group: statistics.median(one[group] for one in inner) for group in inner[0]},
        "operations": operations(steps.side.training.model), "ceiling": max(ceilings), "precision": device.precision,
        "compiled": statistics.median(map(sum, compiled.times[WARM_UP:])),
        "median": {"step": sum(outer.values())},
    }  # fmt: skip


def operations(model: Any) -> int:
    """Count the operations of a step."""
    tokens = BATCH * LENGTH
    predicted = int(PREDICTED * tokens)
    return 3 * forward_flops(flops_shape(model), tokens=tokens, sequence_length=LENGTH, predicted=predicted)


def lines(found: dict[str, Any]) -> str:
    """Return what came out, in Markdown."""
    whole, inner = found["median"]["step"], found["inner"]
    rows = ["", "| part of a step, BERT base, 16 x 128 | ms | share |", "|---|---|---|"]
    for what, spent in found["outer"].items():
        rows.append(f"| **{what}** | {1000 * spent:,.1f} | {spent / whole:.0%} |")
        if what == "backward":
            both = sum(inner.values())
            rows += [f"| both, by the profiler: {group} | {1000 * part:,.1f} | {part / both:.0%} of both |"
                     for group, part in sorted(inner.items(), key=lambda item: -item[1])]  # fmt: skip
    counted, ceiling = found["operations"], found["ceiling"]
    products = sum(inner[group] for group in list(GROUPS)[:2])
    rows += [
        "",
        f"The step has {counted / whole / 1e9:,.0f} GFLOP/s of {ceiling / 1e9:,.0f} ({found['precision']}): "
        f"{counted / whole / ceiling:.0%}. Its products by themselves have {counted / products / ceiling:.0%}. "
        f"Compiled by `--torch-compile` a step takes {1000 * found['compiled']:,.0f} ms in place of "
        f"{1000 * whole:,.0f}.",
        "",
    ]
    return "\n".join(rows)


def write(found: dict[str, Any]) -> None:
    """Put the table into the page."""
    PAGE.write_text(between(PAGE.read_text(), BEGIN, END, lines(found)))
