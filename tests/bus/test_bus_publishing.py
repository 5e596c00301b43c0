"""Conformance: publishing."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bus.port import COMMANDS, DIRECT, EVENTS, PARTITIONS, Binding, Bus, Message, Outgoing, Queue
from contracts.errors import BusUnavailable, ConfigurationError, PublishFailed, Unroutable
from tests.bus.brokers import Broker
from tests.bus.helpers import drained, gather, ids, message, nothing_more, to


async def test_message_arrives_as_it_was_sent(bus: Bus) -> None:
    """Id, bytes, content type and headers, text and numbers alike, survive the way."""
    await bus.declare(Queue("q"))
    sent = Message(
        "id-1",
        bytes(range(256)),
        "application/x-anything",
        {"cloudEvents:subject": "größe €", "zero": 0, "big": 2**62, "below": -5, "empty": ""},
    )
    await bus.publish(Outgoing(sent, "q"), Outgoing(Message("id-2", b""), "q"))
    subscription = await bus.subscribe("q", prefetch=10)
    first, second = await gather(subscription, 2)
    assert first.message == sent
    assert (first.queue, first.exchange, first.routing_key, first.deliveries) == ("q", DIRECT, "q", 0)
    assert second.message == Message("id-2", b"")


async def test_published_is_durable(broker: Broker) -> None:
    """What publish returned for is there after the bus came back."""
    bus = await broker.connect()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a", "b"))
    await bus.close()
    again = await broker.connect()
    assert await drained(again, "q") == ["a", "b"]


async def test_unroutable_is_named_and_the_rest_confirmed(bus: Bus) -> None:
    """A message that reached no queue raises for its index alone; the others of its batch arrive."""
    await bus.declare(Queue("q"))
    with pytest.raises(PublishFailed) as caught:
        await bus.publish(
            *to("q", "a"),
            *to("nowhere", "b"),
            Outgoing(message("c"), "ride.booked.v1", EVENTS),
            *to("q", "d"),
        )
    assert {index: type(error) for index, error in caught.value.errors.items()} == {
        1: Unroutable,
        2: Unroutable,
    }
    assert "ride.booked.v1" in str(caught.value.errors[2])
    assert await drained(bus, "q") == ["a", "d"]


async def test_not_mandatory_may_reach_nobody(bus: Bus) -> None:
    """A message that is not mandatory and reaches no queue is confirmed."""
    await bus.publish(*to("nowhere", "a", mandatory=False))


async def test_same_id_twice_in_flight_keeps_outcomes_apart(bus: Bus) -> None:
    """Of two publishes with one id at the same moment, only the one without a queue fails."""
    await bus.declare(Queue("q"))
    for _ in range(20):
        good, bad, other = await asyncio.gather(
            bus.publish(*to("q", "same")),
            bus.publish(*to("nowhere", "same")),
            bus.publish(*to("q", "same")),
            return_exceptions=True,
        )
        assert good is None
        assert other is None
        assert isinstance(bad, PublishFailed)
        assert isinstance(bad.errors[0], Unroutable)
    assert await drained(bus, "q") == ["same"] * 40


async def test_same_id_twice_in_one_batch(bus: Bus) -> None:
    """A repeat inside one batch gets an outcome of its own."""
    await bus.declare(Queue("q"))
    with pytest.raises(PublishFailed) as caught:
        await bus.publish(*to("nowhere", "same"), *to("q", "same"))
    assert set(caught.value.errors) == {0}
    assert await drained(bus, "q") == ["same"]


async def test_what_is_sent_after_the_first_was_confirmed_is_waited_for_too(bus: Bus) -> None:
    """A repeat is sent once the other is confirmed, a delayed message once its queue was looked up."""
    await bus.declare(Queue("q"))
    for last in (to("nowhere", "same"), to("nowhere", "other", delay=1.0)):
        with pytest.raises(PublishFailed) as caught:
            await bus.publish(*to("q", "same"), *to("q", "same"), *last)
        assert set(caught.value.errors) == {2}
        assert isinstance(caught.value.errors[2], Unroutable)
    assert await drained(bus, "q") == ["same"] * 4


async def test_many_publishers_at_once(bus: Bus) -> None:
    """Hundreds of concurrent publishes are all confirmed, and arrive once each."""
    await bus.declare(Queue("q"))
    await asyncio.gather(*(bus.publish(*to("q", f"{n}-a", f"{n}-b")) for n in range(200)))
    subscription = await bus.subscribe("q", prefetch=500)
    got = Counter(await ids(subscription, 400))
    assert got == Counter(f"{n}-{x}" for n in range(200) for x in "ab")
    assert await nothing_more(subscription)


async def test_topics_route_by_words(bus: Bus) -> None:
    """``*`` stands for one word and ``#`` for any number of them."""
    await bus.declare(
        Queue("star", (Binding(EVENTS, "ride.*.v1"),)),
        Queue("hash", (Binding(EVENTS, "ride.#"),)),
        Queue("middle", (Binding(EVENTS, "#.booked.*"),)),
        Queue("exact", (Binding(EVENTS, "ride.booked.v1"),)),
    )
    for key in ("ride.booked.v1", "ride", "ride.x.booked.v2", "booked.v9", "trip.ended.v1.x"):
        await bus.publish(Outgoing(message(key), key, EVENTS, mandatory=False))
    assert await drained(bus, "star") == ["ride.booked.v1"]
    assert await drained(bus, "hash") == ["ride.booked.v1", "ride", "ride.x.booked.v2"]
    assert await drained(bus, "middle") == ["ride.booked.v1", "ride.x.booked.v2", "booked.v9"]
    assert await drained(bus, "exact") == ["ride.booked.v1"]


async def test_each_queue_gets_one_copy(bus: Bus) -> None:
    """Two queues get a copy each, and a queue with two matching bindings gets it once."""
    await bus.declare(
        Queue("twice", (Binding(EVENTS, "ride.*.v1"), Binding(EVENTS, "#"))),
        Queue("other", (Binding(EVENTS, "#"),)),
    )
    await bus.publish(Outgoing(message("a"), "ride.booked.v1", EVENTS))
    assert await drained(bus, "twice") == ["a"]
    assert await drained(bus, "other") == ["a"]


@pytest.mark.parametrize("exchange", [COMMANDS, PARTITIONS])
async def test_direct_exchanges_route_by_the_whole_key(bus: Bus, exchange: str) -> None:
    """Commands and partitions go where the key is the same, wildcards or not."""
    await bus.declare(Queue("q", (Binding(exchange, "payments"),)), Queue("wild", (Binding(exchange, "#"),)))
    await bus.publish(Outgoing(message("a"), "payments", exchange))
    with pytest.raises(PublishFailed):
        await bus.publish(Outgoing(message("b"), "payments.x", exchange))
    subscription = await bus.subscribe("q", prefetch=1)
    (delivery,) = await gather(subscription, 1)
    assert (delivery.message.id, delivery.exchange, delivery.routing_key) == ("a", exchange, "payments")
    assert await drained(bus, "wild") == []


@pytest.mark.parametrize(
    "outgoing",
    [
        Outgoing(message("a"), "k", "no.such.exchange"),
        Outgoing(message("a"), "k", EVENTS, delay=1.0),
        Outgoing(message("a"), "q", delay=-1.0),
        Outgoing(message("a"), "k" * 300),
        Outgoing(Message("i" * 300, b""), "q"),
        Outgoing(Message("a", b"", headers={"h": 1.5}), "q"),  # type: ignore[dict-item]
        Outgoing(Message("a", b"", headers={"h": 2**63}), "q"),
    ],
)
async def test_impossible_publish_is_refused_whole(bus: Bus, outgoing: Outgoing) -> None:
    """What no broker could carry is the caller's mistake, and nothing of its batch is sent."""
    await bus.declare(Queue("q"))
    with pytest.raises(ConfigurationError):
        await bus.publish(*to("q", "good"), outgoing)
    assert await drained(bus, "q") == []


async def test_publishing_nothing_is_fine(bus: Bus) -> None:
    """An empty batch is confirmed."""
    await bus.publish()


async def test_publish_before_start_and_after_close_fails_at_once(broker: Broker) -> None:
    """A bus that is not connected raises BusUnavailable for every message instead of hanging."""
    bus = broker.bus()
    with pytest.raises(PublishFailed) as caught:
        await bus.publish(*to("q", "a", "b"), timeout=0.2)
    assert [type(error) for error in caught.value.errors.values()] == [BusUnavailable, BusUnavailable]
    await bus.start()
    assert bus.state == "connected"
    await bus.close()
    assert bus.state == "disconnected"
    with pytest.raises(PublishFailed):
        await bus.publish(*to("q", "a"), timeout=0.2)


async def test_close_flushes_what_is_being_published(broker: Broker) -> None:
    """A publish under way when the bus closes is either durable or raises; it is never in between."""
    bus = await broker.connect()
    await bus.declare(Queue("q"))
    tasks = [asyncio.create_task(bus.publish(*to("q", str(n)))) for n in range(50)]
    await asyncio.sleep(0)
    await bus.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    confirmed = {str(n) for n, outcome in enumerate(outcomes) if outcome is None}
    assert all(outcome is None or isinstance(outcome, PublishFailed) for outcome in outcomes)
    again = await broker.connect()
    assert confirmed <= set(await drained(again, "q"))
