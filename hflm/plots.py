"""Pictures of a run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; of a step logged twice, before and after a resume, the later counts."""
    if not path.exists():
        return []
    lines: dict[tuple[int, bool], dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the last line of a killed run may be cut
        lines[line["step"], "eval_loss" in line] = line
    return [lines[key] for key in sorted(lines)]


def plot_loss(log: list[dict[str, Any]], path: Path, *, title: str, baselines: Mapping[str, float]) -> None:
    """Draw training and evaluation loss over steps, with named baselines as level lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for key, name, style in (("loss", "training", "-"), ("eval_loss", "evaluation", "o-")):
        points = [(line["step"], line[key]) for line in log if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=4, linewidth=1.4)
    for name, value in baselines.items():
        axes.axhline(value, color="0.5", linestyle="--", linewidth=1, label=f"{name} ({value:.2f})")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss (nats a token)")
    axes.set_title(title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    staging = path.with_name(f".{path.name}.part.png")
    figure.savefig(staging)
    staging.replace(path)
