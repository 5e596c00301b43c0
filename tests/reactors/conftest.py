"""Every test that asks for ``world`` runs on the embedded adapters and on RabbitMQ with PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.reactors.world import World


@pytest.fixture(params=["embedded", "real"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A fresh world."""
    with ExitStack() as stack:
        if request.param == "real":
            rabbit = request.getfixturevalue("rabbit")
            postgres = request.getfixturevalue("postgres")
            world = World(stack.enter_context(rabbit.vhost()), postgres.create_database())
        else:
            world = World(str(tmp_path / "bus.db"), f"sqlite:///{tmp_path / 'store.db'}")
        await world.open()
        yield world
        await world.close()
