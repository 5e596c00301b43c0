"""Flows and nodes know where they were written, and what undoes nothing says so."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InvalidFlow
from orchestrator.flow import Flow
from orchestrator.nodes import call, emit, parallel, sleep, step, wait, when


async def work(ctx: Any) -> None:
    return None


def test_each_word_keeps_the_line_that_it_was_written_on() -> None:
    """Whoever has to be shown the place gets file and line, of a node inside another one too."""
    first = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    nodes = [
        step(work),
        emit("a.b.v1", {}),
        wait("a.c.v1", by="id"),
        wait(signal="go"),
        sleep(1),
        when({}, [sleep(2, name="inner")]),
        parallel([sleep(3)], [sleep(4)]),
        call("other", {}),
    ]
    flow = Flow("f", version=1, key="id", input="a.d.v1", steps=nodes)
    here = Path(__file__)
    assert [node.declared_at for node in nodes] == [f"{here}:{first + n}" for n in range(1, len(nodes) + 1)]
    assert flow.declared_at == f"{here}:{first + len(nodes) + 2}"
    assert {place.node.declared_at.rpartition(":")[0] for place in flow.plan.places.values()} == {str(here)}


def test_the_place_is_no_part_of_what_a_node_is() -> None:
    """The same node written twice is the same, and its JSON form says nothing of files."""
    one, other = sleep(5), sleep(5)
    assert one.declared_at != ""
    assert one == other
    assert "declared_at" not in str(Flow("f", version=1, key="id", input="a.d.v1", steps=[one]).as_json())


def test_a_step_may_say_that_there_is_nothing_to_undo() -> None:
    """``compensate="nothing"`` survives the JSON form, and is no function's name."""
    flow = Flow("f", version=1, key="id", input="a.d.v1", steps=[step(work, compensate="nothing")])
    again = Flow.from_json(flow.as_json(), {"work": work})
    node = again.plan.places["work"].node
    assert (node.compensate, node.changes_nothing) == (None, True)  # type: ignore[union-attr]
    with pytest.raises(InvalidFlow, match="'nothing'"):
        step(work, compensate="something")  # type: ignore[arg-type]
