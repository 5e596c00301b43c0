"""A plain AMQP client on a real RabbitMQ may write anything: each ends in quarantine, the queues go on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiormq
import pytest

from antiphon.devservices import Rabbit
from tests.antiphon.signed_house import WAYS, SignedHouse

# What AMQP 0-9-1 (§4.2.5.5, with RabbitMQ's extensions) lets a client put into a header.
HEADERS: tuple[dict[str, Any], ...] = (
    {"cloudEvents:id": None},
    {"cloudEvents:id": True, "cloudEvents:type": False},
    {"cloudEvents:type": bytearray(b"\xff\xfe"), "cloudEvents:source": bytearray(1)},
    {"cloudEvents:specversion": 1.0, "cloudEvents:attempt": -(2**63)},
    {"cloudEvents:time": datetime(2020, 1, 1, tzinfo=UTC)},
    {"cloudEvents:workspace": Decimal("1.5")},
    {"cloudEvents:data": {"a": {"b": [1, "2", None, {"c": []}]}}},
    {"x-death": [{"queue": "nowhere", "count": -1}], "x-delivery-count": "many"},
    {"x-antiphon-kid": ["reactors/1"], "x-antiphon-signature": {"a": 1}},
    {"h" * 255: "v" * 10_000},
)
PROPERTIES: tuple[dict[str, Any], ...] = (
    {},
    {"content_type": "application/cloudevents+json", "content_encoding": "gzip"},
    {"message_id": "☃" * 80, "content_type": "text/plain; charset=klingon"},
    {"expiration": "60000", "priority": 200, "delivery_mode": 1, "correlation_id": "\x00"},
    {"message_type": "x" * 255, "reply_to": "nowhere", "app_id": ""},
)
BODIES = (b"", b"{", b"\xff" * 50, b"null", b"[" * 3_000)


@pytest.fixture
def amqp(rabbit: Rabbit) -> Iterator[str]:
    """A virtual host of the test's own."""
    with rabbit.vhost() as url:
        yield url


async def test_no_frame_stops_a_consumer_or_is_handled(amqp: str, tmp_path: Path) -> None:
    """Every odd header with some properties and bodies, on each kind of queue."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        connection = await aiormq.connect(amqp)
        channel = await connection.channel(publisher_confirms=True)
        sent = 0
        for queue in WAYS:
            for number, headers in enumerate(HEADERS):
                properties = PROPERTIES[number % len(PROPERTIES)]
                await channel.basic_publish(
                    # A body of its own each: the same message under the same id twice is one row.
                    BODIES[number % len(BODIES)] + bytes([number]),
                    routing_key=queue,
                    properties=aiormq.spec.Basic.Properties(headers=headers, **properties),
                )
                sent += 1
        await connection.close()
        found = await house.until_quarantined(sent)
        assert len(found) == sent
        assert {queue for queue, _ in found} == set(WAYS)
        assert house.seen.booked == house.seen.held == []
        await house.trip("t-good")


class Bytes(str):
    """Text that is sent as other bytes than its own."""

    raw: bytes

    def __new__(cls, raw: bytes) -> Bytes:
        made = super().__new__(cls, "bytes")
        made.raw = raw
        return made

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """What goes over the wire."""
        return self.raw


class Written(aiormq.spec.Basic.Properties):
    """Properties that are sent as these bytes, flags first (AMQP 0-9-1 §4.2.6.1)."""

    def __init__(self, flags: int, raw: bytes) -> None:
        super().__init__()
        self.written = struct.pack(">H", flags) + raw

    def marshal(self) -> bytes:
        """What goes over the wire."""
        return self.written


def table(raw: bytes) -> bytes:
    """A field table with its length."""
    return struct.pack(">I", len(raw)) + raw


def nested(depth: int) -> bytes:
    """Tables in tables."""
    inner = b""
    for _ in range(depth):
        inner = b"\x01aF" + table(inner)
    return inner


BAD = Bytes(b"a\xff\xfe\xed\xa0\x80")
_HEADERS, _TIMESTAMP = 8192, 64
UNREADABLE: tuple[aiormq.spec.Basic.Properties, ...] = (
    *(
        aiormq.spec.Basic.Properties(**{name: BAD})
        for name in (
            "content_type",
            "content_encoding",
            "correlation_id",
            "reply_to",
            "message_id",
            "message_type",
            "app_id",
        )
    ),
    aiormq.spec.Basic.Properties(headers={BAD: "a"}),
    aiormq.spec.Basic.Properties(headers={"a": BAD}),
    aiormq.spec.Basic.Properties(headers={"a": {BAD: [{BAD: BAD}]}}),
    aiormq.spec.Basic.Properties(message_id="a\x00b", content_type="a\x00b", headers={"a\x00": "\x00"}),
    Written(_TIMESTAMP, b"\xff" * 8),
    Written(_HEADERS, table(b"\x01aT" + b"\x7f" * 8)),
    Written(_HEADERS, table(b"\x01aD\xff" + b"\xff" * 4)),
    Written(_HEADERS, table(nested(2_000))),
)


async def test_what_cant_be_read_closes_nobodys_connection(amqp: str, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, times beyond the calendar, tables without a floor: quarantined, each once."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        connection = await aiormq.connect(amqp)
        channel = await connection.channel(publisher_confirms=True)
        sent = 0
        for queue in WAYS:
            for number, properties in enumerate(UNREADABLE):
                await channel.basic_publish(bytes([number]), routing_key=queue, properties=properties)
                sent += 1
            copied = aiormq.spec.Basic.Properties(headers={"CC": [queue]})
            await channel.basic_publish(b"copied", routing_key=BAD, properties=copied)
            sent += 1
        await connection.close()
        found = await house.until_quarantined(sent)
        assert len(found) == sent
        assert {queue for queue, _ in found} == set(WAYS)
        assert house.seen.booked == house.seen.held == []
        await house.trip("t-good")
