"""One HTML file that needs nothing else: no network, no other file, and nothing of the text or model runs in it."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hflm import __version__
from hflm.errors import UsageError
from hflm.explaining.anatomy import shape_text
from hflm.explaining.attention import Pooled, cell_name
from hflm.explaining.deletion import Deletion
from hflm.explaining.explanation import Explanation
from hflm.explaining.pieces import Segment, segments
from hflm.explaining.reading import Floats, View
from hflm.run import write_text
from hflm.space import check_writable

PARTS = Path(__file__).parent / "page"
# By this a page of ours is known, and may be written over.
MARK = '<meta name="generator" content="hflm explain">'
# Inside, width and height of the picture of deletion.
WIDE, HIGH = 520, 170


def check_page(path: Path) -> None:
    """Raise UsageError where a page may not be written: no folder, or a file that is no page of ours."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "is a folder" if path.is_dir() else "lies in no folder that is there"
        raise UsageError(f"--output {path} {what}.", fix="Name a file, such as page.html.")
    if path.exists() and MARK.encode() not in path.read_bytes()[:2000]:
        raise UsageError(f"{path} is there, and no page of `hflm explain`.", fix="Name another file.")
    check_writable(path)


def write_page(found: Explanation, path: Path) -> Path:
    """Write the page whole, and return its path."""
    write_text(path, render(found))
    return path


def render(found: Explanation) -> str:
    """Return the page as HTML. All that comes from text or model is escaped; the script may only be our own."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    script = (PARTS / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    room = Environment(
        loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    room.filters["shape"] = shape_text
    return room.get_template("page.html").render(
        found=found, model=found.model, read=found.read, question=found.question, attribution=found.attribution,
        deletion=found.deletion, worked=found.worked, version=__version__, script=script, digest=digest,
        style=(PARTS / "style.css").read_text(encoding="utf-8"), data=_data(found), mark=MARK,
        heat=_heat(found, found.attribution.values) if found.attribution else [],
        reached=_heat(found, _reached(found)), lines=_lines(found.deletion), wide=WIDE, high=HIGH,
        rtl=is_right_to_left(found.read.text), strongest=max(map(abs, found.attribution.values), default=1)
        if found.attribution else 1,
    )  # fmt: skip


def is_right_to_left(text: str) -> bool:
    """Tell whether a text begins, digits and signs apart, with a letter written from right to left."""
    import unicodedata

    kinds = (unicodedata.bidirectional(letter) for letter in text)
    return next((kind for kind in kinds if kind in ("L", "R", "AL")), "L") != "L"


def _reached(found: Explanation) -> list[float]:
    """Return how much of each token reaches the place of the answer by rollout; what opens and closes a text aside."""
    row = [float(one) for one in found.rollout[found.place]]
    return [0.0 if piece.special else value for piece, value in zip(found.read.pieces, row, strict=True)]


def _heat(found: Explanation, values: Sequence[float]) -> list[tuple[Segment, float, float]]:
    """Return the segments of the text with the sum of their tokens, and that as a share of the greatest."""
    parts = [(one, sum(values[one.first : one.last])) for one in segments(found.read)]
    most = max((abs(value) for _, value in parts), default=0) or 1
    return [(one, value, value / most) for one, value in parts]


def _lines(deletion: Deletion | None) -> dict[str, Any]:
    """Return the points of the two lines of deletion, and the values at the edges."""
    if deletion is None:
        return {}
    values = [0.0, *deletion.top, *deletion.random]
    low, high = min(values), max(values)
    across, up = max(deletion.removed), (high - low) or 1

    def points(line: Sequence[float]) -> str:
        placed = zip([0, *deletion.removed], [0.0, *line], strict=True)
        return " ".join(f"{count / across * WIDE:.1f},{(value - low) / up * HIGH:.1f}" for count, value in placed)

    return {"top": points(deletion.top), "random": points(deletion.random), "low": low, "high": high, "across": across}


def _data(found: Explanation) -> str:
    """Return what the script draws, as JSON that cannot end its element."""
    views = [_view(view, small) for view, small in zip(found.views, found.pooled, strict=True)]
    one = View("rollout", "rollout", found.views[0].rows, found.views[0].columns, found.rollout[None, None])
    from hflm.explaining.attention import pool

    worked = found.worked
    content = {
        "views": views, "rollout": _view(one, pool(one, cells=128 * 128)), "place": found.place,
        "start": [worked.layer, worked.head] if worked else [found.model.layers - 1, 0],
    }  # fmt: skip
    text = json.dumps(content, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _view(view: View, small: Pooled) -> dict[str, Any]:
    return {
        "title": view.title,
        "rows": [cell_name(view.rows, cell) for cell in small.rows],
        "columns": [cell_name(view.columns, cell) for cell in small.columns],
        "firsts": [first for first, _ in small.rows],
        "layers": small.weights.shape[0],
        "heads": small.weights.shape[1],
        "data": base64.b64encode(_bytes(small.weights).tobytes()).decode(),
    }


def _bytes(weights: Floats) -> NDArray[np.uint8]:
    """Return weights as a byte each: the square root, for the sake of small ones; off by 0.004 at most."""
    rooted: NDArray[np.uint8] = np.rint(np.sqrt(weights.clip(0, 1)) * 255).astype(np.uint8)
    return rooted
