"""A database for the journal, and a house to run in: embedded, and on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from store.database import Database
from store.tables import metadata
from tests.orchestrator.running import House


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with every table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    opened = await Database.open(url, writers=2)
    await opened.write(metadata.create_all)
    yield opened
    await opened.close()


@pytest.fixture(params=["embedded", "real"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """A bus, a store and a live store, with nobody in yet."""
    with ExitStack() as stack:
        if request.param == "real":
            rabbit, redis = (request.getfixturevalue(name) for name in ("rabbit", "redis_server"))
            database_url = request.getfixturevalue("postgres").create_database()
            house = House(stack.enter_context(rabbit.vhost()), database_url, redis.url)
        else:
            house = House(None, f"sqlite:///{tmp_path / 'house.db'}", None)
        await house.open()
        try:
            yield house
        finally:
            await house.close()
