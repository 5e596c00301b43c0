"""A store, and a broker, that stand still while clients push: as one process, on real servers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import pytest

from antiphon.devservices import Postgres, Rabbit, Redis
from antiphon.devservices.rabbit import LocalRabbit
from benchmarks.pressure import House

CLIENTS = 60
REFUSALS = 100
LIMIT = 60.0  # s: until a test gives up waiting
MOST_MORE = 100.0  # MiB

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def house(rabbit: Rabbit, postgres: Postgres, redis_server: Redis) -> AsyncIterator[House]:
    """Everything in one process, with bounds that are soon reached."""
    with rabbit.vhost() as amqp:
        places = {
            "ANTIPHON_DATABASE_URL": postgres.create_database(),
            "ANTIPHON_AMQP_URL": amqp,
            "ANTIPHON_REDIS_URL": redis_server.url,
        }
        async with House(places, MAX_WAITING="30", MAX_UNSTARTED="200", LONGEST_UNSTARTED="2") as house:
            yield house


async def push(house: House, done: Callable[[Counter[str]], bool]) -> Counter[str]:
    """Clients that start one run after the other until ``done``; what they were answered."""
    told: Counter[str] = Counter()

    async def client() -> None:
        async with house.connection() as connection:
            while not done(told):
                answer = await house.start(connection)
                if answer.status == 503:
                    assert int(answer.headers["retry-after"]) >= 1
                    assert answer.headers["content-type"] == "application/problem+json"
                    told[answer.json()["type"].rpartition(":")[2]] += 1
                    await asyncio.sleep(0.05)
                else:
                    told[str(answer.status)] += 1

    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(client())
    return told


async def back_to_work(house: House) -> None:
    """It accepts again, and whatever it had accepted ends."""
    async with asyncio.timeout(LIMIT):
        while not await house.quick(LIMIT):
            await asyncio.sleep(0.2)
        while await house.not_ended():
            await asyncio.sleep(0.2)


@asynccontextmanager
async def store_standing_still(house: House) -> AsyncIterator[None]:
    """Nobody reads or writes runs meanwhile: each query of theirs waits."""
    link = await asyncpg.connect(house.database_url)
    try:
        async with link.transaction():
            await link.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await link.close()


@contextmanager
def broker_standing_still(rabbit: LocalRabbit) -> Iterator[None]:
    os.killpg(rabbit.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(rabbit.pid, signal.SIGCONT)


def refused_often(told: Counter[str]) -> bool:
    return told["overloaded"] >= REFUSALS


async def test_a_store_that_stands_still(house: House) -> None:
    """The broker still takes starts: some are accepted, and the rest refused before memory grows."""
    await push(house, lambda told: told["202"] >= 200)
    before = house.resident_mb()
    async with store_standing_still(house):
        told = await push(house, lambda told: refused_often(told) and told["202"] > 0)
        assert set(told) <= {"202", "overloaded", "store-unavailable"}
        assert house.resident_mb() - before < MOST_MORE
    await back_to_work(house)
    assert (await push(house, lambda told: told["202"] >= 50))["202"] >= 50
    await back_to_work(house)


async def test_a_broker_that_stands_still(house: House, rabbit: Rabbit) -> None:
    """Nothing can be accepted, and whoever comes after two seconds of it is told at once."""
    if not isinstance(rabbit, LocalRabbit):
        pytest.skip("the broker is somebody else's, and can't be stopped from here")
    await push(house, lambda told: told["202"] >= 200)
    before = house.resident_mb()
    with broker_standing_still(rabbit):
        told = await push(house, refused_often)
        assert set(told) <= {"202", "overloaded", "bus-unavailable"}
        assert house.resident_mb() - before < MOST_MORE
    await back_to_work(house)
    assert (await push(house, lambda told: told["202"] >= 50))["202"] >= 50
    await back_to_work(house)
