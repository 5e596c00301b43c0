"""``antiphon partitions``: what there is, and more of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from antiphon.app import App
from antiphon.cli import main
from antiphon.roles import declare, orchestrating
from antiphon.rooms import open_rooms
from antiphon.settings import Settings


async def told(*options: str, code: int = 0) -> str:
    """What the command says."""
    arguments = ["partitions", *options]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of an embedded house, for the command as well."""
    monkeypatch.setenv("ANTIPHON_HOME", str(tmp_path))
    return Settings(home=tmp_path)


async def test_a_store_gets_more(settings: Settings) -> None:
    """And the next process works with as many, where no setting says another number."""
    async with open_rooms(settings, "up", alone=True) as rooms:
        assert await told() == "none yet: the first process that starts makes them\n"
        await declare(App("none"), rooms)
    assert await told() == "2 partitions\n0: nobody owns it now\n1: nobody owns it now\n"
    assert await told("--to", "6") == "6 partitions instead of 2; 0 runs moved\n"
    assert orjson.loads(await told("--to", "6", "--json")) == {"before": 6, "now": 6, "moved": 0}
    assert "can only grow" in await told("--to", "5", code=2)
    async with open_rooms(settings, "up", alone=True) as rooms:
        await declare(App("none"), rooms)
        assert rooms.partitions == 6


async def test_where_there_is_no_store_none_is_made(settings: Settings) -> None:
    """A command that only asks, in the wrong folder, says where it looked and leaves the folder alone."""
    home = settings.home / "elsewhere"
    for ask in (["partitions"], ["flows", "list", "examples.ride.app:app"], ["retention", "show"]):
        runner = CliRunner(env={"ANTIPHON_HOME": str(home)})
        result = await asyncio.to_thread(runner.invoke, main, ask)
        assert (result.exit_code, home.exists()) == (2, False)
        assert f"there is no store {home / 'antiphon.db'} here" in result.output


async def test_it_says_who_owns_each_and_leaves_them_alone(settings: Settings) -> None:
    """An orchestrator at work is named, and what to do."""
    app = App("none")
    async with open_rooms(settings, "up", alone=True) as rooms:
        await declare(app, rooms)
        async with orchestrating(app, rooms) as orchestrator:
            async with asyncio.timeout(20):
                while len(orchestrator.owned) < 2:
                    await asyncio.sleep(0.02)
            owners = orjson.loads(await told("--json"))
            name = f"{rooms.incarnation}-orchestrator"
            assert owners == {"partitions": 2, "owners": {"0": name, "1": name}, "names": {name: rooms.name}}
            assert await told() == f"2 partitions\n0: {name} at {rooms.name}\n1: {name} at {rooms.name}\n"
            refused = await told("--to", "4", code=2)
            assert name in refused
            assert "stop every one of them" in refused
    assert await told("--to", "4") == "4 partitions instead of 2; 0 runs moved\n"
