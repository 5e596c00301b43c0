"""The drawing of a flow."""

from __future__ import annotations

from itertools import combinations

from gateway.dashboard.graph import draw_flow
from orchestrator.graph import Graph, GraphEdge, GraphNode
from tests.gateway.dashboard.rides import flows

RIDE, REFUND = (flow.graph() for flow in flows())


def test_a_straight_flow_is_drawn_top_to_bottom() -> None:
    """Each step is below the one before, all in one column."""
    drawing = draw_flow(RIDE)
    assert [box.id for box in sorted(drawing.boxes, key=lambda box: box.y)] == [
        node.id for node in RIDE.nodes
    ]
    assert len({box.x + box.width / 2 for box in drawing.boxes}) == 1
    assert len(drawing.paths) == len(RIDE.edges)


def test_boxes_never_overlap_and_stay_on_the_paper() -> None:
    """Branches stand beside each other."""
    drawing = draw_flow(REFUND)
    for one, other in combinations(drawing.boxes, 2):
        apart = (
            one.x + one.width <= other.x
            or other.x + other.width <= one.x
            or one.y + one.height <= other.y
            or other.y + other.height <= one.y
        )
        assert apart, (one.id, other.id)
    assert all(box.x >= 0 and box.x + box.width <= drawing.width for box in drawing.boxes)
    assert all(box.y >= 0 and box.y + box.height <= drawing.height for box in drawing.boxes)


def test_an_edge_that_skips_a_step_goes_around_it() -> None:
    """The way of a choice that was not taken does not run through the step that it skips."""
    drawing = draw_flow(REFUND)
    skipped = next(box for box in drawing.boxes if box.id == "approval")
    around = next(path for path in drawing.paths if path.label == "no")
    numbers = [float(part) for part in around.d.replace("M", " ").replace("L", " ").replace("C", " ").split()]
    assert max(numbers[0::2]) > skipped.x + skipped.width


def test_where_a_run_stands_is_on_the_boxes_and_the_way_it_took() -> None:
    """States are shown by name; what was not reached says so; edges between reached nodes are taken."""
    drawing = draw_flow(RIDE, {"(start)": "done", "quote_fare": "done", "match_driver": "retrying"})
    states = {box.id: box.status.name for box in drawing.boxes}
    assert states["match_driver"] == "retrying"
    assert states["dispatch"] == "ahead"
    assert [path.taken for path in drawing.paths[:3]] == [True, True, False]


def test_a_graph_with_a_circle_ends() -> None:
    """A graph that is wrong is drawn badly, not for ever."""
    nodes = tuple(GraphNode(name, "step", name) for name in ("a", "b", "c"))
    edges = (GraphEdge("a", "b"), GraphEdge("b", "c"), GraphEdge("c", "b"))
    assert len(draw_flow(Graph(nodes, edges)).boxes) == 3
