"""Pictures of a run."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hflm.run import set_aside

# With more classes than this, cells hold no numbers and the picture grows no further.
MOST_NUMBERED = 30
# Letters of a class's name.
LONGEST_NAME = 24


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; of a step logged twice, before and after a resume, the later counts."""
    if not path.is_file():
        return []
    lines: dict[tuple[int, bool], dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the last line of a killed run may be cut
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            continue
        lines[line["step"], "eval_loss" in line] = line
    return [lines[key] for key in sorted(lines)]


def plot_loss(
    log: list[dict[str, Any]], path: Path, *, title: str, baselines: Mapping[str, float] | None = None
) -> None:
    """Draw training and evaluation loss over steps, with named baselines as level lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for key, name, style in (("loss", "training", "-"), ("eval_loss", "evaluation", "o-")):
        points = [(line["step"], line[key]) for line in log if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=4, linewidth=1.4)
    for name, value in (baselines or {}).items():
        axes.axhline(value, color="0.5", linestyle="--", linewidth=1, label=f"{name} ({value:.2f})")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss (nats a token)")
    axes.set_title(title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    _save(figure, path)


def plot_confusion(table: Sequence[Sequence[int]], labels: Sequence[str], path: Path) -> None:
    """Draw how often each class [rows] was taken for each [columns], shaded by the share of its row."""
    from matplotlib.figure import Figure

    many = len(labels) > MOST_NUMBERED
    size = max(3.5, 0.45 * min(len(labels), MOST_NUMBERED) + 2.5)
    figure = Figure(figsize=(size, size), dpi=120, layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(sum(row), 1) for count in row] for row in table]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, counts in enumerate([] if many else table):
        for column, count in enumerate(counts):
            colour = "white" if shares[row][column] > 0.6 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    # Of many classes every other name is written, or every tenth: as many as can be read.
    shown = range(0, len(labels), -(-len(labels) // MOST_NUMBERED))
    names = [_short(labels[place]) for place in shown]
    axes.set_xticks(shown, names, rotation=90 if many else 45, ha="center" if many else "right")
    axes.set_yticks(shown, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("reference")
    _save(figure, path)


def plot_tradeoff(
    points: Mapping[str, Mapping[str, float]], path: Path, *, score: str, title: str, speed: str = "rows a second"
) -> None:
    """Draw a score with its 95 % interval over speed: a named point for each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, point in points.items():
        ends = [[point["value"] - point["low"]], [point["high"] - point["value"]]]
        axes.errorbar(point["rate"], point["value"], yerr=ends, fmt="o", capsize=3, label=_short(name))
    axes.set_xlim(left=0)
    axes.set_xlabel(speed)
    axes.set_ylabel(score)
    axes.set_title(title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def _short(label: str) -> str:
    # A dollar would begin a formula.
    return (label if len(label) <= LONGEST_NAME else f"{label[: LONGEST_NAME - 1]}…").replace("$", r"\$")


def _save(figure: Any, path: Path) -> None:
    """Write a picture whole; letters that no font here has, as of Chinese, are drawn as boxes without a word."""
    staging = path.with_name(f".{path.name}.part.png")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(staging)
    if path.is_dir():
        set_aside(path)
    staging.replace(path)


# For pictures that other rooms draw.
save_picture = _save
