"""Pictures of a graph: a PNG, and one page of HTML that needs nothing else, to be looked at and searched."""

import html
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import networkx as nx

from hflm.errors import UsageError
from hflm.graphs.graph import Graph
from hflm.graphs.graphml import to_networkx
from hflm.graphs.layout import places, short
from hflm.graphs.queries import find_entity
from hflm.plots import save_picture
from hflm.run import write_text

# More than these cannot be told apart on a picture; a layout of more would need another package.
MOST = 400
# Mentions of an edge that the page lists.
SHOWN = 20
TEMPLATE = Path(__file__).with_name("page.html")
# Colours that people who see no red or green tell apart (Okabe and Ito 2008); the last is for all other relations.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666")


def part_of(graph: Graph, *, top: int, around: str | None = None, hops: int = 2) -> Graph:
    """Return `top` entities, the most linked and those beside them, or the nearest to one, and their edges."""
    if not 1 <= top <= MOST:
        raise UsageError(f"--top is {top}.", fix=f"Give a number from 1 to {MOST}.")
    links = nx.Graph(to_networkx(graph, whole=False).to_undirected(as_view=True))
    order = sorted(links, key=lambda node: (-links.degree[node], node))
    if around is None:
        # The most linked with those beside it, then the next: hubs alone would hang on nothing.
        kept = set(islice(dict.fromkeys(end for node in order for end in (node, *links[node])), top))
    else:
        near = nx.single_source_shortest_path_length(links, find_entity(graph, around).id, cutoff=hops)
        kept = set(sorted(near, key=lambda node: (near[node], -links.degree[node], node))[:top])
    edges = [edge for edge in graph.edges if edge.head in kept and edge.tail in kept]
    # An entity none of whose neighbours is drawn says nothing here.
    linked = {end for edge in edges for end in (edge.head, edge.tail)} or kept
    return Graph({node: graph.entities[node] for node in graph.entities if node in linked}, edges, graph.about)


def _colours(graph: Graph) -> dict[str, str]:
    counts: dict[str, int] = {}
    for edge in graph.edges:
        counts[edge.relation] = counts.get(edge.relation, 0) + 1
    order = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: COLOURS[min(place, len(COLOURS) - 1)] for place, name in enumerate(order)}


def draw_png(graph: Graph, path: Path) -> None:
    """Draw entities as dots, edges as arrows coloured by relation, dashed where the text does not hold both ends."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import FancyArrowPatch

    at, colours = places(graph), _colours(graph)
    across, down = (max(xy) - min(xy) for xy in zip(*at.values(), strict=True))
    # A pixel of the layout is one of the picture, up to what a page holds.
    figure = Figure(figsize=(min(max(across / 100 + 2, 5), 22), min(max(down / 100 + 1.2, 4), 22)), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.margins(0.06)
    axes.invert_yaxis()
    for edge in graph.edges:
        axes.add_patch(FancyArrowPatch(
            at[edge.head], at[edge.tail], arrowstyle="-|>", mutation_scale=10, shrinkA=4, shrinkB=5,
            color=colours[edge.relation], linewidth=1.1, linestyle="-" if edge.found else "--", alpha=0.75,
            connectionstyle="arc3,rad=0.08",
        ))  # fmt: skip
    axes.scatter([x for x, _ in at.values()], [y for _, y in at.values()], s=20, color="#333333", zorder=3)
    for node, (x, y) in at.items():
        axes.annotate(
            _plain(graph.entities[node].name), (x, y), xytext=(0, 4), textcoords="offset points", fontsize=8,
            ha="center", zorder=4, bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
        )  # fmt: skip
    handles = [Line2D([], [], color=colour, label=_plain(name)) for name, colour in _legend(colours)]
    if handles:
        axes.legend(handles=handles, frameon=False, fontsize=9, loc="lower right")
    save_picture(figure, path)


def _legend(colours: dict[str, str]) -> Iterable[tuple[str, str]]:
    shown = [(name, colour) for name, colour in colours.items() if colour != COLOURS[-1]]
    rest = [name for name, colour in colours.items() if colour == COLOURS[-1]]
    return [*shown, *([(rest[0] if len(rest) == 1 else "other relations", COLOURS[-1])] if rest else [])]


def _plain(name: str) -> str:
    # A dollar would begin a formula.
    return short(name).replace("$", r"\$")


def write_page(graph: Graph, path: Path, *, title: str) -> None:
    """Write a page of HTML with the graph, its drawing and its script inside; it asks no network."""
    at, colours = places(graph), _colours(graph)
    content = {
        "nodes": [
            {"id": node, "name": entity.name, "type": entity.type, "aliases": entity.aliases, "count": entity.count,
             "x": round(at[node][0], 1), "y": round(at[node][1], 1)}
            for node, entity in graph.entities.items()
        ],
        "edges": [
            {"head": edge.head, "relation": edge.relation, "tail": edge.tail, "confidence": edge.confidence,
             "count": len(edge.mentions), "found": edge.found, "colour": colours[edge.relation],
             "mentions": [_mention(one) for one in edge.mentions[:SHOWN]]}
            for edge in graph.edges
        ],
        "legend": list(_legend(colours)),
    }  # fmt: skip
    # "</script>" in a name would end the script.
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    page = TEMPLATE.read_text(encoding="utf-8")
    write_text(path, page.replace("{{title}}", html.escape(title)).replace("{{data}}", data))


def _mention(mention: Any) -> dict[str, Any]:
    return {"file": mention.file, "line": mention.line, "head": mention.head, "tail": mention.tail,
            "confidence": mention.confidence}  # fmt: skip
