"""``antiphon flows``: versions in flight are counted, and runs are moved under an operator's key."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from antiphon.app import App
from antiphon.cli import main
from antiphon.devservices import Rabbit
from antiphon.keys import OPERATOR, ROLES
from antiphon.rooms import open_rooms
from antiphon.settings import Settings
from orchestrator.client import Client
from orchestrator.flow import Flow
from orchestrator.nodes import emit, step, wait
from store.tables import audit, runs
from tests.antiphon.signed_house import SignedHouse, until

APP: App | None = None  # the app at work, where the command line finds it
HERE = f"{__name__}:APP"
DATA = {"id": "$.input.id"}


@pytest.fixture
def amqp(rabbit: Rabbit) -> Iterator[str]:
    with rabbit.vhost() as url:
        yield url


def versioned(app: App, folder: Path) -> App:
    """The app with a second version of its flow, whose first step has another name."""
    steps = [
        step("grab", at="bank", command="bank.hold.v1", data=DATA),
        wait("trip.over.v1", by="id", name="over"),
        emit("trip.booked.v1", DATA),
    ]
    second = Flow("trip", 2, "id", "trip.asked.v1", steps)
    return App(
        "trips",
        flows=[*app.flows, second],
        reactors=app.reactors,
        services=app.services,
        contracts=folder / "contracts",
    )


class Terminal:
    """A person at a terminal of the machine where the keys are."""

    def __init__(self, house: SignedHouse) -> None:
        self._variables = {name: value for name, value in house.settings.environment().items() if value}

    async def run(self, *arguments: str) -> Result:
        runner = CliRunner(env=self._variables)
        return await asyncio.to_thread(runner.invoke, main, ["flows", *arguments])

    async def move(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """The outcomes."""
        versions = ("--from", "1", "--to", "2", "--json")
        result = await self.run("migrate", HERE, "trip", *versions, *arguments)
        assert result.exit_code == code, result.output
        # The house logs in this very process, and the runner catches that as well.
        answer = [line for line in result.stdout.splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line)]
        found: list[dict[str, Any]] = orjson.loads("".join(answer))["runs"]
        return found


async def test_runs_are_counted_and_moved_by_an_operator(
    amqp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures are strict, and the terminal's key may only vouch for what it puts on queues."""
    house = SignedHouse(tmp_path, amqp, "strict")
    first = house.app
    house.app = versioned(first, tmp_path)
    monkeypatch.setattr(f"{__name__}.APP", house.app)
    async with house.at_work():
        house.maker.ensure(OPERATOR, ROLES[OPERATOR](OPERATOR))
        rooms = house.rooms["gateway"]
        client = Client(
            first.flows,
            bus=rooms.bus,
            database=rooms.database,
            live=rooms.live,
            check=first.registry.validate,
            incarnation="before-the-deploy",
            partitions=1,
        )
        ids = [
            (await client.start("acme", "trip", {"id": f"t-{n}"}, start_id=f"s-{n}")).run_id for n in (1, 2)
        ]

        async def rows() -> dict[str, Any]:
            query = select(runs.c.id, runs.c.version, runs.c.waiting).where(runs.c.id.in_(ids))
            found = await rooms.database.read(lambda conn: conn.execute(query).all())
            return {row.id: row for row in found}

        async with asyncio.timeout(30):
            while sum("trip.over" in (row.waiting or "") for row in (await rows()).values()) < 2:
                await asyncio.sleep(0.05)

        terminal = Terminal(house)
        listed = orjson.loads((await terminal.run("list", HERE, "--json")).stdout)
        assert [(one["version"], one["newest"], one["open"]) for one in listed] == [
            (1, False, 2),
            (2, True, 0),
        ]
        assert "trip v1: 2 open" in (await terminal.run("list", HERE)).stdout

        refused = await terminal.move("--all", "--dry-run", code=1)
        assert {one["outcome"] for one in refused} == {"refused"}
        assert "'grab' comes before where the run stands" in refused[0]["reasons"][0]
        rename = ("--rename", "hold=grab")
        assert {one["outcome"] for one in await terminal.move("--all", "--dry-run", *rename)} == {"possible"}
        (moved,) = await terminal.move("--run", ids[0], *rename, "--reason", "better words", "--wait", "25")
        assert (moved["run"], moved["outcome"]) == (ids[0], "moved")
        assert {run: row.version for run, row in (await rows()).items()} == {ids[0]: 2, ids[1]: 1}
        assert await house.quarantined() == []
        query = select(audit.c.action, audit.c.target, audit.c.reason)
        (deed,) = await rooms.database.read(lambda conn: conn.execute(query).all())
        assert tuple(deed) == ("run.migrate", f"run/{ids[0]}", "better words")

        again, other = await terminal.move("--run", ids[0], "--run", "nobody", *rename, code=1)
        assert "it is of 'trip' version 2" in again["reasons"][0]
        assert "there is no run 'nobody'" in other["reasons"][0]
        for number in (1, 2):
            await house.over(f"t-{number}")
        await until(lambda: {"t-1", "t-2"} <= set(house.seen.booked), "both trips")


async def test_a_dry_run_only_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs neither the bus, which an embedded house keeps to itself, nor a key of an operator."""
    house = SignedHouse(tmp_path, "amqp://nowhere", "off")
    monkeypatch.setattr(f"{__name__}.APP", versioned(house.app, tmp_path))
    monkeypatch.setenv("ANTIPHON_HOME", str(tmp_path))
    async with open_rooms(Settings(home=tmp_path), "up", alone=True):
        call = ["flows", "migrate", HERE, "trip", "--from", "1", "--to", "2", "--all", "--dry-run"]
        result = await asyncio.to_thread(CliRunner().invoke, main, call)
    assert (result.exit_code, result.stdout) == (0, "no run to move\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name runs with --run, or take every open one with --all"),
        (("--all", "--run", "x"), "name runs with --run, or take every open one with --all"),
        (("--all", "--rename", "x"), "'x' is not OLD=NEW"),
        (("--all", "--wait", "-5"), "Invalid value for '--wait'"),
        (("--all",), "the app has no version 9 of flow 'trip'; it has: 1, 2"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    """Before anything is opened."""
    house = SignedHouse(tmp_path, "amqp://nowhere", "off")
    monkeypatch.setattr(f"{__name__}.APP", versioned(house.app, tmp_path))
    to = "9" if "9" in said else "2"
    call = ["flows", "migrate", HERE, "trip", "--from", "1", "--to", to, *arguments]
    result = CliRunner(env={"ANTIPHON_HOME": str(tmp_path)}).invoke(main, call)
    assert result.exit_code == 2
    assert said in result.output
