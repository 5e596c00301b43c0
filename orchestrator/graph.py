"""A flow as it is drawn: the graph on the dashboard is the graph that runs."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.nodes import Call, Emit, Parallel, Sleep, Step, Wait, When
from orchestrator.plan import KINDS, Place, Plan

__all__ = ["Graph", "GraphEdge", "GraphNode", "draw"]


@dataclass(frozen=True, slots=True)
class GraphNode:
    """``kind`` is start, end, join or a node's kind; ``detail`` says in words what it does."""

    id: str
    kind: str
    label: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """What comes after what; ``label`` where there is a choice."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order of the flow, and the edges between them."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


START, END = "(start)", "(end)"


def draw(plan: Plan) -> Graph:
    """The graph of a plan, with a start, an end, and a join for each fork."""
    nodes = [GraphNode(START, "start", "start")]
    edges = [GraphEdge(START, plan.first)]
    for name, place in plan.places.items():
        nodes.append(GraphNode(name, KINDS[type(place.node)], name, _detail(place)))
        if isinstance(place.node, Parallel):
            nodes.append(GraphNode(_join(name), "join", place.node.mode))
            edges.append(GraphEdge(_join(name), _after(place)))
        edges.extend(_edges(name, place))
    nodes.append(GraphNode(END, "end", "end"))
    return Graph(tuple(nodes), tuple(edges))


def _join(fork: str) -> str:
    return f"{fork} (join)"


def _after(place: Place) -> str:
    if place.next is not None:
        return place.next
    return _join(place.joins) if place.joins else END


def _edges(name: str, place: Place) -> list[GraphEdge]:
    match place.node:
        case When():
            labels = ("yes", "no")
            return [
                GraphEdge(name, head or _after(place), label)
                for head, label in zip(place.heads, labels, strict=True)
            ]
        case Parallel():
            return [GraphEdge(name, head) for head in place.heads if head]
        case _:
            return [GraphEdge(name, _after(place))]


def _detail(place: Place) -> str:
    match place.node:
        case Step() as node:
            where = f"at {node.at}" if node.at else "here"
            back = "; can be undone" if node.compensate else ""
            return f"{where}{back}{'; pivot' if node.pivot else ''}"
        case Emit(type=type):
            return f"event {type}"
        case Wait() as node:
            return f"for signal {node.signal}" if node.signal else f"for {node.type} by {node.by}"
        case Sleep(seconds=seconds):
            return f"{seconds:g} s"
        case Call(flow=flow):
            return f"flow {flow}"
        case _:
            return ""
