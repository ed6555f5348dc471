"""What can be said of attention weights: rollout, habits of heads, and maps small enough to be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hflm.explaining.pieces import Piece
from hflm.explaining.reading import Floats, View


@dataclass(frozen=True)
class Habits:
    """Where the heads of a layer look on average: shares of the weight, distance in tokens, and entropy in bits."""

    itself: float
    before: float
    after: float
    special: float
    distance: float
    entropy: float


@dataclass(frozen=True)
class Pooled:
    """A view made small: `rows` and `columns` give the tokens [first, last) of each cell; each row still sums to 1."""

    weights: Floats
    rows: list[tuple[int, int]]
    columns: list[tuple[int, int]]

    @property
    def is_pooled(self) -> bool:
        """Tell whether a cell stands for more than one token."""
        return any(last - first > 1 for first, last in (*self.rows, *self.columns))


def rollout(weights: Floats) -> Floats:
    """Return attention rollout [T, T] of weights [L, H, T, T] (Abnar & Zuidema 2020, section 3).

    Heads are averaged; half of what leaves a layer is what came in past it, so A' = (A + I) / 2 with rows that sum to
    1; the layers are multiplied, the last on the left. Row t tells how much of each token of the text reaches t.
    """
    size = weights.shape[-1]
    whole = np.eye(size)
    for layer in weights.mean(axis=1, dtype=np.float64):
        mixed = (layer + np.eye(size)) / 2
        whole = mixed / mixed.sum(axis=-1, keepdims=True) @ whole
    result: Floats = whole.astype(np.float32)
    return result


def habits(view: View) -> list[Habits]:
    """Return the habits of each layer of a view of tokens that look at the same tokens."""
    size = view.weights.shape[-1]
    place = np.arange(size)
    ahead = place[None, :] - place[:, None]  # [T, T]
    special = np.array([piece.special for piece in view.columns])
    found = []
    for layer in (one.astype(np.float64) for one in view.weights):
        mean = layer.mean(axis=0)  # [T, T]
        entropy = -(layer * np.log2(np.maximum(layer, 1e-12))).sum(-1).mean()

        def share(where: object, mean: np.ndarray = mean) -> float:
            return float((mean * where).sum() / size)

        found.append(
            Habits(share(ahead == 0), share(ahead == -1), share(ahead == 1), share(special[None, :]),
                   share(np.abs(ahead)), float(entropy))
        )  # fmt: skip
    return found


def pool(view: View, *, cells: int) -> Pooled:
    """Make a view small enough that all its heads have at most `cells` cells.

    Neighbouring tokens are put together: the mean of rows, and the sum of columns.
    """
    layers, heads, rows, columns = view.weights.shape
    side = max(16, int((cells / (layers * heads)) ** 0.5))
    row_cells, column_cells = _runs(rows, side), _runs(columns, side)
    weights = np.add.reduceat(view.weights, [first for first, _ in row_cells], axis=2)
    weights /= np.array([last - first for first, last in row_cells])[:, None]
    weights = np.add.reduceat(weights, [first for first, _ in column_cells], axis=3)
    return Pooled(weights, row_cells, column_cells)


def _runs(length: int, side: int) -> list[tuple[int, int]]:
    """Cut 0 .. length into at most `side` runs of like length."""
    run = -(-length // side)
    return [(first, min(first + run, length)) for first in range(0, length, run)]


def cell_name(pieces: Sequence[Piece], cell: tuple[int, int]) -> str:
    """Return what stands at a map's edge for a cell."""
    first, last = cell
    return pieces[first].text if last - first == 1 else f"{pieces[first].text}…{pieces[last - 1].text}"
