"""How many slices of runs a house works with when nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.app import App
from antiphon.roles import declare
from antiphon.rooms import open_rooms, open_store, partitions_of
from antiphon.settings import Settings
from contracts.errors import ConfigurationError


async def made(settings: Settings) -> int:
    """The number that a house of one process opens its store with."""
    async with open_rooms(settings, "up", alone=True) as rooms:
        await declare(App("none"), rooms)
        return rooms.partitions


async def test_a_new_store_gets_as_many_as_processes_could_use(tmp_path: Path) -> None:
    """All are one process's with the embedded bus; with RabbitMQ, four orchestrators could come."""
    alone = Settings(home=tmp_path)
    assert await made(alone) == 2
    others = Settings(home=tmp_path / "others", amqp_url="amqp://nobody@localhost/")
    async with open_store(others, migrate=True) as store:
        assert await partitions_of(others, store) == 4


async def test_a_store_keeps_the_number_it_was_made_with(tmp_path: Path) -> None:
    """Unset, the setting is what the store has; another number is refused, with the one to set."""
    assert await made(Settings(home=tmp_path, partitions=5)) == 5
    assert await made(Settings(home=tmp_path)) == 5
    with pytest.raises(ConfigurationError, match="ANTIPHON_PARTITIONS=5"):
        await made(Settings(home=tmp_path, partitions=2))
