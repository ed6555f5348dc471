"""Places for a drawing: parts that do not hang together side by side, and no name upon another."""

import math
from collections.abc import Sequence

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from hflm.graphs.graph import Graph
from hflm.graphs.graphml import to_networkx
from hflm.text_width import columns

Points = NDArray[np.float64]
# In pixels: a letter of a name, a name's height with its dot, the room between two parts, that of one entity.
LETTER, HEIGHT, GAP, ROOM = 6.6, 34.0, 36.0, 50.0
LONGEST = 28
ROUNDS = 200
# Width to height of the whole.
SHAPE = 1.35


def places(graph: Graph) -> dict[str, tuple[float, float]]:
    """Return the pixel (x, y) of each entity, the same each time; the first part stands top left."""
    links = nx.Graph(to_networkx(graph, whole=False).to_undirected(as_view=True))
    parts = sorted((sorted(part) for part in nx.connected_components(links)), key=lambda part: (-len(part), part))
    widths = {node: LETTER * columns(short(graph.entities[node].name)) + 12 for node in links}
    drawn = [_part(links.subgraph(part), np.array([widths[node] for node in part]), part) for part in parts]
    found: dict[str, tuple[float, float]] = {}
    for part, points, (left, top) in zip(parts, drawn, _pack(drawn, parts, widths), strict=True):
        found.update({node: (float(x + left), float(y + top)) for node, (x, y) in zip(part, points, strict=True)})
    return found


def short(name: str) -> str:
    """Return a name as it is drawn."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _part(links: "nx.Graph[str]", widths: Points, nodes: Sequence[str]) -> Points:
    """Return the places [N, 2] of a part, by springs, its upper left corner at 0."""
    springs = nx.spring_layout(links, seed=1, iterations=100)
    points = np.array([springs[node] for node in nodes]) * ROOM * math.sqrt(len(nodes)) * (1.3, 0.8)
    for _ in range(ROUNDS):
        if not _push(points, widths):
            break
    halves = np.stack([widths / 2, np.full(len(nodes), HEIGHT / 2)], axis=1)
    corner: Points = points - (points - halves).min(axis=0)
    return corner


def _push(points: Points, widths: Points) -> bool:
    """Push names that lie on each other apart, along the side where less is shared; tell whether any did."""
    gaps = points[:, None] - points[None]  # [N, N, 2]
    sizes = np.stack([(widths[:, None] + widths[None]) / 2, np.full((len(points),) * 2, HEIGHT)], axis=-1)
    over = np.maximum(sizes - np.abs(gaps), 0)
    over[(over <= 0).any(axis=-1)] = 0
    np.einsum("iij->ij", over)[:] = 0
    if not over.any():
        return False
    across = over[..., 0] < over[..., 1]
    over[..., 0][~across] = 0
    over[..., 1][across] = 0
    # Of two in the very same place, the first goes up or left.
    order = np.sign(np.arange(len(points))[:, None] - np.arange(len(points))[None])
    signs = np.where(gaps == 0, order[..., None], np.sign(gaps))
    points += 0.3 * (signs * over).sum(axis=1)
    return True


def _pack(
    drawn: Sequence[Points], parts: Sequence[Sequence[str]], widths: dict[str, float]
) -> list[tuple[float, float]]:
    """Return the upper left corner of each part, set in rows like words on a page."""
    sizes = [
        (max(x + widths[node] / 2 for node, (x, _) in zip(part, points, strict=True)) + GAP,
         float(points[:, 1].max()) + HEIGHT / 2 + GAP)
        for part, points in zip(parts, drawn, strict=True)
    ]  # fmt: skip
    page = max(max(width for width, _ in sizes), math.sqrt(SHAPE * sum(width * height for width, height in sizes)))
    corners, x, y, row = [], 0.0, 0.0, 0.0
    for width, height in sizes:
        if x and x + width > page:
            x, y, row = 0.0, y + row, 0.0
        corners.append((x, y))
        x, row = x + width, max(row, height)
    return corners
