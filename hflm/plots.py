"""Pictures of a run."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hflm.run import set_aside

# With more classes than this, cells hold no numbers and the picture grows no further.
MOST_NUMBERED = 30
OWN_FONT = "DejaVu Sans"
# matplotlib brings it along: it says that it has every letter, and draws each as a box.
NO_FONT = "Last Resort"
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
    log: list[dict[str, Any]], path: Path, *, title: str, baselines: Mapping[str, float] | None = None,
    unit: str = "token",
) -> None:  # fmt: skip
    """Draw training and evaluation loss in nats a `unit` over steps, with named baselines as level lines."""
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
    axes.set_ylabel(f"loss (nats a {unit})")
    axes.set_title(_plain(title))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    save_picture(figure, path)


def plot_confusion(table: Sequence[Sequence[int]], labels: Sequence[str], path: Path) -> None:
    """Draw how often each class [rows] was taken for each [columns], shaded by the share of its row."""
    from matplotlib.figure import Figure

    many = len(labels) > MOST_NUMBERED
    size = max(3.5, 0.45 * min(len(labels), MOST_NUMBERED) + 2.5)
    figure = Figure(figsize=(size, size), dpi=120, layout="constrained")
    axes = figure.subplots()
    shares = [[count / total for count in row] for row in table for total in (max(sum(row), 1),)]
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
    save_picture(figure, path)


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
    axes.set_title(_plain(title))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    save_picture(figure, path)


def _short(label: str) -> str:
    return _plain(label if len(label) <= LONGEST_NAME else f"{label[: LONGEST_NAME - 1]}…")


def _plain(text: str) -> str:
    # A dollar would begin a formula.
    return text.replace("$", r"\$")


def fonts_for(texts: Iterable[str]) -> list[str]:
    """Name matplotlib's own font, and behind it those of this machine that have the letters it lacks."""
    from matplotlib.font_manager import fontManager, get_font

    lacking = {ord(letter) for text in texts for letter in text if letter.isprintable()}
    own = next(one for one in fontManager.ttflist if one.name == OWN_FONT and one.style == "normal")
    lacking -= set(get_font(own.fname).get_charmap())
    families = [OWN_FONT]
    for one in fontManager.ttflist if lacking else ():
        if one.name in families or one.name.startswith(NO_FONT):
            continue
        if one.style != "normal" or str(one.weight) not in ("400", "normal", "regular"):
            continue
        try:
            has = lacking & set(get_font(one.fname).get_charmap())
        except (RuntimeError, OSError):
            continue  # a font that cannot be opened has no letters
        if has:
            families.append(one.name)
            lacking -= has
        if not lacking:
            break
    return families


def save_picture(figure: Any, path: Path) -> None:
    """Write a picture whole; letters that no font of this machine has are drawn as boxes without a word."""
    from matplotlib.text import Text

    written = figure.findobj(Text)
    families = fonts_for(text.get_text() for text in written)
    for text in written if len(families) > 1 else ():
        text.set_fontfamily(families)
    staging = path.with_name(f".{path.name}.part.png")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(staging)
    if path.is_dir():
        set_aside(path)
    staging.replace(path)
