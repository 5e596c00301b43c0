"""The frames that we write and read ourselves mean the same to pamqp, which reads and writes AMQP 0-9-1."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader

from bus.rabbit.arrivals import Arrival, read_arrival
from bus.rabbit.frames import DELIVER, HEARTBEAT, ack_frame, content_frames, publish_frame
from bus.rabbit.reading import UNREADABLE, read_anything
from bus.rabbit.tap import Lane, _Tap
from bus.rabbit.wire import message_from

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
HEADERS = st.dictionaries(NAMES, TEXTS | st.integers(-(2**63), 2**63 - 1), max_size=8)
ODD = st.none() | st.booleans() | st.lists(st.integers(0, 9)) | st.floats(allow_nan=False, width=32)


def plain(value: object) -> str | int:
    """How a header's value arrives."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str | int) else str(value)


class Kept(Lane):
    """Keeps what the tap gives it."""

    takes = frozenset({DELIVER})

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.came: list[Arrival] = []

    def on_content(self, method: bytes, header: bytes, body: bytes) -> None:
        self.came.append(read_arrival(method, header, body))


def delivery(tag: int, body: bytes, properties: Basic.Properties, channel: int = 7) -> bytes:
    """A delivery as a broker sends it."""
    method = Basic.Deliver("a-consumer", tag, False, "an exchange", "a key")
    frames = [method, ContentHeader(body_size=len(body), properties=properties)]
    pieces = [ContentBody(body[at : at + 50]) for at in range(0, len(body), 50)]
    return b"".join(pamqp.frame.marshal(frame, channel) for frame in (*frames, *pieces))


@given(TEXTS, HEADERS, st.binary(max_size=1000), st.sampled_from([0, 256, 4096]), st.none() | NAMES)
def test_what_we_write_is_what_pamqp_reads(
    id: str, headers: Mapping[str, str | int], body: bytes, frame_max: int, user: str | None
) -> None:
    """A publish with its header and its content, in frames that are no larger than agreed."""

    def content(most: int) -> list[bytes]:
        return content_frames(
            3, body, id=id, content_type="text/plain", headers=headers, at=1_700_000_000, user=user,
            frame_max=most,
        )  # fmt: skip

    whole = content(0)
    if frame_max and len(whole[1]) + 8 > frame_max:  # the header, which can't be split
        with pytest.raises(ValueError, match="room"):
            content(frame_max)
        return
    raw = publish_frame(3, "exchange", "key", True) + b"".join(content(frame_max))
    frames = []
    while raw:
        used, channel, frame = pamqp.frame.unmarshal(raw)
        assert channel == 3
        assert used <= frame_max or not frame_max
        frames.append(frame)
        raw = raw[used:]
    publish, header, *bodies = frames
    assert isinstance(publish, Basic.Publish)
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("exchange", "key", True)
    assert isinstance(header, ContentHeader)
    seen = header.properties
    assert (seen.content_type, seen.delivery_mode, seen.app_id) == ("text/plain", 2, "antiphon")
    assert (seen.message_id or "", seen.user_id) == (id, user)
    assert (seen.headers, header.body_size) == (headers, len(body))
    assert seen.timestamp == datetime.fromtimestamp(1_700_000_000, UTC)
    assert b"".join(frame.value for frame in bodies if isinstance(frame, ContentBody)) == body


@given(TEXTS, HEADERS | st.dictionaries(NAMES, ODD), st.binary(max_size=300), st.integers(1, 200))
def test_what_pamqp_writes_is_what_we_read_however_it_is_cut(
    id: str, headers: dict[str, object], body: bytes, cut: int
) -> None:
    """Deliveries between other frames, in pieces of any size; the others go on to aiormq untouched."""
    properties = Basic.Properties(
        message_id=id, content_type="text/plain", headers=headers, user_id="u", correlation_id="c"
    )
    other = pamqp.frame.marshal(Channel.OpenOk(), 7) + pamqp.frame.marshal(Basic.Ack(1), 8)
    stream = delivery(1, body, properties) + other + delivery(2, body, properties)

    async def read() -> tuple[list[Arrival], bytes]:
        lane = Kept(7)
        tap = _Tap({7: lane}, asyncio.get_running_loop())
        for at in range(0, len(stream), cut):
            tap.feed_data(stream[at : at + cut])
        tap.feed_eof()
        return lane.came, await tap.read()

    came, passed = asyncio.run(read())
    assert passed.replace(HEARTBEAT, b"") == other
    assert [arrival.tag for arrival in came] == [1, 2]
    for arrival in came:
        assert (arrival.exchange, arrival.routing_key, arrival.redelivered) == ("an exchange", "a key", False)
        assert (arrival.message_id, arrival.content_type, arrival.user_id) == (id, "text/plain", "u")
        assert (arrival.headers, arrival.body) == ({name: plain(headers[name]) for name in headers}, body)


@given(st.binary(min_size=0, max_size=60), st.integers(0, 0xFFFF))
def test_no_properties_stop_the_reader(raw: bytes, flags: int) -> None:
    """Whatever bytes stand where properties should, the delivery arrives."""
    method = pamqp.frame.marshal(Basic.Deliver("c", 9, True, "e", "k"), 1)[7:-1]
    header = b"\x00\x3c\x00\x00" + (0).to_bytes(8) + flags.to_bytes(2) + raw
    arrival = read_arrival(method, header, b"body")
    assert (arrival.tag, arrival.redelivered, arrival.body) == (9, True, b"body")


def test_what_could_not_be_read_is_shown() -> None:
    """Properties that end too early become one header with their bytes."""
    method = pamqp.frame.marshal(Basic.Deliver("c", 9, False, "e", "k"), 1)[7:-1]
    header = b"\x00\x3c\x00\x00" + (0).to_bytes(8) + b"\x00\x80\xff"
    assert read_arrival(method, header, b"").headers == {UNREADABLE: "\x00\\x80\\xff"}


def test_tables_in_tables_stop_no_reader() -> None:
    """However deep they go, and however deep the interpreter lets itself be led (hypothesis raises that)."""
    read_anything()
    method = pamqp.frame.marshal(Basic.Deliver("c", 9, False, "e", "k"), 1)[7:-1]
    limit = sys.getrecursionlimit()
    inner = b""
    try:
        for depth in range(1, 2_001):
            inner = b"\x01aF" + len(inner).to_bytes(4) + inner
            if depth % 50:
                continue
            header = b"\x00\x3c\x00\x00" + bytes(8) + b"\x20\x00" + len(inner).to_bytes(4) + inner
            for deepest in (limit, 10_000):
                sys.setrecursionlimit(deepest)
                headers = message_from(read_arrival(method, header, b"")).headers
                assert len(headers) == 1
                assert all(type(value) is str for value in headers.values())
    finally:
        sys.setrecursionlimit(limit)


def test_an_ack_is_one_that_pamqp_reads() -> None:
    """Of one delivery, and of all up to one."""
    for multiple in (False, True):
        _, channel, frame = pamqp.frame.unmarshal(ack_frame(5, 77, multiple=multiple))
        assert isinstance(frame, Basic.Ack)
        assert (channel, frame.delivery_tag, frame.multiple) == (5, 77, multiple)


def test_what_amqp_has_no_bytes_for_is_refused() -> None:
    """Texts longer than 255 bytes, and lone surrogates."""
    for id, content_type, headers in (
        ("i" * 256, "a", {}), ("i", "a" * 256, {}), ("i", "a", {"\ud800": "a"}), ("i", "a", {"a": "\ud800"}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"longer|surrogates"):
            content_frames(
                1, b"", id=id, content_type=content_type, headers=headers, at=0, user=None, frame_max=0
            )


async def test_a_lane_ends_where_its_channel_does() -> None:
    """After the broker's close, the number is another channel's."""
    lane = Kept(7)
    lanes: dict[int, Lane] = {7: lane}
    tap = _Tap(lanes, asyncio.get_running_loop())
    closing = pamqp.frame.marshal(Channel.Close(404, "gone", 0, 0), 7)
    tap.feed_data(closing)
    assert not lane.usable
    assert lanes == {}
    assert await tap.read(1000) == closing


async def test_what_is_no_amqp_is_aiormqs_to_judge() -> None:
    """A broker of another version, and a frame that does not end as it must, go through as they came."""
    for odd in (b"AMQP\x00\x00\x09\x01", b"\x01\x00\x07\x00\x00\x00\x01a!", b"\x08\x00"):
        tap = _Tap({7: Kept(7)}, asyncio.get_running_loop())
        tap.feed_data(odd)
        tap.feed_eof()
        assert await tap.read() == odd
