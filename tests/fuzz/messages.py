"""Messages as nobody should send them, and as somebody will."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import strategies as st

from bus.port import Message

__all__ = ["bodies", "good", "messages"]

KNOWN = (
    "trip.asked.v1",
    "trip.over.v1",
    "trip.booked.v1",
    "bank.hold.v1",
    "antiphon.start.v1",
    "antiphon.starts.v1",
    "antiphon.event.v1",
    "antiphon.signal.v1",
    "antiphon.cancel.v1",
    "antiphon.retry.v1",
    "antiphon.pause.v1",
    "antiphon.child.v1",
    "antiphon.reply.v1",
    "nobody.knows.v7",
)

_text = st.text(max_size=30)
_leaves = st.none() | st.booleans() | st.integers() | st.floats() | _text
_json: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_FIELDS = (
    "actor child correlation data error flow id input input_digest key name node outcome parent reason "
    "results run_id starts status type version"
)
_fields = st.fixed_dictionaries({}, optional=dict.fromkeys(_FIELDS.split(), _json))


def _encoded(value: Any) -> bytes:
    """JSON where Python has an idea of it; NaN and lone surrogates are written as bad JSON and bad UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


bodies: st.SearchStrategy[bytes] = st.one_of(
    st.binary(max_size=200),
    st.builds(_encoded, _json),
    st.builds(_encoded, _fields),
    st.sampled_from(
        [
            b"",
            b"null",
            b"[]",
            b"{",
            b'{"id": NaN}',
            b'{"id": "a", "id": 1}',
            b'{"id": "\\ud800"}',
            b'{"id": "\\u0000"}',
            b"[" * 5_000,
            b"[" * 5_000 + b"]" * 5_000,
            b'{"id": ' + b"9" * 4_000 + b"}",
            b"\xff\xfe{}",
            b"\x00" * 100,
        ]
    ),
)

_values = st.one_of(
    _text, st.integers(-(2**63), 2**63 - 1), st.sampled_from(["", "1.0", "0.3", "\x00", "☃" * 50])
)
_names = st.sampled_from(
    [
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "subject",
        "dataschema",
        "workspace",
        "correlationid",
        "causationid",
        "traceparent",
        "runid",
        "node",
        "attempt",
        "replyto",
        "answerto",
    ]
)
_odd = st.dictionaries(
    st.builds(str.__add__, st.sampled_from(["cloudEvents:", "cloudEvents_", "ce-", "x-antiphon-"]), _names)
    | st.text(min_size=1, max_size=20),
    _values,
    max_size=6,
)


@st.composite
def _headers(draw: st.DrawFn) -> dict[str, str | int]:
    """None, or those of a right event with some taken away, changed and added."""
    if draw(st.booleans()):
        return draw(_odd)
    headers: dict[str, str | int] = {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": draw(st.text(min_size=1, max_size=20)),
        "cloudEvents:source": draw(st.sampled_from(["/acme/flows/trip", "/fuzz", "/services/bank"])),
        "cloudEvents:type": draw(st.sampled_from(KNOWN) | _text),
        "cloudEvents:workspace": draw(st.sampled_from(["acme", "other"]) | _text),
        "cloudEvents:runid": "run",
        "cloudEvents:node": draw(st.sampled_from(["hold", "over"]) | _text),
        "cloudEvents:attempt": draw(st.sampled_from(["1", "-1", "many"])),
        "cloudEvents:replyto": draw(st.sampled_from(["0", "99", "nowhere"])),
    }
    for name in draw(st.lists(st.sampled_from(sorted(headers)), max_size=2, unique=True)):
        del headers[name]
    return headers | draw(_odd) if draw(st.booleans()) else headers


_content_types = st.one_of(
    st.sampled_from(
        [
            "application/json",
            "application/cloudevents+json",
            "APPLICATION/CloudEvents+JSON; charset=utf-16",
            "application/cloudevents-batch+json",
            "text/plain",
            "",
            "application/octet-stream",
        ]
    ),
    st.text(max_size=20),
)

# The id is the test's own, so that it can be told what became of each.
messages = st.builds(
    lambda body, content_type, headers: (body, content_type, headers), bodies, _content_types, _headers()
)


def good(type: str, id: str, data: Any, *, workspace: str = "acme") -> Message:
    """A right event, as a plain client would write it."""
    headers: dict[str, str | int] = {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": id,
        "cloudEvents:source": "/fuzz",
        "cloudEvents:type": type,
        "cloudEvents:workspace": workspace,
    }
    return Message(id, orjson.dumps(data), "application/json", headers)
