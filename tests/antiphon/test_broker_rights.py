"""What each user of a provisioned RabbitMQ can do, and what the broker refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed
from pamqp.common import FieldTable

from antiphon.broker.planning import Limits
from antiphon.devservices import Rabbit
from bus.port import COMMANDS, DIRECT, EVENTS, PARTITIONS, Binding, Message, Outgoing, Queue
from bus.rabbit import RabbitBus
from contracts.errors import ConfigurationError, NotPermitted, PublishFailed
from tests.antiphon.provisioned import PARTITIONS as COUNT
from tests.antiphon.provisioned import Provisioned, provisioned, small_app
from tests.bus.helpers import gather, ids, message


@pytest.fixture(scope="module")
def house(rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    folder = tmp_path_factory.mktemp("house")
    app = small_app(folder / "contracts", "rights")
    limits = Limits(deliveries=3, dead_messages=1000)
    with provisioned(rabbit, app, folder / "logins", limits=limits, may={"billing": ["far.away.v1"]}) as made:
        yield made


async def started(bus: RabbitBus) -> RabbitBus:
    await bus.start()
    return bus


@asynccontextmanager
async def foreign(house: Provisioned, role: str) -> AsyncIterator[AbstractChannel]:
    """A channel of another client, with the login of a role."""
    async with await aio_pika.connect(house.url(role)) as connection:
        yield await connection.channel()


async def refused(bus: RabbitBus, out: Outgoing) -> str:
    """The reason why the broker does not take it from this user."""
    with pytest.raises(PublishFailed) as failed:
        await bus.publish(out)
    error = failed.value.errors[0]
    assert isinstance(error, NotPermitted), error
    return str(error)


async def test_a_role_publishes_what_is_its_own(house: Provisioned) -> None:
    """Events by the orchestrator and a producer, commands, replies, and what goes back on one's own queue."""
    orchestrator, bank = await started(house.bus("orchestrator")), await started(house.bus("bank"))
    reactors = await started(house.bus("reactors"))
    await orchestrator.publish(Outgoing(message("1"), "shop.sold.v1", EVENTS))
    await orchestrator.publish(Outgoing(message("2"), "bank", COMMANDS))
    await bank.publish(Outgoing(message("3"), "1", PARTITIONS))
    async with foreign(house, "billing") as channel:
        events = await channel.get_exchange(EVENTS, ensure=False)
        await events.publish(aio_pika.Message(b"{}", message_id="4", user_id="rights.billing"), "far.away.v1")
    await reactors.publish(Outgoing(message("5"), "reactor.tell", DIRECT))
    await reactors.publish(Outgoing(message("6"), "reactor.tell", DIRECT, delay=0.1))
    got = await gather(await reactors.subscribe("reactor.tell", prefetch=9), 4)
    assert sorted(delivery.message.id for delivery in got) == ["1", "4", "5", "6"]
    by = {d.message.id: (d.user, d.exchange) for d in got}
    assert by["1"] == ("rights.orchestrator", EVENTS)
    assert by["4"] == ("rights.billing", EVENTS)
    assert by["5"] == by["6"] == ("rights.reactors", DIRECT), "a hop is one, whichever way it took"
    assert await ids(await bank.subscribe("service.bank", prefetch=9), 1) == ["2"]
    assert await ids(await orchestrator.subscribe("partition.1", prefetch=9), 1) == ["3"]
    for bus in (orchestrator, bank, reactors):
        await bus.close()


async def test_the_orchestrator_puts_off_what_it_can_not_take_yet(house: Provisioned) -> None:
    """In a rolling deploy it has not every version's code, and its partition must not wait for that."""
    orchestrator = await started(house.bus("orchestrator"))
    await orchestrator.publish(Outgoing(message("later"), "partition.0", delay=0.1))
    assert await ids(await orchestrator.subscribe("partition.0", prefetch=9), 1) == ["later"]
    await orchestrator.close()


async def test_nobody_publishes_another_s_type(house: Provisioned) -> None:
    """A service has no events, a reactor not those of flows, a producer not those of others."""
    for role, type in [("reactors", "shop.sold.v1"), ("orchestrator", "far.away.v1")]:
        bus = await started(house.bus(role))
        assert f"topic '{type}'" in await refused(bus, Outgoing(message("x"), type, EVENTS))
        await bus.close()
    async with foreign(house, "billing") as channel:
        events = await channel.get_exchange(EVENTS, ensure=False)
        with pytest.raises(ChannelAccessRefused, match=r"topic 'shop\.sold\.v1'"):
            await events.publish(aio_pika.Message(b"{}"), "shop.sold.v1")
    bank = await started(house.bus("bank"))
    assert "antiphon.events" in await refused(bank, Outgoing(message("x"), "shop.sold.v1", EVENTS))
    assert "antiphon.commands" in await refused(bank, Outgoing(message("x"), "post", COMMANDS))
    await bank.close()


async def test_nobody_reaches_another_s_queue(house: Provisioned) -> None:
    """Neither by the default exchange, nor by one's own or another's direct exchange, nor by a delay."""
    bank = await started(house.bus("bank"))
    with pytest.raises(PublishFailed, match="reached no queue"):
        await bank.publish(Outgoing(message("x"), "service.post"))
    # A delayed one is taken, and ends nowhere: the tier leads back to the bank's own exchange.
    await bank.publish(Outgoing(message("lost"), "service.post", delay=0.05))
    impostor = await started(house.bus("bank", as_user="rights.post"))
    assert "antiphon.direct.rights.post" in await refused(impostor, Outgoing(message("x"), "service.post"))
    await impostor.close()
    post = await started(house.bus("post"))
    await post.publish(Outgoing(message("end"), "service.post", delay=0.5))
    assert await ids(await post.subscribe("service.post", prefetch=9), 1) == ["end"]
    await bank.close()
    await post.close()


async def test_the_default_exchange_is_closed(house: Provisioned) -> None:
    """A program that is not ours, with the login of a service, can't put anything on a queue directly."""
    async with foreign(house, "bank") as channel:
        with pytest.raises(ChannelAccessRefused, match=r"amq\.default"):
            await channel.default_exchange.publish(aio_pika.Message(b"{}"), "service.bank")
    with pytest.raises(NotPermitted, match="ANTIPHON_BROKER=provisioned"):
        await RabbitBus(house.url("bank")).start()  # it would declare the exchanges


async def test_nobody_reads_another_s_queue(house: Provisioned) -> None:
    """The broker refuses the consumer, and says which queue."""
    bank = await started(house.bus("bank"))
    for queue in ("service.post", "reactor.tell", "partition.0", "service.post.dead"):
        with pytest.raises(NotPermitted, match=queue):
            await bank.subscribe(queue, prefetch=1)
    await bank.close()


async def test_nobody_makes_or_binds_anything(house: Provisioned) -> None:
    """Declaring looks only; what is missing is said with the command that makes it."""
    reactors = await started(house.bus("reactors"))
    await reactors.declare(Queue("reactor.tell", (Binding(EVENTS, "#"),)))
    with pytest.raises(ConfigurationError, match=r"'reactor.new' does not exist.*antiphon broker provision"):
        await reactors.declare(Queue("reactor.new"))
    await reactors.close()


async def _declare(channel: AbstractChannel) -> None:
    await channel.declare_queue("mine", durable=True)


async def _lead_away(channel: AbstractChannel) -> None:
    away: FieldTable = {"x-dead-letter-exchange": "antiphon.direct.rights.bank"}
    await channel.declare_queue("antiphon.delay.rights.reactors.1ms", durable=True, arguments=away)


async def _bind(channel: AbstractChannel) -> None:
    await (await channel.get_queue("reactor.tell", ensure=False)).bind(EVENTS, "#")


async def _purge(channel: AbstractChannel) -> None:
    await (await channel.get_queue("service.bank", ensure=False)).purge()


async def _delete(channel: AbstractChannel) -> None:
    await channel.queue_delete("reactor.tell")


@pytest.mark.parametrize("attempt", [_declare, _lead_away, _bind, _purge, _delete])
async def test_the_broker_refuses_to_change_anything(
    house: Provisioned, attempt: Callable[[AbstractChannel], Awaitable[None]]
) -> None:
    """Queues, a delay tier whose messages end at another's, bindings: not with the login of a role."""
    async with foreign(house, "reactors") as channel:
        with pytest.raises(ChannelAccessRefused):
            await attempt(channel)


async def test_a_spoofed_user_id_is_refused(house: Provisioned) -> None:
    """The broker compares it with the login (406), whatever client says it."""
    liar = await started(house.bus("orchestrator", as_user="rights.gateway"))
    assert "user_id" in await refused(liar, Outgoing(message("x"), "shop.sold.v1", EVENTS))
    assert "user_id" in await refused(liar, Outgoing(message("y"), "shop.sold.v1", EVENTS)), (
        "on a new channel"
    )
    await liar.close()
    async with foreign(house, "bank") as channel:
        exchange = await channel.get_exchange(PARTITIONS, ensure=False)
        with pytest.raises(ChannelPreconditionFailed, match="user_id"):
            await exchange.publish(aio_pika.Message(b"{}", user_id="rights.gateway"), "0")


async def test_one_refusal_in_a_batch_leaves_the_others_confirmed(house: Provisioned) -> None:
    """A refusal closes the channel; what was under way beside it is sent again, itself is not."""
    orchestrator = await started(house.bus("orchestrator"))
    batch = [Outgoing(message(f"m{n}"), str(n % COUNT), PARTITIONS) for n in range(40)]
    batch[17] = Outgoing(message("m17"), "far.away.v1", EVENTS)
    with pytest.raises(PublishFailed) as failed:
        await orchestrator.publish(*batch)
    assert {index: type(error) for index, error in failed.value.errors.items()} == {17: NotPermitted}
    found: set[str] = set()
    for number in range(COUNT):
        subscription = await orchestrator.subscribe(f"partition.{number}", prefetch=99)
        while len({one for one in found if int(one[1:]) % COUNT == number}) < 20 - (number == 1):
            found |= set(await ids(subscription, 1))
        await subscription.close()
    assert found == {f"m{n}" for n in range(40) if n != 17}
    await orchestrator.close()


async def test_the_limit_of_deliveries_moves_a_poison_message_to_the_dead_queue(house: Provisioned) -> None:
    """A consumer that dies with a message again and again: the broker itself takes it out of the way."""
    reactors = await started(house.bus("reactors"))
    await reactors.publish(Outgoing(Message("poison", b"{}"), "reactor.count"))
    dead = await reactors.subscribe("reactor.count.dead", prefetch=1)
    for _ in range(4):  # the first delivery, and as many again as the policy allows
        victim = await reactors.subscribe("reactor.count", prefetch=1)
        assert (await gather(victim, 1, ack=False))[0].message.id == "poison"
        await victim.close()
    (buried,) = await gather(dead, 1)
    assert (buried.message.id, buried.user) == ("poison", "rights.reactors")
    await reactors.close()


async def test_what_is_refused_here_goes_to_ones_own_dead_queue(house: Provisioned) -> None:
    """``reject`` needs no more than the user's direct exchange."""
    bank, orchestrator = await started(house.bus("bank")), await started(house.bus("orchestrator"))
    await orchestrator.publish(Outgoing(message("bad"), "bank", COMMANDS))
    subscription = await bank.subscribe("service.bank", prefetch=1)
    await subscription.reject(await gather(subscription, 1, ack=False))
    assert await ids(await bank.subscribe("service.bank.dead", prefetch=1), 1) == ["bad"]
    await bank.close()
    await orchestrator.close()


async def test_the_gateway_sees_queues_and_redrives_to_any(house: Provisioned) -> None:
    """It puts messages back on reactors' queues and sees how they stand, and consumes none."""
    gateway = await started(house.bus("gateway"))
    assert (await gateway.stats("service.post")).consumers == 0
    await gateway.publish(Outgoing(message("again"), "service.post"))
    post = await started(house.bus("post"))
    assert await ids(await post.subscribe("service.post", prefetch=1), 1) == ["again"]
    with pytest.raises(NotPermitted):
        await gateway.subscribe("service.post", prefetch=1)
    await gateway.close()
    await post.close()


def test_provisioning_again_changes_nothing(house: Provisioned) -> None:
    """After everything above, the broker still is what the plan says."""
    assert house.changes() == ()
