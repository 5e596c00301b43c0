"""What happens to the bus when RabbitMQ restarts, dies, blocks, or takes something away."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import aio_pika
import pytest

from antiphon.devservices import Rabbit
from bus.port import EVENTS, Binding, Bus, Outgoing, Queue, Subscription
from bus.rabbit import RabbitBus
from contracts.errors import BusUnavailable, ConfigurationError, PublishFailed, Unroutable
from tests.bus.controlled import close_connections, control, local
from tests.bus.helpers import PATIENCE, drained, gather, ids, message, to, until


@pytest.fixture
def vhost(rabbit: Rabbit) -> Iterator[str]:
    with rabbit.vhost() as url:
        yield url


@pytest.fixture
async def bus(vhost: str) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(vhost, publish_timeout=5.0, connect_timeout=5.0)
    await bus.start()
    yield bus
    await bus.close()


class Load:
    """Publishes numbers until stopped, again and again until confirmed, and consumes them meanwhile."""

    def __init__(self, bus: Bus, subscription: Subscription) -> None:
        self.confirmed: list[str] = []
        self.seen: Counter[str] = Counter()
        self._bus = bus
        self._subscription = subscription
        self._stop = asyncio.Event()
        self._publishers = [asyncio.create_task(self._publish(lane)) for lane in range(5)]
        self._consumer = asyncio.create_task(self._consume())

    async def _publish(self, lane: int) -> None:
        number = 0
        while not self._stop.is_set():
            id_ = f"{lane}-{number}"
            try:
                await self._bus.publish(*to("q", id_), timeout=2.0)
            except PublishFailed:
                await asyncio.sleep(0.05)
                continue
            self.confirmed.append(id_)
            number += 1
            await asyncio.sleep(0.002)

    async def _consume(self) -> None:
        while batch := await self._subscription.receive(50):
            self.seen.update(delivery.message.id for delivery in batch)
            await asyncio.sleep(0.001)
            await self._subscription.ack(batch)

    async def more(self, count: int) -> None:
        """Wait until so many more were confirmed."""
        goal = len(self.confirmed) + count

        async def reached() -> bool:
            return len(self.confirmed) >= goal

        await until(reached)

    async def end(self) -> None:
        """Stop publishing, and wait until everything that was confirmed has been consumed."""
        self._stop.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._publishers)

        async def all_seen() -> bool:
            return set(self.confirmed) <= set(self.seen)

        await until(all_seen)
        await self._subscription.close()
        await self._consumer


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_broker_goes_down_under_load_and_nothing_is_lost(
    rabbit: Rabbit, bus: RabbitBus, how: str
) -> None:
    """Stopped or killed while publishing and consuming: the same subscription gets all that was confirmed."""
    broker = local(rabbit)
    await bus.declare(Queue("q"))
    load = Load(bus, await bus.subscribe("q", prefetch=50))
    await load.more(100)
    if how == "kill":
        # RabbitMQ 3.10 writes down lazily which quorum queues it has: one that was made just before a power
        # cut stays unusable. It is not the messages that need this time.
        await asyncio.sleep(4)
    await asyncio.to_thread(broker.kill if how == "kill" else broker.stop)

    async def noticed() -> bool:
        return bus.state == "disconnected"

    await until(noticed)
    await asyncio.to_thread(broker.start)
    await load.more(100)
    assert bus.state == "connected"
    await load.end()


async def test_closed_connections_come_back(rabbit: Rabbit, vhost: str, bus: RabbitBus) -> None:
    """Connections that an operator closes are opened again, with their consumers."""
    await bus.declare(Queue("q"))
    load = Load(bus, await bus.subscribe("q", prefetch=50))
    await load.more(50)
    await close_connections(rabbit, vhost)
    await load.more(50)
    await load.end()


async def test_settling_after_a_reconnect_is_ignored_and_delivered_again(
    rabbit: Rabbit, vhost: str, bus: RabbitBus
) -> None:
    """A tag dies with its channel: acking it later changes nothing, and the message comes again, counted."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a", "b"))
    subscription = await bus.subscribe("q", prefetch=10)
    held = await gather(subscription, 2, ack=False)
    await close_connections(rabbit, vhost)
    again = await gather(subscription, 2, ack=False)
    await subscription.ack(held)
    await subscription.release(held)
    await subscription.reject(held)
    assert [(d.message.id, d.deliveries) for d in again] == [("a", 1), ("b", 1)]
    await subscription.ack(again)
    await subscription.close()
    assert await drained(bus, "q") == []
    assert await drained(bus, "q.dead") == []


async def test_a_deleted_queue_is_made_again_with_its_consumers(vhost: str, bus: RabbitBus) -> None:
    """The broker cancels the consumers of a deleted queue: they come back, and so do queue and bindings."""
    await bus.declare(Queue("q", (Binding(EVENTS, "ride.#"),), single_active=True))
    subscription = await bus.subscribe("q", prefetch=10)
    await _delete(vhost, "q")

    async def back() -> bool:
        try:
            return (await bus.stats("q")).consumers == 1
        except ConfigurationError:
            return False

    await until(back)
    await bus.publish(Outgoing(message("a"), "ride.booked.v1", EVENTS))
    assert await ids(subscription, 1) == ["a"]


async def test_a_consumer_waits_for_a_queue_that_somebody_else_declares(vhost: str, bus: RabbitBus) -> None:
    """A deleted queue that this bus did not declare is consumed again as soon as its owner makes it again."""
    owner = RabbitBus(vhost)
    await owner.start()
    await owner.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=10)
    await _delete(vhost, "q")
    await asyncio.sleep(0.3)
    await owner.declare(Queue("q"))
    await owner.publish(*to("q", "a"))
    assert await ids(subscription, 1) == ["a"]
    await owner.close()


async def test_a_deleted_dead_queue_is_made_again(vhost: str, bus: RabbitBus) -> None:
    """Refusing a message when its dead queue was deleted makes the queue again instead of losing it."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a"))
    await _delete(vhost, "q.dead")
    subscription = await bus.subscribe("q", prefetch=10)
    await subscription.reject(await gather(subscription, 1, ack=False))
    assert await drained(bus, "q.dead") == ["a"]


async def test_deleted_exchanges_and_delay_tiers_are_made_again(vhost: str, bus: RabbitBus) -> None:
    """A publish that finds its exchange deleted gets it back, and its channel too."""
    await bus.declare(Queue("q", (Binding(EVENTS, "ride.#"),)))
    subscription = await bus.subscribe("q", prefetch=10)
    await bus.publish(*to("q", "a", delay=0.05))
    assert await ids(subscription, 1) == ["a"]
    connection = await aio_pika.connect(vhost)
    async with connection, connection.channel() as channel:
        for name in ("antiphon.delay.50ms", EVENTS):
            await (await channel.get_exchange(name)).delete()
    await bus.publish(*to("q", "b", delay=0.05))
    assert await ids(subscription, 1) == ["b"]
    with pytest.raises(PublishFailed) as caught:
        await bus.publish(Outgoing(message("c"), "nobody", EVENTS))
    assert isinstance(caught.value.errors[0], Unroutable)
    await bus.publish(*to("q", "d"))
    assert await ids(subscription, 1) == ["d"]


async def test_a_deleted_delay_queue_is_made_again(vhost: str, bus: RabbitBus) -> None:
    """A delay tier whose queue was deleted takes no message for unroutable: it gets its queue back."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=10)
    await bus.publish(*to("q", "a", delay=0.05))
    assert await ids(subscription, 1) == ["a"]
    await _delete(vhost, "antiphon.delay.50ms")
    await bus.publish(*to("q", "b", delay=0.05))
    assert await ids(subscription, 1) == ["b"]


async def test_blocked_is_a_state_and_publishing_fails_in_time(rabbit: Rabbit, bus: RabbitBus) -> None:
    """A broker short of memory blocks publishes: they fail in time, and consumers go on."""
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", *(str(n) for n in range(10))))
    subscription = await bus.subscribe("q", prefetch=5)
    await control(rabbit, "set_vm_memory_high_watermark", "0")
    try:

        async def blocked() -> bool:
            with pytest.raises(PublishFailed) as caught:
                await bus.publish(*to("q", "x"), timeout=0.3)
            assert isinstance(caught.value.errors[0], BusUnavailable)
            return bus.state == "blocked"

        await until(blocked)
        with pytest.raises(PublishFailed, match="short of memory"):
            await bus.publish(*to("q", "y"), timeout=0.3)
        assert await ids(subscription, 10) == [str(n) for n in range(10)]
    finally:
        await control(rabbit, "set_vm_memory_high_watermark", "0.4")
    await bus.publish(*to("q", "z"), timeout=PATIENCE)
    assert bus.state == "connected"
    seen: list[str] = []
    while "z" not in seen:
        seen += await ids(subscription, 1)
    assert "y" not in seen


@pytest.mark.slow
async def test_a_broker_that_is_not_there(rabbit: Rabbit, vhost: str, bus: RabbitBus) -> None:
    """While the broker is down publishes fail in time, a new bus can't start, and all recovers afterwards."""
    broker = local(rabbit)
    await bus.declare(Queue("q"))
    await asyncio.to_thread(broker.stop)
    try:
        with pytest.raises(PublishFailed) as caught:
            await bus.publish(*to("q", "a", "b"), timeout=0.5)
        assert [type(error) for error in caught.value.errors.values()] == [BusUnavailable, BusUnavailable]
        assert bus.state == "disconnected"
        with pytest.raises(BusUnavailable, match="could not be reached"):
            await RabbitBus(vhost, connect_timeout=0.5).start()
        waiting = asyncio.create_task(bus.publish(*to("q", "c"), timeout=PATIENCE))
    finally:
        await asyncio.to_thread(broker.start)
    await waiting

    async def connected() -> bool:  # publishing and consuming are two connections, and may pause for seconds
        return bus.state == "connected"

    await until(connected)
    assert "c" in await drained(bus, "q")


async def test_a_wrong_password_is_said_at_once(vhost: str) -> None:
    """A refused login is a mistake in the settings, not an outage."""
    with pytest.raises(ConfigurationError, match="refused the login"):
        await RabbitBus(vhost.replace("guest:guest@", "guest:wrong@")).start()


async def test_a_vhost_that_is_not_there_is_named(vhost: str) -> None:
    """The broker answers, so that nobody looks for it; it may be made a moment later, so that it is tried."""
    bus = RabbitBus(f"{vhost}-not", connect_timeout=0.5)
    with pytest.raises(
        BusUnavailable, match=rf"not let this user into the vhost '{vhost.rpartition('/')[2]}-not'"
    ):
        await bus.start()


async def test_a_return_after_its_publisher_gave_up_harms_nobody(bus: RabbitBus) -> None:
    """An outcome that comes too late for its publisher leaves the channel to the others."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=100)
    for n in range(20):
        hurried = asyncio.create_task(bus.publish(*to("nowhere", f"lost {n}"), timeout=0.0005))
        await bus.publish(*to("q", str(n)))
        with pytest.raises(PublishFailed):
            await hurried
    assert await ids(subscription, 20) == [str(n) for n in range(20)]


async def test_a_cancelled_publish_harms_nobody(bus: RabbitBus) -> None:
    """Cancelling a publisher at any moment leaves the others their confirms."""
    await bus.declare(Queue("q"))
    for n in range(30):
        doomed = asyncio.create_task(bus.publish(*to("nowhere", f"x{n}"), *to("q", f"y{n}")))
        for _ in range(n % 10):
            await asyncio.sleep(0)
        doomed.cancel()
        await bus.publish(*to("q", f"z{n}"))
    found = await drained(bus, "q")
    assert [id_ for id_ in found if id_.startswith("z")] == [f"z{n}" for n in range(30)]


async def test_nothing_of_the_bus_is_garbage(bus: RabbitBus) -> None:
    """Consumers and publishers outlive the garbage collector: aio-pika refers to its objects weakly."""
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=10)
    for n in range(3):
        gc.collect()
        await bus.publish(*to("q", str(n)))
        assert await ids(subscription, 1) == [str(n)]


async def _delete(vhost: str, queue: str) -> None:
    connection = await aio_pika.connect(vhost)
    async with connection, connection.channel() as channel:
        await (await channel.get_queue(queue)).delete(if_unused=False, if_empty=False)
