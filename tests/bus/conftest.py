"""Every test that asks for ``broker`` runs on each adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.port import Bus
from tests.bus.brokers import Broker, Embedded, Rabbit


@pytest.fixture(params=["memory", "file", "rabbit"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    """A fresh broker."""
    if request.param == "rabbit":
        rabbit = request.getfixturevalue("rabbit")
        with rabbit.vhost() as url:
            served: Broker = Rabbit(url)
            yield served
            await served.close()
    else:
        served = await Embedded.open(tmp_path / "bus.db" if request.param == "file" else None)
        yield served
        await served.close()


@pytest.fixture
async def bus(broker: Broker) -> Bus:
    """A started bus on a fresh broker."""
    return await broker.connect()
