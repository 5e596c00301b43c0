"""The AsyncAPI document, read by the official parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from antiphon.app import App
from antiphon.cli import main
from antiphon.mapping import asyncapi
from examples.ride.app import app as ride
from orchestrator.flow import Flow
from orchestrator.nodes import emit
from reactors.reactor import reacts_to
from tests.interop.conftest import Node

SCHEMA_2020_12 = {
    "type": "object",
    "description": "Everything that draft 7 says otherwise, or not at all.",
    "properties": {
        "id": {"type": "string", "$comment": "the key"},
        "pair": {"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
        "tree": {"$ref": "#/$defs/tree", "description": "beside a reference"},
        "other": {"$ref": "other.v1#/properties/id"},
        "some": {"contains": {"type": "string"}, "minContains": 0},
        "properties": {"const": {"items": "data, no schema"}},
    },
    "dependentRequired": {"pair": ["tree"]},
    "required": ["id"],
    "unevaluatedProperties": False,
    "$defs": {"tree": {"type": "object", "properties": {"down": {"$ref": "#/$defs/tree"}}}},
    "examples": [{"id": "a"}],
}


def awkward(folder: Path) -> App:
    """An app whose contracts use what is new in 2020-12, refer to each other and to themselves."""
    simple = {
        "type": "object",
        "description": "Simple.",
        "properties": {"id": {"type": "string"}},
        "required": ["id"],
        "examples": [{"id": "a"}],
    }
    for name, schema in (("hard", SCHEMA_2020_12), ("other", simple)):
        path = folder / "a" / f"{name}.v1.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"$id": f"https://contracts.example/a/{name}.v1", **schema}))

    @reacts_to("a.hard.v1", emits=["a.other.v1"])
    async def pass_on(event: dict) -> None:  # type: ignore[type-arg]
        return None

    flow = Flow("f", version=1, key="id", input="a.other.v1", steps=[emit("a.hard.v1", {"id": "$.input.id"})])
    return App("awkward app!", flows=[flow], reactors=[pass_on], contracts=folder)


def test_the_ride_is_taken_without_a_finding(node: Node) -> None:
    """No error, no warning, no hint; and every event and command is there, for both sides."""
    done = CliRunner().invoke(main, ["map", "examples.ride.app:app", "--format", "asyncapi"])
    assert done.exit_code == 0
    read = node.run("asyncapi.mjs", done.output)
    assert read["found"] == []
    assert read["parsed"] is True
    assert {"ride.booked.v1", "ride.completed.v1", "trip.ended.v1", "payments"} <= set(read["channels"])
    assert "send flow_ride_v1_send_ride_booked_v1" in read["operations"]
    assert "receive reactor_notify_receive_ride_booked_v1" in read["operations"]
    assert "receive service_payments_do_payments_void_v1" in read["operations"]


def test_awkward_contracts_are_taken_too(node: Node, tmp_path: Path) -> None:
    """References, recursion and what draft 7 does not know make no difference to the parser."""
    document = asyncapi(awkward(tmp_path))
    read = node.run("asyncapi.mjs", document)
    assert (read["found"], read["parsed"]) == ([], True)
    schema: dict[str, Any] = document["components"]["schemas"]["a.hard.v1"]
    assert schema["properties"]["pair"]["additionalItems"] is False
    assert schema["properties"]["properties"] == {"const": {"items": "data, no schema"}}
    assert schema["properties"]["other"] == {"$ref": "#/components/schemas/a.other.v1/properties/id"}
    assert schema["dependencies"] == {"pair": ["tree"]}


def test_the_parser_would_have_found_something(node: Node) -> None:
    """A broken document is not taken, so that taking ours says something."""
    document = asyncapi(ride)
    next(iter(document["operations"].values()))["channel"] = {"$ref": "#/channels/nowhere"}
    read = node.run("asyncapi.mjs", document)
    assert read["found"] != []


@pytest.mark.parametrize("form", ["text", "json", "mermaid"])
def test_every_form_of_the_map_has_everything(form: str) -> None:
    """Flows, events, reactors and services are on each."""
    done = CliRunner().invoke(main, ["map", "examples.ride.app:app", "--format", form])
    assert done.exit_code == 0
    for name in ("ride", "ride.booked.v1", "trip.ended.v1", "city_stats", "payments", "authorize_payment"):
        assert name in done.output
