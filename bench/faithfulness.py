"""Is what `hflm explain` names what a classifier's answer hangs on? Words are taken away, and the log odds fall.

python -m bench.faithfulness RUN rows.jsonl 100

Results go to bench/results/faithfulness.json, their table into docs/explaining.md.

For each row: the mean fall of the answer's log odds without a tenth to half of its tokens, in the order of integrated
gradients, of attention rollout, of the last layer's attention, of chance (the mean of ten orders), and in that of
integrated gradients turned round. Intervals are bootstrap 95 % over rows.
"""

import argparse
import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import machine
from hflm.explain import explain
from hflm.explaining.deletion import delete
from hflm.explaining.opened import open_model
from hflm.explaining.reading import read_through

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "bench" / "results" / "faithfulness.json", ROOT / "docs" / "explaining.md"
BEGIN, END = "<!-- faithfulness: begin -->\n", "<!-- faithfulness: end -->"


def fall_of(opened: Any, text: str) -> dict[str, float] | None:
    """Return the mean fall of the log odds of a text's answer by order of removal; None for a text of few tokens."""
    found = explain(opened, text)
    assert found.attribution and found.question
    if found.deletion is None:
        return None
    reading = read_through(opened, found.read.pieces)
    attended = found.views[0].weights[-1].mean(0)[found.place]
    orders: dict[str, Sequence[float]] = {
        "integrated gradients": found.attribution.values,
        "rollout": [float(one) for one in found.rollout[found.place]],
        "attention of the last layer": [float(one) for one in attended],
        "integrated gradients, turned round": [-one for one in found.attribution.values],
    }
    falls = {"chance": found.deletion.random_mean}
    for name, values in orders.items():
        removed = delete(opened, found.read.pieces, reading, found.question, values, orders=1)
        assert removed
        falls[name] = removed.top_mean
    falls["missed share"] = abs(found.attribution.gap) / max(abs(sum(found.attribution.values)), 0.1)
    return falls


def interval(values: Sequence[float], *, draws: int = 2000) -> dict[str, float]:
    """Return the mean and its bootstrap interval."""
    draw = np.random.default_rng(1)
    means = np.array(values)[draw.integers(len(values), size=(draws, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"mean": float(np.mean(values)), "low": float(low), "high": float(high)}


def table(found: Any) -> str:
    """Return the rows of the docs, the order that costs most first."""
    falls = {name: one for name, one in found["fall of log odds"].items() if name != "missed share"}
    lines = [
        f"| {name} | {one['mean']:.2f} ({one['low']:.2f} to {one['high']:.2f}) |"
        for name, one in sorted(falls.items(), key=lambda pair: -pair[1]["mean"])
    ]
    more = found["more than chance"]["rows"]
    missed = found["fall of log odds"]["missed share"]["mean"]
    said = (
        f"Of {found['rows']} texts, in {more} those named first cost more than random ones; the sum missed "
        f"{missed:.2%} of\nwhat there was to explain on average."
    )
    return "\n".join(["| order | fall |", "|---|---|", *lines, "", said, ""])


def main() -> None:
    """Measure a model on rows with a column `text`."""
    parser = argparse.ArgumentParser(prog="python -m bench.faithfulness", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("rows_file", type=Path)
    parser.add_argument("count", type=int, nargs="?", default=100)
    options = parser.parse_args()
    opened = open_model(options.model)
    lines = options.rows_file.read_text(encoding="utf-8").splitlines()
    chosen = np.random.default_rng(1).permutation(len(lines))[: options.count]
    falls = []
    for number, place in enumerate(chosen, start=1):
        one = fall_of(opened, json.loads(lines[place])["text"])
        falls += [one] if one else []
        print(f"{number} of {len(chosen)}", one and {name: round(value, 3) for name, value in one.items()}, flush=True)
    names = list(falls[0])
    found: dict[str, Any] = {"machine": machine(), "date": datetime.date.today().isoformat(), "rows": len(falls)}
    found["fall of log odds"] = {name: interval([one[name] for one in falls]) for name in names}
    more = [one["integrated gradients"] - one["chance"] for one in falls]
    found["more than chance"] = {**interval(more), "rows": sum(one > 0 for one in more)}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + table(found) + END + rest.split(END)[1], encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
