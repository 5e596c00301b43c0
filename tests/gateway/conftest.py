"""The house that gateway tests live in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.house import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A gateway over an embedded house, without an orchestrator."""
    house = House(tmp_path)
    try:
        await house.open()
        yield house
    finally:
        await house.close()


@pytest.fixture
async def working_house(house: House) -> House:
    """The same with an orchestrator at work."""
    await house.orchestrate()
    return house
