"""Conformance: consuming and settling."""

from __future__ import annotations

import asyncio

import pytest

from bus.dead import DEAD_DELIVERIES, DEAD_EXCHANGE, DEAD_QUEUE, DEAD_ROUTING_KEY
from bus.port import EVENTS, Binding, Bus, Outgoing, Queue
from contracts.errors import ConfigurationError
from tests.bus.brokers import Broker
from tests.bus.helpers import PATIENCE, drained, gather, ids, message, nothing_more, to, until


async def test_acked_is_forgotten(broker: Broker) -> None:
    """An acked message does not come back, not even after the bus did."""
    bus = await broker.connect()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a", "b", "c"))
    subscription = await bus.subscribe("q", prefetch=10)
    assert await ids(subscription, 3) == ["a", "b", "c"]
    await bus.close()
    again = await broker.connect()
    assert await drained(again, "q") == []


async def test_receive_waits_for_the_first(bus: Bus) -> None:
    """A receiver that is already waiting gets what is published later."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=10)
    waiting = asyncio.create_task(gather(subscription, 1))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await bus.publish(*to("q", "a"))
    assert (await waiting)[0].message.id == "a"


async def test_receive_returns_at_most_what_was_asked(bus: Bus) -> None:
    """``most`` bounds a batch; the rest stays for the next."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", *"abcdef"))
    subscription = await bus.subscribe("q", prefetch=100)
    await until(lambda: _true(subscription is not None))
    first = await subscription.receive(2)
    assert 1 <= len(first) <= 2
    rest = await gather(subscription, 6 - len(first))
    assert [delivery.message.id for delivery in (*first, *rest)] == list("abcdef")


async def _true(value: bool) -> bool:
    return value


async def test_prefetch_bounds_the_unsettled(bus: Bus) -> None:
    """No more than ``prefetch`` are in hand; settling one makes room for the next."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", *"abcd"))
    subscription = await bus.subscribe("q", prefetch=2)
    held = await gather(subscription, 2, ack=False)
    assert await nothing_more(subscription)
    await subscription.ack(held[1:])
    (third,) = await gather(subscription, 1, ack=False)
    assert third.message.id == "c"
    assert await nothing_more(subscription)
    await subscription.ack([held[0], third])
    assert await ids(subscription, 1) == ["d"]


async def test_released_comes_back_first_and_counted(bus: Bus) -> None:
    """What is released is at the front again, with one delivery more."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a", "b"))
    subscription = await bus.subscribe("q", prefetch=1)
    for count in range(3):
        (delivery,) = await gather(subscription, 1, ack=False)
        assert (delivery.message.id, delivery.deliveries) == ("a", count)
        await subscription.release([delivery])
    assert await ids(subscription, 2) == ["a", "b"]


async def test_several_released_keep_their_order(bus: Bus) -> None:
    """Released together in any order, messages come back in the order of the queue."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", *"abcd"))
    subscription = await bus.subscribe("q", prefetch=3)
    a, b, c = await gather(subscription, 3, ack=False)
    await subscription.release([c, a, b])
    again = await gather(subscription, 4)
    assert [(d.message.id, d.deliveries) for d in again] == [("a", 1), ("b", 1), ("c", 1), ("d", 0)]


async def test_unsettled_is_delivered_again_when_a_subscription_closes(bus: Bus) -> None:
    """What a subscription held unsettled goes to the next one, counted; what it acked does not."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", *"abc"))
    first = await bus.subscribe("q", prefetch=3)
    held = await gather(first, 3, ack=False)
    await first.ack([held[1]])
    await first.close()
    await bus.publish(*to("q", "d"))
    second = await bus.subscribe("q", prefetch=10)
    again = await gather(second, 3)
    assert [(d.message.id, d.deliveries) for d in again] == [("a", 1), ("c", 1), ("d", 0)]


async def test_unsettled_is_delivered_again_when_the_bus_closes(broker: Broker) -> None:
    """What was in hand when the bus closed is delivered by the next one, counted."""
    bus = await broker.connect()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a", "b"))
    subscription = await bus.subscribe("q", prefetch=1)
    await gather(subscription, 1, ack=False)
    await bus.close()
    again = await broker.connect()
    subscription = await again.subscribe("q", prefetch=10)
    assert [(d.message.id, d.deliveries) for d in await gather(subscription, 2)] == [("a", 1), ("b", 0)]


async def test_settling_what_is_no_longer_held_is_ignored(bus: Bus) -> None:
    """Settling twice, or after the subscription closed, changes nothing and raises nothing."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a", "b"))
    subscription = await bus.subscribe("q", prefetch=10)
    a, b = await gather(subscription, 2, ack=False)
    await subscription.ack([a])
    await subscription.ack([a])
    await subscription.release([a])
    await subscription.reject([a])
    await subscription.close()
    await subscription.ack([b])
    await subscription.reject([b])
    await subscription.release([b])
    assert await drained(bus, "q") == ["b"]
    assert await drained(bus, "q.dead") == []


async def test_rejected_goes_to_the_dead_queue(bus: Bus) -> None:
    """A refused message is in ``<queue>.dead`` as it was, with where it came from, and nowhere else."""
    await bus.declare(Queue("q", (Binding(EVENTS, "ride.#"),)))
    await bus.publish(Outgoing(message("a"), "ride.booked.v1", EVENTS), *to("q", "b"))
    subscription = await bus.subscribe("q", prefetch=10)
    a, b = await gather(subscription, 2, ack=False)
    await subscription.reject([a])
    await subscription.ack([b])
    dead = await bus.subscribe("q.dead", prefetch=10)
    (body,) = await gather(dead, 1)
    assert (body.message.id, body.message.body) == ("a", message("a").body)
    assert body.message.headers == {
        **message("a").headers,
        DEAD_QUEUE: "q",
        DEAD_EXCHANGE: EVENTS,
        DEAD_ROUTING_KEY: "ride.booked.v1",
        DEAD_DELIVERIES: 1,
    }
    await subscription.close()
    assert await drained(bus, "q") == []


async def test_rejected_from_the_dead_queue_stays_there(bus: Bus) -> None:
    """A dead queue has no dead queue of its own: refusing there loses nothing, nor the first reason."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a"))
    subscription = await bus.subscribe("q", prefetch=1)
    await subscription.reject(await gather(subscription, 1, ack=False))
    dead = await bus.subscribe("q.dead", prefetch=1)
    await dead.reject(await gather(dead, 1, ack=False))
    (again,) = await gather(dead, 1)
    assert (again.message.id, again.message.headers[DEAD_QUEUE]) == ("a", "q")


async def test_receive_ends_when_closed(bus: Bus) -> None:
    """A waiting receive returns the empty list once its subscription is closed, and so does the next."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=10)
    waiting = asyncio.create_task(subscription.receive(1))
    await asyncio.sleep(0.05)
    await subscription.close()
    async with asyncio.timeout(PATIENCE):
        assert await waiting == []
        assert await subscription.receive(1) == []


async def test_receive_ends_when_the_bus_closes(bus: Bus) -> None:
    """Closing the bus closes its subscriptions."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=10)
    waiting = asyncio.create_task(subscription.receive(1))
    await asyncio.sleep(0.05)
    await bus.close()
    async with asyncio.timeout(PATIENCE):
        assert await waiting == []


async def test_cancelled_receive_loses_nothing(bus: Bus) -> None:
    """A receive that is cancelled at any moment leaves every message to the next one."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=100)
    got: list[str] = []
    for n in range(30):
        receiving = asyncio.create_task(subscription.receive(10))
        await asyncio.sleep(0)
        publishing = asyncio.create_task(bus.publish(*to("q", str(n))))
        for _ in range(n % 7):
            await asyncio.sleep(0)
        receiving.cancel()
        await publishing
        for batch in await asyncio.gather(receiving, return_exceptions=True):
            if isinstance(batch, list):
                got += [delivery.message.id for delivery in batch]
                await subscription.ack(batch)
    got += await ids(subscription, 30 - len(got))
    assert sorted(got, key=int) == [str(n) for n in range(30)]


async def test_consumers_compete(bus: Bus) -> None:
    """Two subscriptions share a queue: each gets some, and nothing is handed to both."""
    await bus.declare(Queue("q"))
    one, two = await bus.subscribe("q", prefetch=5), await bus.subscribe("q", prefetch=5)
    seen: dict[str, list[str]] = {"one": [], "two": []}
    acked: list[str] = []

    async def consume(name: str, subscription: object) -> None:
        while batch := await subscription.receive(3):  # type: ignore[attr-defined]
            seen[name] += [delivery.message.id for delivery in batch]
            await asyncio.sleep(0.001)
            await subscription.ack(batch)  # type: ignore[attr-defined]
            acked.extend(delivery.message.id for delivery in batch)

    tasks = [asyncio.create_task(consume("one", one)), asyncio.create_task(consume("two", two))]
    await asyncio.sleep(0.05)
    await bus.publish(*to("q", *(str(n) for n in range(100))))
    # Acked, not only seen: what a subscription still holds when it closes goes to the other, as it must.
    await until(lambda: _true(len(acked) >= 100))
    await one.close()
    await two.close()
    await asyncio.gather(*tasks)
    assert sorted(seen["one"] + seen["two"], key=int) == [str(n) for n in range(100)]
    assert seen["one"]
    assert seen["two"]


async def test_a_slow_consumer_does_not_hold_up_the_other(bus: Bus) -> None:
    """One that holds its message for ever leaves the rest to the other."""
    await bus.declare(Queue("q"))
    slow, quick = await bus.subscribe("q", prefetch=1), await bus.subscribe("q", prefetch=1)
    await bus.publish(*to("q", "0"))
    held = await _first_of(slow, quick)
    other = quick if held is slow else slow
    await bus.publish(*to("q", *(str(n) for n in range(1, 20))))
    assert await ids(other, 19) == [str(n) for n in range(1, 20)]


async def _first_of(*subscriptions: object) -> object:
    """The subscription that got the one message; its delivery stays unsettled."""
    tasks = {asyncio.create_task(s.receive(1)): s for s in subscriptions}  # type: ignore[attr-defined]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return tasks[done.pop()]


async def test_subscribing_to_what_is_not_declared(bus: Bus) -> None:
    """A queue that does not exist can't be consumed, counted or purged; the bus works on."""
    for call in (bus.subscribe("nowhere", prefetch=1), bus.stats("nowhere"), bus.purge("nowhere")):
        with pytest.raises(ConfigurationError, match="nowhere"):
            await call
    with pytest.raises(ConfigurationError):
        await bus.subscribe("nowhere", prefetch=0)
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a"))
    assert await drained(bus, "q") == ["a"]
