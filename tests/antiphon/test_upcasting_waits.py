"""Events of an older major, carried over for flows that wait for the newer one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from antiphon import App, Settings, Upcasters
from antiphon.checking import check_app
from antiphon.roles import declare, orchestrating
from antiphon.rooms import Rooms, open_rooms
from bus.envelope import publication
from contracts.envelope import Event
from orchestrator import wire
from orchestrator.catalog import Awaited, Catalog
from orchestrator.client import Client
from orchestrator.flow import Flow
from orchestrator.nodes import wait
from store.tables import quarantine, runs
from tests.antiphon.test_upcasting import LIMIT, contract

OLD, NEW = "shop.priced.v1", "shop.priced.v2"
TEXT = {"type": "string", "minLength": 1}


def waiting(name: str, type: str, *, by: str, version: int = 1) -> Flow:
    """A flow that waits for one event and ends with it."""
    return Flow(
        name,
        version,
        "id",
        "shop.asked.v1",
        [wait(type, by=by, timeout="1h", name="price")],
        result={"price": "$.price"},
    )


def in_cents(data: Any) -> Any:
    """Carries the price over; the field with the key has another name there."""
    if data["euros"] == 13:
        raise RuntimeError("unlucky")
    return {"order": data["id"], "cents": round(data["euros"] * 100)}


@pytest.fixture
def app(tmp_path: Path) -> App:
    """One flow that reads the first major, one that reads the second, and an upcaster."""
    folder = tmp_path / "contracts"
    contract(folder, "shop.asked.v1", {"id": TEXT}, {"id": "o-1"})
    contract(folder, OLD, {"id": TEXT, "euros": {"type": "number"}}, {"id": "o-1", "euros": 1.5})
    cents = {"type": "integer", "minimum": 0}
    contract(folder, NEW, {"order": TEXT, "cents": cents}, {"order": "o-1", "cents": 150})
    upcasters = Upcasters()
    upcasters.add(OLD, NEW, in_cents)
    flows = [waiting("old", OLD, by="id"), waiting("new", NEW, by="order")]
    return App("shop", flows=flows, contracts=folder, external=[NEW, OLD], upcasters=upcasters)


@pytest.fixture
async def rooms(app: App, tmp_path: Path) -> AsyncIterator[Rooms]:
    """The app's orchestrator at work, signatures and all."""
    settings = Settings(home=tmp_path / "home", partitions=1, workspace="acme")
    async with open_rooms(settings, "up", alone=True) as rooms:
        await declare(app, rooms)
        async with orchestrating(app, rooms):
            yield rooms


async def start(app: App, rooms: Rooms, flow: str, key: str) -> None:
    """Start a run of a flow."""
    client = Client(
        app.flows,
        bus=rooms.bus,
        database=rooms.database,
        live=rooms.live,
        check=app.registry.validate,
        incarnation=f"test-{flow}-{key}",
        partitions=1,
    )
    await client.start_listening()
    try:
        await client.start("acme", flow, {"id": key}, start_id=f"{flow}-{key}", wait=LIMIT)
    finally:
        await client.close()


async def publish(rooms: Rooms, type: str, id: str, data: Any) -> None:
    """Say something."""
    event = Event.create(type, data, id=id, source="/acme/shop", at=time.time(), workspace="acme")
    await rooms.bus.publish(publication(event))


async def rows(rooms: Rooms, table: Any) -> list[Any]:
    """All of a table."""
    return await rooms.database.read(lambda connection: list(connection.execute(select(table))))


async def results(rooms: Rooms, many: int) -> dict[str, Any]:
    """What each run ended with, once so many have ended."""
    async with asyncio.timeout(LIMIT):
        while True:
            ended = [row for row in await rows(rooms, runs) if row.status == "completed"]
            if len(ended) >= many:
                return {f"{row.flow}/{row.key}": orjson.loads(row.result)["price"] for row in ended}
            await asyncio.sleep(0.02)


async def test_each_flow_reads_an_event_as_the_major_that_it_waits_for(app: App, rooms: Rooms) -> None:
    """Before the run or during its wait, by the newer contract's own key; the newer one comes as ever."""
    await publish(rooms, OLD, "p-1", {"id": "early", "euros": 2.5})
    for flow, key in (("new", "early"), ("new", "later"), ("new", "fresh"), ("old", "later")):
        await start(app, rooms, flow, key)
    await publish(rooms, OLD, "p-2", {"id": "later", "euros": 4})
    await publish(rooms, NEW, "p-3", {"order": "fresh", "cents": 7})
    assert await results(rooms, 4) == {
        "new/early": {"order": "early", "cents": 250},
        "new/later": {"order": "later", "cents": 400},
        "new/fresh": {"order": "fresh", "cents": 7},
        "old/later": {"id": "later", "euros": 4},
    }
    assert await rows(rooms, quarantine) == []


@pytest.mark.parametrize("euros", [-1, 13])
async def test_what_can_not_be_carried_over_is_quarantined(app: App, rooms: Rooms, euros: int) -> None:
    """The upcaster raised, or made what is off the newer contract: kept; who reads it as it is has it."""
    await start(app, rooms, "new", "o-1")
    await start(app, rooms, "old", "o-1")
    await publish(rooms, OLD, "p-1", {"id": "o-1", "euros": euros})
    assert await results(rooms, 1) == {"old/o-1": {"id": "o-1", "euros": euros}}
    (held,) = await rows(rooms, quarantine)
    assert (held.message_id, held.reason) == ("p-1", "not-upcast")
    assert f"from {OLD} to {NEW}" in held.detail
    await publish(rooms, NEW, "p-2", {"order": "o-1", "cents": 1})
    assert (await results(rooms, 2))["new/o-1"] == {"order": "o-1", "cents": 1}


def test_versions_of_one_flow_may_read_different_majors() -> None:
    """Which version a run has is known to its owner only: it is told of both, under different ids."""
    upcasters = Upcasters()
    upcasters.add(OLD, NEW, in_cents)
    catalog = Catalog([waiting("f", OLD, by="id"), waiting("f", NEW, by="order", version=2)], upcasters)
    assert catalog.awaited() == {
        OLD: [Awaited("f", OLD, "id"), Awaited("f", NEW, "order")],
        NEW: [Awaited("f", NEW, "order")],
    }
    assert wire.correlated_id("/s", "e", "r") != wire.correlated_id("/s", "e", "r", NEW)


def test_the_check_knows_that_flows_wait_for_older_events(app: App) -> None:
    """An older type needs no emitter, and it has a reader."""
    assert [finding.code for finding in check_app(app) if finding.level != "info"] == []
