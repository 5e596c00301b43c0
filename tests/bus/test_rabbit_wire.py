"""What travels over AMQP: what others see of ours, and what we make of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import aio_pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.devservices import Rabbit
from bus.port import Message, Outgoing, Queue
from bus.rabbit import RabbitBus
from bus.rabbit.arrivals import Arrival
from bus.rabbit.delays import delay_name, tier_of, tiers_of
from bus.rabbit.wire import message_from
from bus.routing import LONGEST_DELAY
from contracts.errors import ConfigurationError
from tests.bus.helpers import gather, message, to


@pytest.fixture
def vhost(rabbit: Rabbit) -> Iterator[str]:
    with rabbit.vhost() as url:
        yield url


@pytest.fixture
async def bus(vhost: str) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(vhost)
    await bus.start()
    yield bus
    await bus.close()


async def test_messages_are_persistent_and_say_who_they_are(vhost: str, bus: RabbitBus) -> None:
    """Another AMQP client sees a persistent message with our id, content type, headers and time."""
    await bus.declare(Queue("q"))
    before = datetime.now(UTC).timestamp()
    await bus.publish(*to("q", "a"))
    connection = await aio_pika.connect(vhost)
    async with connection, connection.channel() as channel:
        seen = await (await channel.get_queue("q")).get(no_ack=True)
    assert seen.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert (seen.message_id, seen.content_type) == ("a", "application/json")
    assert {name: seen.headers.get(name) for name in ("kind", "n")} == {"kind": "test", "n": 7}
    assert seen.timestamp is not None
    assert seen.timestamp.timestamp() >= int(before)


async def test_queues_are_quorum_queues_known_by_identity_only(vhost: str, bus: RabbitBus) -> None:
    """A queue can be declared again by anybody with these arguments and no others."""
    await bus.declare(Queue("q", single_active=True))
    dead_letters = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "q.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    connection = await aio_pika.connect(vhost)
    async with connection, connection.channel() as channel:
        arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True, **dead_letters}
        await channel.declare_queue("q", durable=True, arguments=arguments)
        await channel.declare_queue("q.dead", durable=True, arguments={"x-queue-type": "quorum"})


async def test_foreign_messages_do_not_stop_a_consumer(vhost: str, bus: RabbitBus) -> None:
    """Whatever another client puts on a queue arrives as a delivery that can be refused."""
    await bus.declare(Queue("q"))
    odd = {
        "table": {"a": 1},
        "list": [1, 2],
        "none": None,
        "yes": True,
        "when": datetime(2026, 1, 1, tzinfo=UTC),
        "x-death": "forged",
        "text": "as it is",
        "number": 5,
    }
    connection = await aio_pika.connect(vhost)
    async with connection, connection.channel() as channel:
        await channel.default_exchange.publish(aio_pika.Message(b"\x00\xff", headers=odd), "q")
        await channel.default_exchange.publish(aio_pika.Message(b"", message_id="with-id"), "q")
    subscription = await bus.subscribe("q", prefetch=10)
    first, second = await gather(subscription, 2, ack=False)
    assert first.message.id
    assert first.message.body == b"\x00\xff"
    assert first.message.content_type == "application/octet-stream"
    assert first.message.headers["text"] == "as it is"
    assert first.message.headers["number"] == 5
    assert first.message.headers["yes"] == "true"
    assert all(isinstance(value, str | int) for value in first.message.headers.values())
    assert second.message.id == "with-id"
    await subscription.reject([first, second])
    dead = await bus.subscribe("q.dead", prefetch=10)
    assert len(await gather(dead, 2)) == 2


async def test_an_id_that_is_no_text_can_be_sent_again(bus: RabbitBus) -> None:
    """Shown as text it would be longer than an id can be: no retry and no release could send it."""
    await bus.declare(Queue("q"))
    for shown in ("\\xff" * 255, "\\xff" * 40 + "é" * 107):
        came = message_from(Arrival(1, "", "q", False, b"{}", {}, message_id=shown))
        assert shown.startswith(came.id)
        await bus.publish(Outgoing(came, "q"))
    assert len(await gather(await bus.subscribe("q", prefetch=10), 2)) == 2


async def test_acks_of_any_order_leave_nothing_behind(vhost: str, bus: RabbitBus) -> None:
    """Acks out of order, with some held back, settle exactly what was acked."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", *(str(n) for n in range(30))))
    subscription = await bus.subscribe("q", prefetch=30)
    held = await gather(subscription, 30, ack=False)
    kept = {3, 4, 11, 29}
    order = [n for n in range(30) if n not in kept]
    await subscription.ack([held[n] for n in order[10:20]])
    await asyncio.sleep(0)
    await subscription.ack([held[n] for n in order[:5]])
    await subscription.ack([held[n] for n in reversed(order[20:])])
    await asyncio.sleep(0.05)
    await subscription.ack([held[n] for n in order[5:10]])
    await subscription.close()
    again = await bus.subscribe("q", prefetch=30)
    assert [d.message.id for d in await gather(again, len(kept))] == [str(n) for n in sorted(kept)]
    assert (await bus.stats("q")).ready == 0


async def test_a_released_message_is_another_consumers_after_a_crash(vhost: str, bus: RabbitBus) -> None:
    """What was released and handed out again here stays unacked: without us the broker gives it away."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a"))
    doomed = RabbitBus(vhost)
    await doomed.start()
    subscription = await doomed.subscribe("q", prefetch=1)
    await subscription.release(await gather(subscription, 1, ack=False))
    await gather(subscription, 1, ack=False)
    await doomed.close()
    (delivery,) = await gather(await bus.subscribe("q", prefetch=1), 1)
    assert (delivery.message, delivery.deliveries) == (message("a"), 1)


@given(st.floats(min_value=0.001, max_value=LONGEST_DELAY))
def test_a_tier_is_never_shorter_and_at_most_half_longer(delay: float) -> None:
    """Every delay has a tier that is not shorter, and at most half too long (from 50 ms on)."""
    tier = tier_of(delay) / 1000
    assert delay <= tier <= max(1.5 * delay, 0.05)
    assert delay_name(tier_of(delay)) == f"antiphon.delay.{tier_of(delay)}ms"


@given(st.floats(0.001, 600.0), st.floats(1.0, 5.0), st.floats(0.0, 1.0))
def test_a_span_of_delays_has_all_of_its_tiers(least: float, times: float, share: float) -> None:
    """Whatever a retry's jitter makes of a delay, its queue was made with the reactor's."""
    most = least * times
    delay = min(least + share * (most - least), most)
    assert tier_of(delay) in tiers_of([(least, most)])
    assert tiers_of([(least, least)]) == [tier_of(least)]


async def test_what_delays_need_is_made_with_the_queue(vhost: str, bus: RabbitBus) -> None:
    """And not at the first retry: a node of the cluster may be down by then."""
    await bus.declare(Queue("q", delays=((0.4, 0.6),)))
    connection = await aio_pika.connect(vhost)
    async with connection, connection.channel() as channel:
        for tier in (567, 850):
            assert (await channel.declare_queue(delay_name(tier), passive=True)).name == delay_name(tier)


async def test_headers_that_fit_into_no_frame_are_refused_here(bus: RabbitBus) -> None:
    """The broker would close the connection for them, with all that was under way on it."""
    await bus.declare(Queue("q"))
    connection = await bus._out.connection()
    with pytest.raises(ConfigurationError, match="room"):
        await bus.publish(Outgoing(Message("p", b"x", headers={"big": "x" * 140_000}), "q"))
    await bus.publish(Outgoing(Message("a", b"x", headers={"big": "x" * 130_000}), "q"))
    assert await bus._out.connection() is connection
    (delivery,) = await gather(await bus.subscribe("q", prefetch=1), 1)
    assert len(str(delivery.message.headers["big"])) == 130_000


async def test_what_a_sender_says_of_earlier_deliveries_does_not_count(vhost: str, bus: RabbitBus) -> None:
    """The header is nobody's signature's: with it, what is too old would pass as come again."""
    await bus.declare(Queue("q"))
    connection = await aio_pika.connect(vhost)
    async with connection, connection.channel() as channel:
        odd = aio_pika.Message(b"{}", headers={"x-delivery-count": 3}, message_id="a")
        await channel.default_exchange.publish(odd, "q")
    (delivery,) = await gather(await bus.subscribe("q", prefetch=1), 1)
    assert delivery.deliveries == 0
