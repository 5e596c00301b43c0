"""Whatever a flow looks like, it can be checked and drawn."""

from __future__ import annotations

import json
import random

import pytest

from antiphon.app import App
from antiphon.checking import CODES, check_app
from antiphon.mapping import asyncapi, mermaid, system_map, text
from tests.orchestrator.random_flows import CHILD, Writer

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("seed", range(60))
def test_a_flow_written_by_chance_is_checked_and_drawn(seed: int) -> None:
    """Without a crash, with known findings only, each at a file; and the same each time."""
    made = Writer(random.Random(seed)).flow()
    app = App("chance", flows=[made, CHILD] if made.name != CHILD.name else [made])
    for type in ("f.failed.v1", "f.input.v1", made.input_type):
        if seed % 2 and not app.registry.has(type):
            app.registry.add(type, {"type": "object", "properties": {"why": {"type": "string"}}})
    findings = check_app(app)
    assert {one.code for one in findings} <= set(CODES)
    assert all(one.file for one in findings)
    assert [str(one) for one in findings] == [str(one) for one in check_app(app)]
    found = system_map(app)
    assert json.loads(json.dumps([found, asyncapi(app)]))
    assert all(name in text(found) for name in made.plan.places)
    assert mermaid(found).count("subgraph") == len(app.flows)
