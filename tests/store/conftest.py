"""Every adapter of the store's two ports, so that one suite runs over each of them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.database import Database
from store.live.memory import MemoryLive
from store.live.port import Live
from store.live.redis import RedisLive


@pytest.fixture(params=["sqlite", "memory", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "memory":
        return "sqlite://"
    url: str = request.getfixturevalue("postgres").create_database()
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def lasting_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that more than one connection can reach."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    url: str = request.getfixturevalue("postgres").create_database()
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database with every table."""
    opened = await Database.open(database_url, migrate=True)
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "redis"])
async def live(request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    """An open live store of each kind."""
    if request.param == "memory":
        opened: Live = MemoryLive()
    else:
        opened = RedisLive(request.getfixturevalue("redis_server").url)
    yield opened
    await opened.close()


@pytest.fixture
def name() -> str:
    """A name that no other test uses: the Redis server is shared."""
    return f"test-{uuid.uuid4().hex}"
