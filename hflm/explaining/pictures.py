"""The page's pictures as PNG files, for papers and slides."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hflm.errors import UsageError
from hflm.explaining.attention import Pooled, cell_name
from hflm.explaining.explanation import Explanation
from hflm.explaining.pieces import Piece
from hflm.explaining.reading import Floats
from hflm.plots import fonts_for, save_picture
from hflm.space import check_writable

FOR, AGAINST = "#1668b5", "#d2691e"
# Names at an edge of a map, and bars, that can be read.
MOST_NAMES, MOST_BARS = 48, 24


def check_pictures(folder: Path) -> None:
    """Make the folder; raises UsageError where no pictures can be written there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--png {folder} is a file.", fix="Name a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--png {folder} cannot be made: {error.strerror}.", fix="Name another folder.") from error
    check_writable(folder / "attribution.png")


def write_pictures(found: Explanation, folder: Path) -> list[Path]:
    """Draw what there is, and return the files: attribution, answers, heads, the telling head, rollout."""
    drawn: dict[str, Callable[[Any], None]] = {}
    if found.attribution:
        drawn["attribution"] = lambda axes: _attribution(found, axes)
    if found.question and found.question.unit != "output":
        drawn["answers"] = lambda axes: _answers(found, axes)
    drawn["rollout"] = lambda axes: _rollout(found, axes)
    import matplotlib

    paths = []
    # Before they are laid out: a font has widths of its own.
    with matplotlib.rc_context({"font.family": fonts_for(_texts(found))}):
        for name, draw in drawn.items():
            paths.append(_one(folder / f"{name}.png", draw, size=(6.4, _height(found, name))))
        for view, small in zip(found.views, found.pooled, strict=True):
            ending = "" if view.name == "self" else f"-{view.name}"
            paths.append(_heads(small.weights, folder / f"heads{ending}.png", title=view.title))
            paths.append(_head(found, view.rows, view.columns, small, folder / f"head{ending}.png", title=view.title))
    return paths


def _height(found: Explanation, name: str) -> float:
    if name == "rollout":
        return 5.6
    count = len(found.ranked) if name == "attribution" else len(found.question.candidates if found.question else [])
    return 1.3 + 0.26 * min(count, MOST_BARS)


def _one(path: Path, draw: Callable[[Any], None], *, size: tuple[float, float]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=120, layout="constrained")
    draw(figure.subplots())
    save_picture(figure, path)
    return path


def _attribution(found: Explanation, axes: Any) -> None:
    assert found.attribution and found.question
    ranked = found.ranked
    if len(ranked) > MOST_BARS:
        ranked = [*ranked[: MOST_BARS // 2], *ranked[-MOST_BARS // 2 :]]
    values = [found.attribution.values[place] for place in ranked]
    axes.barh(range(len(ranked)), values, color=[FOR if value >= 0 else AGAINST for value in values])
    axes.set_yticks(range(len(ranked)), [_plain(found.read.pieces[place].text) for place in ranked])
    axes.invert_yaxis()
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_xlabel(f"share of the {found.question.unit} of “{_plain(found.question.answer, 40)}”")
    axes.set_title("integrated gradients", fontsize=10)


def _answers(found: Explanation, axes: Any) -> None:
    assert found.question
    best = found.question.candidates[:MOST_BARS]
    axes.barh(range(len(best)), [one.probability for one in best], color=FOR)
    axes.set_yticks(range(len(best)), [_plain(one.answer, 40) for one in best])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability")
    axes.set_title(_plain(found.question.asked, 60), fontsize=10)


def _rollout(found: Explanation, axes: Any) -> None:
    names = [piece.text for piece in found.read.pieces]
    axes.imshow(found.rollout**0.5, cmap="Blues", vmin=0)
    _name(axes, names, names)
    axes.set_title("attention rollout: rows come from columns", fontsize=10)


def _heads(weights: Floats, path: Path, *, title: str) -> Path:
    """Draw all heads, small: layers downwards, heads to the right."""
    from matplotlib.figure import Figure

    layers, heads = weights.shape[:2]
    cell = min(0.9, 24 / max(layers, heads))
    figure = Figure(figsize=(max(heads * cell, 2) + 0.6, max(layers * cell, 1) + 0.7), dpi=120)
    grid = figure.subplots(layers, heads, squeeze=False, gridspec_kw={"wspace": 0.08, "hspace": 0.08})
    for layer in range(layers):
        for head in range(heads):
            axes = grid[layer][head]
            axes.imshow(weights[layer, head] ** 0.5, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set(xticks=[], yticks=[])
            if layer == 0:
                axes.set_title(head + 1, fontsize=7)
            if head == 0:
                axes.set_ylabel(layer + 1, fontsize=7, rotation=0, labelpad=8, va="center")
    figure.suptitle(f"{title}: layers down, heads across", fontsize=9)
    save_picture(figure, path)
    return path


def _head(
    found: Explanation, rows: Sequence[Piece], columns: Sequence[Piece], small: Pooled, path: Path, *, title: str
) -> Path:  # fmt: skip
    """Draw one head as a map and as arcs: that of the worked row, or the first of the last layer."""
    from matplotlib.figure import Figure

    worked = found.worked if rows is found.views[0].rows else None
    layer, head = (worked.layer, worked.head) if worked else (small.weights.shape[0] - 1, 0)
    weights = small.weights[layer, head]
    left = [cell_name(rows, cell) for cell in small.rows]
    right = [cell_name(columns, cell) for cell in small.columns]
    tall = min(max(3.6, 0.24 * max(len(left), len(right)) + 1.2), 14)
    figure = Figure(figsize=(10, tall), dpi=120, layout="constrained")
    one, other = figure.subplots(1, 2)
    one.imshow(weights**0.5, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    _name(one, left, right)
    for row, line in enumerate(weights):
        for column in line.argsort()[::-1][:4]:
            if line[column] >= 0.05:
                other.plot([0, 1], [row, column], color=FOR, alpha=min(0.15 + float(line[column]), 1.0), linewidth=1.6)
    _edge(other, left, x=-0.03, align="right")
    _edge(other, right, x=1.03, align="left")
    other.set(xlim=(-0.6, 1.6), ylim=(max(len(left), len(right)) - 0.5, -0.5))
    other.axis("off")
    figure.suptitle(f"{title}: layer {layer + 1}, head {head + 1}; left looks at right", fontsize=10)
    save_picture(figure, path)
    return path


def _edge(axes: Any, names: Sequence[str], *, x: float, align: str) -> None:
    for place in _shown(len(names)):
        axes.text(x, place, _plain(names[place]), ha=align, va="center", fontsize=8)


def _name(axes: Any, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_yticks(_shown(len(rows)), [_plain(rows[place]) for place in _shown(len(rows))], fontsize=8)
    axes.set_xticks(
        _shown(len(columns)), [_plain(columns[place]) for place in _shown(len(columns))], rotation=60, ha="right",
        rotation_mode="anchor", fontsize=8,
    )  # fmt: skip


def _shown(count: int) -> range:
    return range(0, count, -(-count // MOST_NAMES))


def _plain(text: str, most: int = 16) -> str:
    """Return a text as matplotlib draws it: short, and a dollar begins no formula."""
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


def _texts(found: Explanation) -> Iterator[str]:
    for view in found.views:
        yield from (piece.text for piece in (*view.rows, *view.columns))
    if found.question:
        yield from (found.question.asked, *(one.answer for one in found.question.candidates))
