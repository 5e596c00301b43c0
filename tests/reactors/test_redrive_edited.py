"""A dead letter that is redriven with another payload arrives as the event that it was, saying that."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bus.port import DIRECT, Message, Outgoing
from contracts.envelope import STRUCTURED
from contracts.errors import ContractViolation, Terminal
from contracts.retry import Retry
from reactors.dead_letters import DeadLetters
from reactors.reactor import reacts_to
from store.tables import quarantine
from tests.reactors.world import BOOKED, WORKSPACE, World, booked, headers_of

BY = {"actor": "ada", "reason": "the fare was wrong"}
OLD, NEW = "fare.said.v1", "fare.said.v2"


async def test_in_structured_mode(world: World) -> None:
    """The attributes are in the body, too: they stay, whether the data was there as JSON or as base64."""
    seen: list[Any] = []

    @reacts_to(BOOKED, retry=Retry.once())
    async def notify(event: dict[str, Any]) -> None:
        seen.append(event)
        if "fare" not in event:
            raise Terminal("no fare")

    await world.run(notify)
    for n, data in enumerate(({"data": {"ride_id": "r"}}, {"data_base64": "eyJyaWRlX2lkIjogInIifQ=="})):
        document = {"specversion": "1.0", "id": f"e{n}", "source": "/x", "type": BOOKED}
        body = orjson.dumps({**document, "workspace": WORKSPACE, **data})
        await world.bus.publish(Outgoing(Message(f"e{n}", body, STRUCTURED), "reactor.notify", DIRECT))
    await world.until_settled("notify", "dead", "dead")
    letters = DeadLetters(world.database, world.bus, world.registry)
    for letter in await letters.letters(WORKSPACE):
        with pytest.raises(ContractViolation):
            await letters.redrive(WORKSPACE, letter.id, **BY, data={"ride_id": 7})
        await letters.redrive(WORKSPACE, letter.id, **BY, data={"ride_id": "r", "fare": 2})
    await world.until_settled("notify", "done", "done")
    assert seen[2:] == [{"ride_id": "r", "fare": 2}] * 2
    assert await world.rows(quarantine) == []


async def test_of_an_older_major(world: World) -> None:
    """What came is edited, by its own contract; it is carried over again on its way in."""
    for type, name in ((OLD, "euros"), (NEW, "cents")):
        number = {"properties": {name: {"type": "integer"}}, "required": [name]}
        world.registry.add(type, {"type": "object", **number, "additionalProperties": False})
    world.registry.upcasters.add(OLD, NEW, lambda data: {"cents": 100 * data["euros"]})
    seen: list[int] = []

    @reacts_to(NEW, retry=Retry.once())
    async def note(event: dict[str, Any]) -> None:
        seen.append(event["cents"])
        if event["cents"] < 0:
            raise Terminal("less than nothing")

    await world.run(note)
    headers = {**headers_of(booked(id="e1")), "cloudEvents:type": OLD}
    await world.put("reactor.note", b'{"euros": -2}', headers)
    await world.until_settled("note", "dead")
    letters = DeadLetters(world.database, world.bus, world.registry)
    (letter,) = await letters.letters(WORKSPACE)
    with pytest.raises(ContractViolation):
        await letters.redrive(WORKSPACE, letter.id, **BY, data={"cents": 200})
    await letters.redrive(WORKSPACE, letter.id, **BY, data={"euros": 2})
    await world.until_settled("note", "done")
    assert seen == [-200, 200]
