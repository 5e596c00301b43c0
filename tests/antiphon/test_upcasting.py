"""Events of an older major, carried over for a reactor that reads the newer one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from antiphon import App, ReactionContext, Settings, Upcasters, reacts_to
from antiphon.checking import check_app
from antiphon.roles import declare, reacting
from antiphon.rooms import Rooms, open_rooms
from bus.envelope import publication
from contracts.envelope import Event
from store.tables import quarantine, reactions

LIMIT = 20.0


def contract(folder: Path, type: str, properties: dict[str, Any], example: dict[str, Any]) -> None:
    """Write a contract."""
    domain, name, major = type.split(".")
    path = folder / domain / f"{name}.{major}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:test:{type}",
        "description": "A price.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "examples": [example],
    }
    path.write_bytes(orjson.dumps(schema))


@pytest.fixture
def seen() -> list[Any]:
    """What the reactor was given."""
    return []


@pytest.fixture
def app(tmp_path: Path, seen: list[Any]) -> App:
    """A reactor that reads the second major, and an upcaster from the first."""
    folder = tmp_path / "contracts"
    contract(folder, "shop.priced.v1", {"euros": {"type": "number"}}, {"euros": 1.5})
    contract(folder, "shop.priced.v2", {"cents": {"type": "integer", "minimum": 0}}, {"cents": 150})
    upcasters = Upcasters()

    @upcasters.upcasts("shop.priced.v1", "shop.priced.v2")
    def in_cents(data: Any) -> Any:
        if data["euros"] == 13:
            raise RuntimeError("unlucky")
        return {"cents": round(data["euros"] * 100)}

    @reacts_to("shop.priced.v2")
    async def note(event: Event, ctx: ReactionContext) -> None:
        seen.append((event.type, event.id, event.data))

    return App("shop", reactors=[note], contracts=folder, external=["shop.priced.v2"], upcasters=upcasters)


@pytest.fixture
async def rooms(app: App, tmp_path: Path) -> AsyncIterator[Rooms]:
    """The app at work, signatures and all."""
    settings = Settings(home=tmp_path / "home", partitions=1, workspace="acme")
    async with open_rooms(settings, "up", alone=True) as rooms:
        await declare(app, rooms)
        async with reacting(app, rooms, reactors=app.reactors):
            yield rooms


async def publish(rooms: Rooms, type: str, id: str, data: Any) -> None:
    """Say something."""
    event = Event.create(type, data, id=id, source="/acme/shop", at=time.time(), workspace="acme")
    await rooms.bus.publish(publication(event))


async def rows(rooms: Rooms, table: Any) -> list[Any]:
    """All of a table."""
    return await rooms.database.read(lambda connection: list(connection.execute(select(table))))


async def test_an_older_event_is_read_as_the_newer_one(rooms: Rooms, seen: list[Any]) -> None:
    """The reactor knows the second major only, and gets both; the id stays, so that a repeat is one."""
    await publish(rooms, "shop.priced.v1", "p-1", {"euros": 2.5})
    await publish(rooms, "shop.priced.v2", "p-2", {"cents": 300})
    await publish(rooms, "shop.priced.v1", "p-1", {"euros": 2.5})
    async with asyncio.timeout(LIMIT):
        while len(await rows(rooms, reactions)) < 2 or len(seen) < 2:
            await asyncio.sleep(0.02)
    assert sorted(seen) == [
        ("shop.priced.v2", "p-1", {"cents": 250}),
        ("shop.priced.v2", "p-2", {"cents": 300}),
    ]


@pytest.mark.parametrize("euros", [-1, 13])
async def test_what_can_not_be_carried_over_is_quarantined(rooms: Rooms, seen: list[Any], euros: int) -> None:
    """The upcaster raised, or made what is off the newer contract: kept with the reason, and not handled."""
    await publish(rooms, "shop.priced.v1", "p-1", {"euros": euros})
    async with asyncio.timeout(LIMIT):
        while not (held := await rows(rooms, quarantine)):
            await asyncio.sleep(0.02)
    assert [(row.message_id, row.reason) for row in held] == [("p-1", "not-upcast")]
    assert seen == []


def test_the_check_knows_of_upcasters(app: App) -> None:
    """An older type needs no emitter, and a newer one is emitted when the older one is."""
    assert [finding.code for finding in check_app(app) if finding.level != "info"] == []
