"""The scene that dashboard tests play in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.dashboard.scene import Scene


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A whole house at work, with the dashboard on it."""
    scene = Scene(tmp_path)
    try:
        await scene.open()
        yield scene
    finally:
        await scene.close()
