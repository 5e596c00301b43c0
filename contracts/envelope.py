"""CloudEvents 1.0: what every message on the bus is.

Binary mode follows the AMQP protocol binding (CloudEvents 1.0.2, "AMQP Protocol Binding" §3.1):
``content-type`` is ``datacontenttype``, every other attribute is a header ``cloudEvents:<name>``;
``cloudEvents_<name>`` (clients that can't write the colon) and ``ce-<name>`` (Knative's RabbitMQ
binding) are read too. Structured mode (``application/cloudevents+json``) is read, never written.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import orjson

from contracts.errors import MalformedMessage
from contracts.record import record

__all__ = [
    "BINARY_PREFIX",
    "READ_PREFIXES",
    "STRUCTURED",
    "Event",
    "derive_id",
    "is_structured",
    "read_attributes",
    "timestamp",
]

BINARY_PREFIX = "cloudEvents:"
STRUCTURED = "application/cloudevents+json"
READ_PREFIXES = (BINARY_PREFIX, "cloudEvents_", "ce-")
_REQUIRED = ("id", "source", "type", "specversion")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 section 6, in lower case
_PAIRS = [first + second for first in _BASE32 for second in _BASE32]
_SIXTY_BITS = (1 << 60) - 1
_WRITTEN = 254  # levels that orjson writes; it reads 1,024
_DEEPEST = 200  # levels of what is taken
_LENGTHS = [length.to_bytes(4, "big") for length in range(256)]
_KNOWN = frozenset({*_REQUIRED, "time", "subject", "dataschema", "datacontenttype"})


def derive_id(*parts: str | int) -> str:
    """An id that is the same whenever its parts are: 26 characters of base32 over SHA-256.

    Each part is prefixed with its length, so that ``("a", "bc")`` and ``("ab", "c")`` differ.
    """
    named = b""
    for part in parts:
        raw = str(part).encode()
        size = len(raw)
        named += (_LENGTHS[size] if size < 256 else size.to_bytes(4, "big")) + raw
    bits = int.from_bytes(hashlib.sha256(named).digest()[:17], "big") >> 6
    # By hand, since ids are made for every message: base64.b32encode takes four times as long. Ten bits a
    # step, out of two numbers that fit a machine word. (Fifteen are as quick where nothing else runs, and
    # half as quick where something does: a table of 32,768 texts is never in the processor's cache.)
    high, low = bits >> 70, bits >> 10 & _SIXTY_BITS
    return (
        f"{_PAIRS[high >> 50]}{_PAIRS[high >> 40 & 1023]}{_PAIRS[high >> 30 & 1023]}"
        f"{_PAIRS[high >> 20 & 1023]}{_PAIRS[high >> 10 & 1023]}{_PAIRS[high & 1023]}"
        f"{_PAIRS[low >> 50]}{_PAIRS[low >> 40 & 1023]}{_PAIRS[low >> 30 & 1023]}"
        f"{_PAIRS[low >> 20 & 1023]}{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}{_PAIRS[bits & 1023]}"
    )


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=256)
def is_structured(content_type: str | None) -> bool:
    """Whether the attributes are in the body, too."""
    return (content_type or "").partition(";")[0].strip().lower() == STRUCTURED


def read_attributes(headers: Mapping[str, object]) -> dict[str, str]:
    """The attributes among a message's headers, by their names without prefix.

    Raises MalformedMessage when one is no text, or there twice with different values.
    """
    attributes: dict[str, str] = {}
    for header, value in headers.items():
        name = _attribute_of(header)
        if name is None:
            continue
        text = value if type(value) is str else _text(name, value)
        # Two readers must not see two different events in one message.
        if attributes.setdefault(name, text) != text:
            raise MalformedMessage(f"attribute {name!r} is there twice, with different values")
    return attributes


@lru_cache(maxsize=4096)
def _attribute_of(header: str) -> str | None:
    """The attribute that a header holds, None for one of another kind: the same few in all messages."""
    for prefix in READ_PREFIXES:
        if header.startswith(prefix):
            return header[len(prefix) :].lower()
    return None


@record(slots=False)
class Event:
    """One CloudEvent. ``body`` is the payload as it travels; ``data`` is what it says.

    ``extensions`` holds every other attribute, ours (``correlationid``, ``causationid``,
    ``workspace``, ``traceparent``) and those unknown to us alike: nothing is dropped on the way.
    """

    id: str
    source: str
    type: str
    body: bytes
    time: str | None = None
    subject: str | None = None
    dataschema: str | None = None
    datacontenttype: str = "application/json"
    extensions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def data(self) -> Any:
        """The decoded JSON payload. Raises MalformedMessage when the body is not JSON, or nested too deep."""
        try:
            data = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise MalformedMessage(f"the body is not JSON: {error}") from error
        if self.body.count(b"[") + self.body.count(b"{") > _DEEPEST:
            _check_depth(data)
        return data

    @property
    def workspace(self) -> str:
        """The tenant this belongs to; the empty string when the sender named none."""
        return self.extensions.get("workspace", "")

    @property
    def correlation(self) -> str:
        """The story this belongs to; an event that names none begins its own."""
        return self.extensions.get("correlationid") or self.id

    @property
    def causation(self) -> str | None:
        """The id of the message or fact that caused this one."""
        return self.extensions.get("causationid")

    def headers(self) -> dict[str, str]:
        """The attributes as binary-mode headers, ``datacontenttype`` left out."""
        headers = {f"{BINARY_PREFIX}{name}": value for name, value in self.extensions.items()}
        headers[f"{BINARY_PREFIX}specversion"] = "1.0"
        headers[f"{BINARY_PREFIX}id"] = self.id
        headers[f"{BINARY_PREFIX}source"] = self.source
        headers[f"{BINARY_PREFIX}type"] = self.type
        for name in ("time", "subject", "dataschema"):
            value = getattr(self, name)
            if value is not None:
                headers[BINARY_PREFIX + name] = value
        return headers

    @classmethod
    def create(
        cls,
        type: str,
        data: Any,
        *,
        id: str,
        source: str,
        at: float,
        workspace: str,
        correlation: str | None = None,
        causation: str | None = None,
        subject: str | None = None,
        dataschema: str | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> Event:
        """A new event with a JSON payload. ``at`` is in seconds since the epoch."""
        more = dict(extensions or {})
        more["workspace"] = workspace
        more["correlationid"] = correlation or id
        if causation:
            more["causationid"] = causation
        return cls(
            id=id,
            source=source,
            type=type,
            body=orjson.dumps(data),
            time=timestamp(at),
            subject=subject,
            dataschema=dataschema,
            extensions=more,
        )

    @classmethod
    def read(
        cls,
        headers: Mapping[str, object],
        body: bytes,
        content_type: str | None,
        attributes: Mapping[str, str] | None = None,
    ) -> Event:
        """What a message says, in binary or structured mode. ``attributes``: of the headers, if read before.

        Raises MalformedMessage when a required attribute is missing or no text, an attribute is there
        twice with different values, or the specification's version is not 1.x.
        """
        if is_structured(content_type):
            return cls._read_structured(body)
        return cls._of(read_attributes(headers) if attributes is None else attributes, body, content_type)

    @classmethod
    def _read_structured(cls, body: bytes) -> Event:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise MalformedMessage(f"the structured event is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise MalformedMessage("the structured event is not a JSON object")
        data = document.pop("data", None)
        encoded = document.pop("data_base64", None)
        content_type = document.get("datacontenttype", "application/json")
        if encoded is not None:
            try:
                payload = base64.b64decode(encoded, validate=True)
            except (ValueError, TypeError) as error:
                raise MalformedMessage(f"data_base64 is not base64: {error}") from error
        elif isinstance(data, str) and not _is_json(content_type):
            payload = data.encode()
        else:
            _check_depth(data)
            payload = orjson.dumps(data)
        attributes = {name: _text(name, value) for name, value in document.items() if value is not None}
        return cls._of(attributes, payload, _text("datacontenttype", content_type))

    @classmethod
    def _of(cls, attributes: Mapping[str, str], body: bytes, content_type: str | None) -> Event:
        missing = [name for name in _REQUIRED if not attributes.get(name)]
        if missing:
            raise MalformedMessage(f"not a CloudEvent: attribute {missing[0]!r} is missing")
        if not attributes["specversion"].startswith("1."):
            raise MalformedMessage(f"CloudEvents version {attributes['specversion']!r} is not 1.x")
        return cls(
            id=attributes["id"],
            source=attributes["source"],
            type=attributes["type"],
            body=body,
            time=attributes.get("time"),
            subject=attributes.get("subject"),
            dataschema=attributes.get("dataschema"),
            datacontenttype=content_type or attributes.get("datacontenttype") or "application/json",
            extensions={name: value for name, value in attributes.items() if name not in _KNOWN},
        )


def _check_depth(data: Any) -> None:
    """Raises MalformedMessage for what could be read, and not be written again in a message of ours."""
    for _ in range(_WRITTEN - _DEEPEST):
        data = [data]
    try:
        orjson.dumps(data)
    except TypeError as error:
        raise MalformedMessage(f"the data is nested deeper than {_DEEPEST} levels") from error


def _is_json(content_type: object) -> bool:
    """Whether a structured event's ``data`` is JSON itself, or text (CloudEvents 1.0.2 JSON format §3.1)."""
    media_type = str(content_type).partition(";")[0].strip().lower()
    return media_type.endswith(("/json", "+json"))


def _text(name: str, value: object) -> str:
    """An attribute's canonical string form (CloudEvents 1.0.2 §"Type System")."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError as error:
                raise MalformedMessage(f"attribute {name!r} is not UTF-8") from error
        case int():
            return _moment(value) if name == "time" else str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            raise MalformedMessage(f"attribute {name!r} is of type {type(value).__name__}, not a string")


def _moment(milliseconds: int) -> str:
    """AMQP's native timestamp as text; the Python SDK sends ``time`` so."""
    try:
        return timestamp(milliseconds / 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedMessage(f"attribute 'time' is out of range: {milliseconds}") from error
