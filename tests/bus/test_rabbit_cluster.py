"""Several nodes: the bus goes to another when its own is lost, and quorum queues lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from antiphon.devservices import Rabbit, RabbitCluster, ServiceUnavailable
from antiphon.devservices.ports import free_ports
from antiphon.devservices.rabbit import find_rabbit
from bus.addresses import addresses
from bus.port import Outgoing, Queue, Subscription
from bus.rabbit import RabbitBus
from contracts.errors import BusUnavailable, ConfigurationError, PublishFailed
from tests.bus.helpers import PATIENCE, to, until

pytestmark = pytest.mark.timeout(300)

ELECTION = 60.0  # seconds until another node must lead, however busy the machine


@pytest.fixture(scope="module")
def cluster(rabbit: Rabbit) -> Iterator[RabbitCluster]:
    script = find_rabbit()  # the fixture has installed it, or an address of somebody else's is set
    if script is None:
        raise ServiceUnavailable("a cluster is started here, and RabbitMQ is not installed on this machine")
    with RabbitCluster(script) as running:
        yield running


async def confirmed(bus: RabbitBus, outgoing: Sequence[Outgoing]) -> None:
    """Publish until all is confirmed, as everybody does who must: a queue that elects a leader may refuse."""
    waiting = list(outgoing)
    async with asyncio.timeout(ELECTION):
        while waiting:
            try:
                await bus.publish(*waiting)
            except PublishFailed as failed:
                waiting = [waiting[index] for index in failed.errors]
                await asyncio.sleep(0.1)
            else:
                return


async def arrive(subscription: Subscription, wanted: set[str]) -> None:
    """Receive until all of these were there; some may come twice."""
    missing = set(wanted)
    async with asyncio.timeout(PATIENCE):
        while missing:
            batch = await subscription.receive(50)
            missing -= {delivery.message.id for delivery in batch}
            await subscription.ack(batch)


def test_addresses_are_split_where_one_begins() -> None:
    """A comma inside of an address, in a vhost say, belongs to it."""
    assert addresses("amqp://a/v") == ("amqp://a/v",)
    assert addresses("amqp://a/v,w , amqps://b") == ("amqp://a/v,w", "amqps://b")
    assert addresses("") == ()


async def test_a_node_that_is_not_there_is_passed_over(rabbit: Rabbit) -> None:
    """Whichever comes first; and when none is there, all of them are named."""
    (nobody,) = free_ports(1)
    dead = f"amqp://guest:guest@127.0.0.1:{nobody}/"
    with rabbit.vhost() as vhost:
        for url in (f"{dead},{vhost}", f"{vhost},{dead}"):
            bus = RabbitBus(url, connect_timeout=10.0)
            await bus.start()
            assert bus.state == "connected"
            await bus.close()
    with pytest.raises(BusUnavailable, match=rf"127.0.0.1:{nobody}, 127.0.0.1:{nobody} could not be reached"):
        await RabbitBus(f"{dead},{dead}", connect_timeout=0.5).start()
    with pytest.raises(ConfigurationError, match="certificates are always verified"):
        RabbitBus(f"{dead},{dead}?no_verify_ssl=1")


async def test_the_leading_node_is_killed_and_the_bus_goes_on_at_another(cluster: RabbitCluster) -> None:
    """What was confirmed before is there, publishing and consuming go on, and the node comes back."""
    bus = RabbitBus(cluster.url, connect_timeout=20.0)
    await bus.start()
    try:
        await bus.declare(Queue("q"))
        assert await asyncio.to_thread(cluster.members, "q") == (3, 3)
        sent = {f"{when}{n}" for when in ("before", "after") for n in range(20)}
        await confirmed(bus, to("q", *(f"before{n}" for n in range(20))))
        leader = await asyncio.to_thread(cluster.leader, "q")
        await asyncio.to_thread(leader.kill)
        await confirmed(bus, to("q", *(f"after{n}" for n in range(20))))
        await arrive(await bus.subscribe("q", prefetch=50), sent)
        await asyncio.to_thread(leader.start)

        async def whole() -> bool:
            return await asyncio.to_thread(cluster.members, "q") == (3, 3)

        await until(whole)
    finally:
        await bus.close()


async def test_who_publishes_for_the_first_time_while_the_leader_is_dead_is_not_refused_until_it_is_back(
    cluster: RabbitCluster,
) -> None:
    """RabbitMQ remembers on each channel which node led when it was first used, and refuses while it is down.

    Hence what is refused is sent again on another channel. Many of them here, for most must be early enough.
    """
    first = RabbitBus(cluster.url)
    await first.start()
    await first.declare(Queue("w"))
    await confirmed(first, to("w", "before"))
    await first.close()
    leader = await asyncio.to_thread(cluster.leader, "w")
    others = [node.url for node in cluster.nodes if node is not leader]
    buses = [RabbitBus(url) for url in others * 10]
    await asyncio.gather(*(bus.start() for bus in buses))
    try:
        await asyncio.to_thread(leader.kill)
        await asyncio.gather(*(confirmed(bus, to("w", f"{n}")) for n, bus in enumerate(buses)))
        assert not leader.running
        await arrive(await buses[0].subscribe("w", prefetch=50), {"before", *map(str, range(len(buses)))})
    finally:
        await asyncio.gather(*(bus.close() for bus in buses))
        await asyncio.to_thread(leader.start)
