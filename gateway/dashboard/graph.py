"""A flow's graph as positioned boxes and paths: top to bottom, a layer per step of the strict order. Pure.

Flows are nearly linear, so the layout is the simple one of Sugiyama, Tagawa and Toda ("Methods for
Visual Understanding of Hierarchical System Structures", 1981): layers by longest path, a place kept
free in each layer that a long edge crosses, order within a layer by the middle of the neighbours.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.dashboard.words import Status, status

__all__ = ["Box", "Drawing", "Path", "draw_flow"]

WIDTH, HEIGHT = 212, 46
SMALL = 30  # height of start, end and join
GAP_X, GAP_Y, MARGIN = 20, 26, 6
LANE = 16  # width of the place that a passing edge keeps
_PLAIN = {"start", "end", "join"}


class NodeLike(Protocol):
    """What is drawn as a box; ``kind`` is start, end, join or a node's kind."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def detail(self) -> str: ...


class EdgeLike(Protocol):
    """What is drawn as a path."""

    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def label(self) -> str: ...


class GraphLike(Protocol):
    """A flow's graph, as ``Flow.graph()`` gives it."""

    @property
    def nodes(self) -> Sequence[NodeLike]: ...
    @property
    def edges(self) -> Sequence[EdgeLike]: ...


@dataclass(frozen=True, slots=True)
class Box:
    """A node on paper, in pixels; ``x`` and ``y`` are its upper left corner."""

    id: str
    kind: str
    label: str
    detail: str
    x: float
    y: float
    width: float
    height: float
    status: Status


@dataclass(frozen=True, slots=True)
class Path:
    """An edge on paper: ``d`` is an SVG path; ``taken`` is whether the run went along it."""

    d: str
    label: str
    label_x: float
    label_y: float
    taken: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph on paper, in pixels."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[Path, ...]


def draw_flow(graph: GraphLike, states: Mapping[str, str] | None = None) -> Drawing:
    """Places a graph. ``states`` maps nodes' ids to status names; what it leaves out is "ahead"."""
    known = dict(states or {})
    nodes = {node.id: node for node in graph.nodes}
    layers = _layers(graph)
    chains, rows = _rows(graph, layers)
    _order(rows, chains)
    centres, width = _centres(rows, nodes, chains)
    tops = _tops(rows, nodes)
    boxes = tuple(
        _box(node, centres[node.id], tops[layers[node.id]], known.get(node.id, "ahead"))
        for node in graph.nodes
    )
    by_id = {box.id: box for box in boxes}
    paths = tuple(
        _path(edge, chain, by_id, centres, tops)
        for edge, chain in zip(graph.edges, chains, strict=True)
        if edge.source in by_id and edge.target in by_id
    )
    height = max((box.y + box.height for box in boxes), default=0) + MARGIN
    return Drawing(width, height, boxes, paths)


def _layers(graph: GraphLike) -> dict[str, int]:
    """The length of the longest path to each node; edges that would close a circle don't count."""
    after: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    waiting = dict.fromkeys(after, 0)
    for edge in graph.edges:
        if edge.source in after and edge.target in after:
            after[edge.source].append(edge.target)
            waiting[edge.target] += 1
    layers = dict.fromkeys(after, 0)
    ready = [node for node, count in waiting.items() if count == 0]
    while ready:
        node = ready.pop(0)
        for target in after[node]:
            layers[target] = max(layers[target], layers[node] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return layers


def _rows(graph: GraphLike, layers: Mapping[str, int]) -> tuple[list[list[str]], list[list[str]]]:
    """Each edge as a chain through one place a layer, and the places of each layer."""
    rows: list[list[str]] = [[] for _ in range(max(layers.values(), default=0) + 1)]
    for node in graph.nodes:
        rows[layers[node.id]].append(node.id)
    chains = []
    for number, edge in enumerate(graph.edges):
        chain = [edge.source]
        for layer in range(layers.get(edge.source, 0) + 1, layers.get(edge.target, 0)):
            place = f"\0{number}:{layer}"
            rows[layer].append(place)
            chain.append(place)
        chains.append([*chain, edge.target])
    return chains, rows


def _order(rows: list[list[str]], chains: Sequence[Sequence[str]]) -> None:
    """Sorts each layer by the middle of its neighbours above, then below, twice."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for chain in chains:
        for source, target in itertools.pairwise(chain):
            below.setdefault(source, []).append(target)
            above.setdefault(target, []).append(source)
    for _ in range(2):
        for index in range(1, len(rows)):
            _sort(rows[index], rows[index - 1], above)
        for index in range(len(rows) - 2, -1, -1):
            _sort(rows[index], rows[index + 1], below)


def _sort(row: list[str], other: Sequence[str], neighbours: Mapping[str, Sequence[str]]) -> None:
    place = {name: index / max(len(other) - 1, 1) for index, name in enumerate(other)}
    here = {name: index / max(len(row) - 1, 1) for index, name in enumerate(row)}

    def middle(name: str) -> float:
        found = [place[each] for each in neighbours.get(name, ()) if each in place]
        return sum(found) / len(found) if found else here[name]

    row.sort(key=middle)


def _centres(
    rows: Sequence[Sequence[str]], nodes: Mapping[str, NodeLike], chains: Sequence[Sequence[str]]
) -> tuple[dict[str, float], float]:
    """The middle of each place, and the width of it all: boxes are centred, passing edges go beside them."""
    real = [[name for name in row if name in nodes] for row in rows]
    wide = max((WIDTH * len(row) + GAP_X * (len(row) - 1) for row in real), default=0)
    centres, right = {}, []
    for row in real:
        x = MARGIN + (wide - WIDTH * len(row) - GAP_X * (len(row) - 1)) / 2
        for name in row:
            centres[name] = x + WIDTH / 2
            x += WIDTH + GAP_X
        right.append(x - GAP_X)
    edge: float = MARGIN + wide
    for chain in chains:
        passed = [index for index, row in enumerate(rows) if any(place in row for place in chain[1:-1])]
        if passed:
            x = max(right[index] for index in passed) + LANE
            for index in passed:
                right[index] = x
            centres |= dict.fromkeys(chain[1:-1], x)
            edge = max(edge, x)
    return centres, edge + MARGIN


def _tops(rows: Sequence[Sequence[str]], nodes: Mapping[str, NodeLike]) -> list[float]:
    tops, y = [], float(MARGIN)
    for row in rows:
        tops.append(y)
        y += max((_height(nodes[name].kind) for name in row if name in nodes), default=SMALL) + GAP_Y
    return tops


def _height(kind: str) -> float:
    return SMALL if kind in _PLAIN else HEIGHT


def _box(node: NodeLike, centre: float, top: float, state: str) -> Box:
    width = 84 if node.kind in _PLAIN else WIDTH
    return Box(
        node.id,
        node.kind,
        node.label,
        node.detail,
        centre - width / 2,
        top,
        width,
        _height(node.kind),
        status(state),
    )


def _path(
    edge: EdgeLike,
    chain: Sequence[str],
    boxes: Mapping[str, Box],
    centres: Mapping[str, float],
    tops: Sequence[float],
) -> Path:
    source, target = boxes[edge.source], boxes[edge.target]
    points = [(centres[edge.source], source.y + source.height)]
    layer = next(index for index, top in enumerate(tops) if top == source.y)
    for step, place in enumerate(chain[1:-1], start=1):
        points.append((centres[place], tops[layer + step]))
        points.append((centres[place], tops[layer + step] + HEIGHT))
    points.append((centres[edge.target], target.y))
    d = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        middle = (y1 + y2) / 2
        d += f" L{x2:g} {y2:g}" if x1 == x2 else f" C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
    first, second = points[0], points[1]
    taken = source.status.name not in ("ahead", "skipped") and target.status.name not in ("ahead", "skipped")
    return Path(d, edge.label, first[0] + (second[0] - first[0]) * 0.8 + 6, second[1] - 8, taken)
