"""Killed at every point in turn, and started again: every promise of the platform holds.

Each case is a house of its own: one process with gateway, orchestrator, reactors and a service, and people
who ask things of it over HTTP and ask again when no answer comes. The process is killed with SIGKILL when it
reaches the point, and another is started. When all has come to its end, ``promises.py`` looks at what is
left. A point that was never reached fails its case.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from antiphon.devservices import Postgres, Rabbit
from store.database import Database
from tests.crash.app import SHIPPED
from tests.crash.campaign import Campaign
from tests.crash.lives import Backing
from tests.crash.points import all_points

pytestmark = pytest.mark.timeout(300)  # a case may wait for those before it

ONLY_EMBEDDED = ("bus.embedded.", "store.sqlite.")
ONLY_SERVERS = ("store.postgres.",)
# What is passed again and again: also later, when there is more in hand.
AGAIN = [
    f"{point}:{nth}"
    for point, times in {
        "orchestrator.partition.commit.before": (3, 7, 11),
        "orchestrator.partition.commit.after": (3, 7, 11),
        "orchestrator.partition.ack.before": (3, 5),
        "orchestrator.relay.publish.before": (2, 4),
        "orchestrator.relay.publish.after": (2, 4),
        "orchestrator.executor.step.after": (3, 5),
        "reactors.desk.settle.after": (2, 4),
        "reactors.inbox.claim.after": (2, 4),
        "reactors.acks.ack.before": (2, 4),
        "gateway.idempotency.finish.before": (3, 5),
    }.items()
    for nth in times
]
AGAIN += [f"bus.embedded.ledger.write.after:{nth}" for nth in (5, 8, 13)]
AGAIN += [f"store.sqlite.commit.{side}:{nth}" for side in ("before", "after") for nth in (34, 55, 89)]
EMBEDDED = [point for point in all_points() if not point.startswith(ONLY_SERVERS)] + AGAIN
# Where it makes a difference who stores, who carries and who takes over after a real lease.
BETWEEN = (
    *("orchestrator.correlator.", "orchestrator.executor.", "orchestrator.keeper."),
    *("orchestrator.onward.", "orchestrator.partition.", "orchestrator.relay."),
    *("reactors.acks.", "reactors.answering."),
    *("reactors.desk.", "reactors.inbox.", "reactors.reacting.", "gateway.routes.events."),
)
SHARED = "PYTEST_XDIST_WORKER" in os.environ  # with another worker, whose tests need a processor too
# The shorter half unless every one is asked for: dead behind it, when it is done and nobody knows.
EVERY_POINT = os.environ.get("ANTIPHON_TEST_EVERY_POINT") == "1"
SERVERS = [
    point
    for point in all_points()
    if point.startswith(ONLY_SERVERS)
    or (point.startswith(BETWEEN) and (EVERY_POINT or point.endswith(".after")))
]


@pytest.fixture(scope="module")
def embedded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """One SQLite file for each house, with the schema in it."""
    folder = tmp_path_factory.mktemp("embedded")
    template = folder / "template.db"
    asyncio.run(_make(f"sqlite:///{template}"))

    @contextmanager
    def furnish(house: Path) -> Iterator[Backing]:
        shutil.copy(template, house / "antiphon.db")
        yield Backing(f"sqlite:///{house / 'antiphon.db'}")

    campaign = Campaign(_asked(request, "embedded"), folder, furnish, houses=2 if SHARED else 4)
    yield campaign
    campaign.close()


@pytest.fixture(scope="module")
def servers(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    rabbit: Rabbit,
    postgres: Postgres,
) -> Iterator[Campaign]:
    """A database and a vhost for each house."""
    template = postgres.create_database()
    asyncio.run(_make(template))

    @contextmanager
    def furnish(house: Path) -> Iterator[Backing]:
        database = postgres.create_database(template)
        with rabbit.vhost() as vhost:
            yield Backing(database, vhost)

    folder = tmp_path_factory.mktemp("servers")
    campaign = Campaign(_asked(request, "servers"), folder, furnish, houses=3 if SHARED else 6)
    yield campaign
    campaign.close()


async def _make(url: str) -> None:
    database = await Database.open(url, migrate=True)
    await database.write(lambda conn: conn.execute(text(SHIPPED)) and None)
    await database.close()


def _asked(request: pytest.FixtureRequest, fixture: str) -> list[str]:
    """The points of the cases that are to run, in their order."""
    items = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    cases = [item.callspec.params for item in items if fixture in item.fixturenames]  # type: ignore[attr-defined]
    return [case["at"] for case in cases if "sabotage" not in case]


@pytest.mark.parametrize(
    ("sabotage", "at", "seen"),
    [
        ("ack_on_arrival", "orchestrator.partition.commit.before:1000", "waited"),
        ("forget_the_outbox", "orchestrator.relay.publish.before", "waited"),
        ("start_before_the_commit", "orchestrator.partition.commit.before:1000", "did"),
        ("settle_before_it_is_emitted", "reactors.reacting.settle.after:1000", "waited"),
        ("make_ids_up", "gateway.routes.events.publish.after:3", "3 dead letters"),
    ],
)
def test_a_planted_fault_is_seen(embedded: Campaign, sabotage: str, at: str, seen: str) -> None:
    """What would not be seen here would prove nothing below."""
    try:
        problems = embedded.kill(at, sabotage=sabotage, limit=15.0 if seen == "waited" else 90.0)
    except AssertionError as error:
        problems = [str(error)]
    assert seen in "".join(problems)


@pytest.mark.parametrize("at", EMBEDDED)
def test_killed_there_in_one_process_nothing_is_lost_or_done_twice(embedded: Campaign, at: str) -> None:
    """On the embedded bus and store."""
    assert embedded.outcome(at) == []


@pytest.mark.parametrize("at", SERVERS)
def test_killed_there_on_real_servers_nothing_is_lost_or_done_twice(servers: Campaign, at: str) -> None:
    """On RabbitMQ and PostgreSQL."""
    assert servers.outcome(at) == []
