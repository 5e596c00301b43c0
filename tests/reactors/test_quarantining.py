"""What is not fit to be handled is kept with its reason, and the consumer goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bus.signed import SignedBus, Signing
from contracts.envelope import Event
from contracts.keyring import Keyring
from reactors.quarantine_desk import QuarantineDesk
from reactors.reactor import reacts_to
from store.tables import quarantine, reactions
from tests.reactors.world import AUTHORIZE, BOOKED, WORKSPACE, World, booked, headers_of

QUEUE = "reactor.notify"


@reacts_to(BOOKED)
async def notify(event: Event) -> None:
    """Accepts what comes."""


async def quarantined(world: World, count: int = 1) -> list[dict[str, Any]]:
    """What is held, once that is ``count`` messages and nothing else is on its way."""
    rows = await world.until_rows(quarantine, count)
    await world.publish(booked())
    await world.until_settled("notify", "done")
    await world.until_empty(QUEUE)
    assert len(rows) == count
    return rows


async def test_undecodable_bytes(world: World) -> None:
    """Bytes that are no CloudEvent are kept as they came."""
    await world.run(notify)
    await world.put(QUEUE, b"\x00\xff\xfe garbage", {"x-from": "a stranger"})
    (row,) = await quarantined(world)
    assert (row["reason"], row["queue"], row["status"], row["workspace"]) == ("malformed", QUEUE, "held", "")
    assert bytes(row["body"]) == b"\x00\xff\xfe garbage"
    assert "a stranger" in row["headers"]


async def test_a_body_that_is_no_json(world: World) -> None:
    """Headers of an event over a body that does not decode are malformed, too."""
    await world.run(notify)
    await world.put(QUEUE, b"{half", headers_of(booked()))
    (row,) = await quarantined(world)
    assert (row["reason"], row["workspace"]) == ("malformed", WORKSPACE)


async def test_off_contract_data(world: World) -> None:
    """The detail points to the place; the handler never sees it."""
    await world.run(notify)
    await world.put(QUEUE, b'{"ride_id": 7}', headers_of(booked()))
    (row,) = await quarantined(world)
    assert row["reason"] == "off-contract"
    assert "at /ride_id" in row["detail"]
    assert len(await world.rows(reactions)) == 1  # the good one that followed


async def test_what_a_newer_release_says_more_is_handled(world: World) -> None:
    """The contract is closed, and that is for those who write: their release may know a property more."""
    await world.run(notify)
    await world.put(QUEUE, b'{"ride_id": "r-1", "tip": 2}', headers_of(booked()))
    await world.until_settled("notify", "done")
    assert await world.rows(quarantine) == []


@pytest.mark.parametrize(
    "attributes",
    [
        {"id": "nul\x00"},
        {"source": "x" * 600},
        {"extensions": {"workspace": "a\nb"}},
        {"id": "".join(map(chr, range(0x20000, 0x20000 + 500))), "source": "\u6d0b" * 500},
    ],
    ids=["nul", "long", "newline", "wide"],
)
async def test_attributes_that_can_be_no_key(world: World, attributes: dict[str, Any]) -> None:
    """What no database column could hold, or index, does not get as far as one."""
    await world.run(notify)
    event = replace(booked(), **attributes)
    await world.put(QUEUE, event.body, headers_of(event))
    (row,) = await quarantined(world)
    assert row["reason"] == "malformed"


async def test_the_longest_attributes_there_are(world: World) -> None:
    """What is let in fits into every index, whatever it is written in."""
    await world.run(notify)
    texts = ["".join(map(chr, range(first, first + 256))) for first in (0x20000, 0x20200, 0x20400, 0x20600)]
    event = replace(booked(), id=texts[0], source=texts[1])
    extensions = {"correlationid": texts[2], "workspace": texts[3]}
    event = replace(event, extensions={**event.extensions, **extensions})
    await world.put(QUEUE, event.body, headers_of(event))
    await world.until_settled("notify", "done")


async def test_a_type_the_queue_does_not_take(world: World) -> None:
    """A message put on the wrong queue is no business of its handler."""
    await world.run(notify)
    event = replace(booked(), type=AUTHORIZE)
    await world.put(QUEUE, event.body, headers_of(event))
    (row,) = await quarantined(world)
    assert row["reason"] == "unexpected-type"


async def test_an_event_without_workspace(world: World) -> None:
    """Nothing is handled on behalf of nobody."""
    await world.run(notify)
    event = replace(booked(), extensions={})
    await world.put(QUEUE, event.body, headers_of(event))
    (row,) = await quarantined(world)
    assert row["reason"] == "no-workspace"


async def test_the_default_workspace(world: World) -> None:
    """Where a default is configured, an outsider's event belongs to it."""
    await world.run(notify, default_workspace="main")
    await world.publish(replace(booked(), extensions={}))
    await world.until_settled("notify", "done")
    (row,) = await world.rows(reactions)
    assert row["workspace"] == "main"


async def test_what_is_not_verified(world: World) -> None:
    """What the bus refuses is not decoded, and the workspace of a forged message is not believed."""
    inner, world.bus = world.bus, SignedBus(world.bus, Signing("strict", Nobody(), lambda: None, None))
    await world.run(notify)
    world.bus = inner
    await world.publish(booked())
    (row,) = await world.until_rows(quarantine, 1)
    assert (row["reason"], row["workspace"]) == ("unsigned", "")
    await world.until_empty(QUEUE)
    assert await world.rows(reactions) == []


class Nobody:
    """A keyring without keys."""

    def keyring(self) -> Keyring:
        return Keyring()

    look_again = keyring


async def test_what_the_broker_gave_up(world: World) -> None:
    """A message in the dead queue comes to where it can be seen."""
    await world.run(notify)
    event = booked()
    await world.put(f"{QUEUE}.dead", event.body, headers_of(event))
    (row,) = await quarantined(world)
    assert (row["reason"], row["workspace"]) == ("undeliverable", WORKSPACE)
    await world.until_empty(f"{QUEUE}.dead")


async def test_what_is_released_says_what_it_said(world: World) -> None:
    """Long attributes are no detail to be cut: the message is kept to be sent again."""
    baggage: list[str] = []

    @reacts_to(BOOKED, name="notify")
    async def notified(event: Event) -> None:
        baggage.append(event.extensions.get("baggage", ""))

    said = "ride=1," * 1_000
    event = replace(booked(), extensions={"baggage": said, "correlationid": "story"})
    stopped = await world.run(notified)
    await world.publish(event)
    (row,) = await world.until_rows(quarantine, 1)
    assert row["reason"] == "no-workspace"
    await stopped.stop()
    await world.run(notified, default_workspace=WORKSPACE)
    desk = QuarantineDesk(world.database, world.bus)
    await desk.release([""], row["id"], actor="ada", reason="there is a default now")
    await world.until_settled("notify", "done")
    assert baggage == [said]
