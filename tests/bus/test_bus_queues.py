"""Conformance: order, delay, declaring, and how queues stand."""

from __future__ import annotations

import asyncio
import time

import pytest

from bus.port import EVENTS, Binding, Bus, Outgoing, Queue
from contracts.errors import ConfigurationError, PublishFailed, Unroutable
from tests.bus.brokers import Broker
from tests.bus.helpers import drained, gather, ids, message, nothing_more, to, until


async def test_messages_come_in_the_order_of_their_confirms(bus: Bus) -> None:
    """One subscription of a single-active queue sees the order in which publishes returned."""
    await bus.declare(Queue("q", single_active=True))
    for n in range(0, 60, 3):
        await bus.publish(*to("q", *(str(m) for m in range(n, n + 3))))
    subscription = await bus.subscribe("q", prefetch=7)
    assert await ids(subscription, 60) == [str(n) for n in range(60)]


async def test_single_active_hands_over_in_order(bus: Bus) -> None:
    """Only one subscription gets anything; when it goes, the next goes on with what was not settled."""
    await bus.declare(Queue("q", single_active=True))
    first = await bus.subscribe("q", prefetch=4)
    second = await bus.subscribe("q", prefetch=4)
    await bus.publish(*to("q", *"abcdef"))
    held = await gather(first, 4, ack=False)
    assert await nothing_more(second)
    await first.ack(held[:2])
    await first.close()
    assert await ids(second, 4) == list("cdef")


async def test_delayed_is_never_early_and_arrives(bus: Bus) -> None:
    """A delayed message arrives by its queue's name, after its delay and not before."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=10)
    started = time.monotonic()
    await bus.publish(*to("q", "late", delay=0.6), *to("q", "sooner", delay=0.2), *to("q", "now"))
    got = []
    for _ in range(3):
        (delivery,) = await gather(subscription, 1)
        got.append((delivery.message.id, time.monotonic() - started))
        assert (delivery.exchange, delivery.routing_key, delivery.deliveries) == ("", "q", 0)
        assert delivery.message == message(delivery.message.id)
    assert [id_ for id_, _ in got] == ["now", "sooner", "late"]
    assert got[1][1] >= 0.2
    assert got[2][1] >= 0.6


async def test_delayed_is_durable(broker: Broker) -> None:
    """A delayed message waits through a restart of the bus, and is not ready meanwhile."""
    bus = await broker.connect()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a", delay=0.5))
    assert (await bus.stats("q")).ready == 0
    await bus.close()
    again = await broker.connect()
    subscription = await again.subscribe("q", prefetch=1)
    assert await ids(subscription, 1) == ["a"]


async def test_delays_that_no_message_can_wait_for(bus: Bus) -> None:
    """A queue may have retries after months: they wait several times, and what that needs can be made."""
    await bus.declare(Queue("q", delays=((40 * 86_400.0, 60 * 86_400.0),)))
    await bus.publish(*to("q", "a", delay=0.05))
    assert await ids(await bus.subscribe("q", prefetch=1), 1) == ["a"]


async def test_delay_towards_no_queue_is_unroutable(bus: Bus) -> None:
    """A delayed message for a queue that does not exist fails now, not silently later."""
    await bus.declare(Queue("q"))
    with pytest.raises(PublishFailed) as caught:
        await bus.publish(*to("q", "a", delay=0.1), *to("nowhere", "b", delay=0.1))
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Unroutable}
    subscription = await bus.subscribe("q", prefetch=1)
    assert await ids(subscription, 1) == ["a"]


async def test_declaring_again_is_harmless_and_adds_bindings(bus: Bus) -> None:
    """The same queue may be declared by everybody; a new binding is added to those it has."""
    queue = Queue("q", (Binding(EVENTS, "a.#"),))
    await bus.declare(queue)
    await bus.publish(Outgoing(message("1"), "a.x", EVENTS))
    await asyncio.gather(*(bus.declare(queue, queue) for _ in range(3)))
    await bus.declare(Queue("q", (Binding(EVENTS, "b.#"),)))
    await bus.publish(Outgoing(message("2"), "b.x", EVENTS), Outgoing(message("3"), "a.y", EVENTS))
    assert await drained(bus, "q") == ["1", "2", "3"]


async def test_a_queue_exists_from_its_declaration_on(broker: Broker) -> None:
    """Queues and bindings survive the bus that declared them."""
    bus = await broker.connect()
    await bus.declare(Queue("q", (Binding(EVENTS, "a.#"),)))
    await bus.close()
    again = await broker.connect()
    await again.publish(Outgoing(message("1"), "a.x", EVENTS))
    assert await drained(again, "q") == ["1"]
    assert await drained(again, "q.dead") == []


async def test_declaring_with_other_arguments_is_refused(bus: Bus) -> None:
    """A queue can't change what it is; the refusal leaves the queue, its consumers and the bus intact."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=1)
    with pytest.raises(ConfigurationError, match="q"):
        await bus.declare(Queue("q", single_active=True))
    await bus.publish(*to("q", "a"))
    assert await ids(subscription, 1) == ["a"]
    await bus.declare(Queue("p"))


@pytest.mark.parametrize(
    "queue",
    [
        Queue(""),
        Queue("n" * 252),
        Queue("q", (Binding("no.such", "x"),)),
        Queue("q", (Binding(EVENTS, "x" * 256),)),
    ],
)
async def test_impossible_queues_are_refused(bus: Bus, queue: Queue) -> None:
    """A name or a binding that no broker has is the caller's mistake."""
    with pytest.raises(ConfigurationError):
        await bus.declare(queue)


async def test_stats_show_depth_and_consumers(bus: Bus) -> None:
    """Ready, unsettled where known, and consumers are counted."""
    await bus.declare(Queue("q"))
    empty = await bus.stats("q")
    assert (empty.ready, empty.consumers, empty.oldest) == (0, 0, None)
    await bus.publish(*to("q", *"abcde"))

    async def all_ready() -> bool:
        return (await bus.stats("q")).ready == 5

    await until(all_ready)
    subscription = await bus.subscribe("q", prefetch=2)
    await gather(subscription, 2, ack=False)

    async def two_in_hand() -> bool:
        stats = await bus.stats("q")
        return (stats.ready, stats.consumers) == (3, 1) and stats.unsettled in (None, 2)

    await until(two_in_hand)
    oldest = (await bus.stats("q")).oldest
    assert oldest is not None
    assert 0 <= oldest < 600


async def test_purge_drops_what_is_ready(broker: Broker) -> None:
    """Purge drops and counts what is ready, for good, and leaves what is in hand."""
    bus = await broker.connect()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", *"abcd"))
    subscription = await bus.subscribe("q", prefetch=1)
    held = await gather(subscription, 1, ack=False)
    assert await bus.purge("q") == 3
    await subscription.release(held)
    await bus.close()
    again = await broker.connect()
    assert await drained(again, "q") == ["a"]
