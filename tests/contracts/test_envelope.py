"""CloudEvents as they travel: binary and structured mode, ours and other people's."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import amqp, rabbitmq
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import STRUCTURED, Event, derive_id, timestamp
from contracts.errors import MalformedMessage

REQUIRED = {"specversion": "1.0", "id": "1", "source": "/test", "type": "ride.booked.v1"}
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.from_regex(r"\A[a-z0-9]{1,20}\Z").filter(
    lambda name: name not in {*REQUIRED, "time", "subject", "dataschema", "datacontenttype"}
)


def event(**more: Any) -> Event:
    """One event of ours, fully filled in."""
    settings: dict[str, Any] = {
        "id": "e1",
        "source": "/acme/flows/ride",
        "at": 1_700_000_000.25,
        "workspace": "acme",
        "correlation": "story-1",
        "causation": "cause-1",
        "subject": "ride/7",
        "dataschema": "https://ride.example/booked.v1.json",
        "extensions": {"traceparent": "00-aa-bb-01"},
        **more,
    }
    return Event.create("ride.booked.v1", {"ride_id": "7", "fare": 12.5}, **settings)


def binary(attributes: dict[str, Any], prefix: str = "cloudEvents:") -> dict[str, object]:
    """Attributes as binary-mode headers."""
    return {prefix + name: value for name, value in attributes.items()}


def structured(**document: Any) -> Event:
    """What a structured-mode message with this document says."""
    return Event.read({}, json.dumps({**REQUIRED, **document}).encode(), STRUCTURED)


def test_an_event_survives_the_wire() -> None:
    """What is written in binary mode is read back the same."""
    sent = event()
    assert Event.read(sent.headers(), sent.body, sent.datacontenttype) == sent


@given(data=JSON_VALUES, extensions=st.dictionaries(NAMES, st.text(), max_size=4), id=st.text(min_size=1))
def test_any_event_survives_the_wire(data: Any, extensions: dict[str, str], id: str) -> None:
    """Whatever JSON, id and extensions: nothing is lost or changed on the way."""
    sent = Event.create("t.v1", data, id=id, source="/s", at=0, workspace="w", extensions=extensions)
    got = Event.read(dict(sent.headers()), sent.body, sent.datacontenttype)
    assert got == sent
    assert got.data == data


def test_an_event_says_where_it_belongs() -> None:
    """Workspace, story and cause are read from the extensions; an event without a story begins its own."""
    sent = event()
    assert (sent.workspace, sent.correlation, sent.causation) == ("acme", "story-1", "cause-1")
    alone = Event.read(binary(REQUIRED), b"{}", None)
    assert (alone.workspace, alone.correlation, alone.causation) == ("", "1", None)
    assert alone.datacontenttype == "application/json"


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_", "ce-"])
def test_every_known_prefix_is_read(prefix: str) -> None:
    """Headers are read with the colon, the underscore and Knative's prefix; unknown ones are kept."""
    got = Event.read(
        binary({**REQUIRED, "tenantid": "t", "Priority": 3, "dry": True}, prefix), b"1", "application/json"
    )
    assert (got.id, got.type, got.data) == ("1", "ride.booked.v1", 1)
    assert got.extensions == {"tenantid": "t", "priority": "3", "dry": "true"}


def test_headers_of_others_are_left_alone() -> None:
    """A header that is no attribute of CloudEvents is not taken for one."""
    got = Event.read({**binary(REQUIRED), "x-death": [{"count": 1}], "workspace": "forged"}, b"{}", None)
    assert got.extensions == {}


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_a_missing_attribute_is_named(missing: str) -> None:
    """A message without a required attribute is malformed, and the error names it."""
    attributes = {name: value for name, value in REQUIRED.items() if name != missing}
    with pytest.raises(MalformedMessage, match=missing):
        Event.read(binary(attributes), b"{}", None)
    with pytest.raises(MalformedMessage, match=missing):
        Event.read(binary({**REQUIRED, missing: ""}), b"{}", None)


@pytest.mark.parametrize(
    "bad",
    [
        {"specversion": "0.3"},
        {"id": ["1"]},
        {"id": None},
        {"source": 1.5},
        {"type": b"\xff"},
        {"time": 10**30},
        {"extra": {"a": 1}},
    ],
)
def test_attributes_of_a_wrong_kind_are_malformed(bad: dict[str, Any]) -> None:
    """A table, a float, bytes that are no UTF-8 or an impossible time are refused."""
    with pytest.raises(MalformedMessage):
        Event.read(binary({**REQUIRED, **bad}), b"{}", None)


def test_one_message_is_one_event() -> None:
    """An attribute that is there twice with different values is refused; the same value twice is harmless."""
    with pytest.raises(MalformedMessage, match="twice"):
        Event.read({**binary(REQUIRED), "cloudEvents_type": "ride.cancelled.v1"}, b"{}", None)
    assert Event.read({**binary(REQUIRED), **binary(REQUIRED, "ce-")}, b"{}", None).id == "1"


def test_a_body_that_is_no_json_is_told_when_asked() -> None:
    """The envelope can be read without the payload; asking for the payload says what is wrong."""
    got = Event.read(binary(REQUIRED), b"{nope", "application/json")
    with pytest.raises(MalformedMessage, match="not JSON"):
        _ = got.data


def test_structured_mode_is_read() -> None:
    """A structured event is the same event, with parameters in the content type or without."""
    body = json.dumps({**REQUIRED, "data": {"a": 1}, "subject": None, "count": 2}).encode()
    got = Event.read({"cloudEvents:id": "ignored"}, body, "Application/CloudEvents+JSON; charset=utf-8")
    assert (got.id, got.data, got.subject, got.extensions) == ("1", {"a": 1}, None, {"count": "2"})


def test_structured_payloads_of_each_kind() -> None:
    """Base64 is decoded, text is kept as text, JSON text stays JSON, and no data is null."""
    assert (
        structured(data_base64=base64.b64encode(b"\x00\xff").decode(), datacontenttype="image/png").body
        == b"\x00\xff"
    )
    assert structured(data="plain", datacontenttype="text/plain").body == b"plain"
    assert structured(data="text").body == b'"text"'
    assert structured(data="text", datacontenttype="application/vnd.x+json").body == b'"text"'
    assert structured().data is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b'"text"', json.dumps({**REQUIRED, "data_base64": "!"}).encode(),
     json.dumps({**REQUIRED, "data_base64": 5}).encode(), json.dumps({**REQUIRED, "subject": {}}).encode(),
     json.dumps({**REQUIRED, "datacontenttype": []}).encode()],
)  # fmt: skip
def test_structured_nonsense_is_malformed(body: bytes) -> None:
    """A structured message that can't be read is malformed, never a crash."""
    with pytest.raises(MalformedMessage):
        Event.read({}, body, STRUCTURED)


@pytest.mark.parametrize("levels", [201, 300, 2000])
def test_what_is_nested_too_deep_to_be_written_again_is_malformed(levels: int) -> None:
    """It could be read, and would break whatever passes it on; what is wide is no trouble."""
    nested = b"[" * levels + b"]" * levels
    event = Event("e", "/s", "t.v1", nested)
    with pytest.raises(MalformedMessage):
        _ = event.data
    document = json.dumps({**REQUIRED, "data": "here"}).encode().replace(b'"here"', nested)
    with pytest.raises(MalformedMessage):
        Event.read({}, document, STRUCTURED)
    assert Event("e", "/s", "t.v1", b"[" * 200 + b"]" * 200).data
    assert Event("e", "/s", "t.v1", b"[" + b"[{}]," * 999 + b"0]").data


HEADER_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(
    headers=st.dictionaries(
        st.sampled_from([*binary(REQUIRED), "cloudEvents:time", "ce-id", "cloudEvents_x"]) | st.text(),
        HEADER_VALUES,
    ),
    body=st.binary(),
    content_type=st.sampled_from([None, STRUCTURED, "application/json", ";", ""]) | st.text(),
)
def test_whatever_comes_is_read_or_malformed(
    headers: dict[str, Any], body: bytes, content_type: str | None
) -> None:
    """Arbitrary headers and bytes give an event or MalformedMessage, and nothing else."""
    try:
        got = Event.read(headers, body, content_type)
    except MalformedMessage:
        return
    assert got.id
    assert got.source
    assert got.type


def test_the_python_sdk_reads_what_we_write() -> None:
    """An event of ours is the same event to the official SDK's AMQP binding."""
    sent = event()
    message = amqp.AMQPMessage({"content-type": sent.datacontenttype}, dict(sent.headers()), sent.body)
    got = amqp.from_amqp_event(message)
    assert got.get_data() == sent.data
    assert (got.get_id(), got.get_source(), got.get_type()) == (sent.id, sent.source, sent.type)
    assert got.get_extension("correlationid") == "story-1"
    assert got.get_subject() == "ride/7"
    assert got.get_time() == datetime.fromtimestamp(1_700_000_000.25, UTC)


SDK_EVENT = CloudEvent(
    attributes={
        "id": "sdk-1",
        "source": "/python",
        "type": "ride.booked.v1",
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "time": datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
        "workspace": "acme",
    },
    data={"ride_id": "7"},
)


def test_we_read_what_the_python_sdk_writes() -> None:
    """Binary and structured mode of the SDK's AMQP and RabbitMQ bindings give the same event."""
    read = []
    for message in (amqp.to_binary_event(SDK_EVENT), amqp.to_structured_event(SDK_EVENT)):
        content_type = message.properties["content-type"]
        read.append(Event.read(message.application_properties, message.application_data, content_type))
    for other in (rabbitmq.to_binary_event(SDK_EVENT), rabbitmq.to_structured_event(SDK_EVENT)):
        read.append(Event.read(dict(other.headers), other.body, other.content_type))
    for got in read:
        assert (got.id, got.source, got.type, got.workspace) == ("sdk-1", "/python", "ride.booked.v1", "acme")
        assert got.data == {"ride_id": "7"}
        assert got.time is not None
        assert datetime.fromisoformat(got.time) == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def test_a_derived_id_is_the_same_whenever_its_parts_are() -> None:
    """Same parts, same id; moving a border between parts changes it."""
    assert derive_id("run", "node", 1) == derive_id("run", "node", "1")
    assert derive_id("a", "bc") != derive_id("ab", "c") != derive_id("abc")
    assert len(derive_id("x")) == 26
    assert derive_id("x").islower()
    # Ids stand in stores and on buses: how they are made never changes.
    spelled = b"\0\0\0\x03run" + b"\0\0\0\x02\xc3\xa9" + b"\0\0\0\x017"
    encoded = base64.b32encode(hashlib.sha256(spelled).digest()).decode().lower()
    assert derive_id("run", "é", 7) == encoded[:26]


def test_times_are_rfc_3339() -> None:
    """Seconds since the epoch are written in UTC with a Z."""
    assert timestamp(1.5) == "1970-01-01T00:00:01.500000Z"
