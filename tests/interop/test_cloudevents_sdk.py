"""The JavaScript SDK of CloudEvents reads what we write, and we read what it writes."""

from __future__ import annotations

import json
from typing import Any

from contracts.envelope import Event
from tests.interop.conftest import Node

OURS = Event.create(
    "ride.booked.v1",
    {"ride_id": "7", "fare": 12.5, "who": "Žofie"},
    id="e-1",
    source="/acme/flows/ride",
    at=1_700_000_000.25,
    workspace="acme",
    correlation="story-1",
    causation="cause-1",
    subject="ride/7",
    dataschema="urn:ride:booked:v1",
    extensions={"traceparent": "00-aa-bb-01"},
)


def attributes(event: Event) -> dict[str, str]:
    """What an event says of itself, without the time, which has more than one form."""
    named = {name.removeprefix("cloudEvents:"): value for name, value in event.headers().items()}
    return {name: value for name, value in named.items() if name not in ("time", "datacontenttype")}


def from_binary(made: Any) -> Event:
    """A message of the SDK in binary mode, as it comes over AMQP: ``ce-`` is a prefix that we read."""
    return Event.read(made["headers"], made["body"].encode(), made["headers"]["content-type"])


def test_it_reads_our_binary_mode_and_we_its_answers(node: Node) -> None:
    """Every attribute, ours that the SDK does not know too, goes there and comes back in both modes."""
    headers = {name.replace("cloudEvents:", "ce-"): value for name, value in OURS.headers().items()}
    headers["content-type"] = OURS.datacontenttype
    read = node.run("cloudevents.mjs", {"headers": headers, "body": OURS.body.decode()})
    assert read["data"] == OURS.data
    assert {
        n: v for n, v in read["attributes"].items() if n not in ("time", "datacontenttype")
    } == attributes(OURS)
    structured = Event.read({}, read["structured"]["body"].encode(), "application/cloudevents+json")
    for back in (from_binary(read["binary"]), structured):
        assert attributes(back) == attributes(OURS)
        assert back.data == OURS.data
        assert back.time is not None
        assert back.time.startswith("2023-11-14T22:13:20.25")


def test_it_reads_our_attributes_in_structured_mode(node: Node) -> None:
    """The JSON format of our attributes and data is a CloudEvent to the SDK."""
    document = {
        **attributes(OURS),
        "time": OURS.time,
        "datacontenttype": "application/json",
        "data": OURS.data,
    }
    kind = "application/cloudevents+json"
    read = node.run("cloudevents.mjs", {"headers": {"content-type": kind}, "body": json.dumps(document)})
    assert read["data"] == OURS.data
    assert read["attributes"]["correlationid"] == "story-1"


def test_we_take_what_it_makes_itself(node: Node) -> None:
    """An event made by the SDK, with an id and a time of its own choice."""
    made = node.run("cloudevents.mjs", {"event": {"type": "a.b.v1", "source": "/js", "data": {"n": 1}}})
    body = made["structured"]["body"].encode()
    for event in (from_binary(made["binary"]), Event.read({}, body, "application/cloudevents+json")):
        assert (event.type, event.source, event.data) == ("a.b.v1", "/js", {"n": 1})
        assert event.id == made["attributes"]["id"]
