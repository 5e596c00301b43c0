"""What happens to the embedded bus when its process is killed, or its database refuses."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, func, select

from bus.embedded import EmbeddedBus, tables
from bus.port import Queue
from contracts.errors import BusUnavailable, ConfigurationError, PublishFailed
from store.database import Database
from tests.bus.helpers import drained, gather, ids, message, to, until

T = TypeVar("T")
SCRIPT = Path(__file__).with_name("embedded_process.py")


class Moody:
    """A storage that can be told to fail or to hang."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.mood = "good"
        self.writes = 0
        self.refused = 0

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.writes += 1
        self._fail()
        while self.mood == "hanging":
            await asyncio.sleep(0.01)
        result = await self._database.write(work)
        if self.mood == "forgetful":
            self.mood = "good"
            raise OSError("the answer was lost")
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        self._fail()
        return await self._database.read(work)

    def _fail(self) -> None:
        if self.mood == "failing":
            self.refused += 1
            raise OSError("disk full")


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = await Database.open("sqlite://")
    yield database
    await database.close()


@pytest.fixture
def storage(database: Database) -> Moody:
    return Moody(database)


@pytest.fixture
async def bus(storage: Moody) -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(storage)
    await bus.start()
    await bus.declare(Queue("q"))
    yield bus
    storage.mood = "good"
    await bus.close()


async def rows(database: Database) -> int:
    """How many messages the database holds."""
    return await database.read(
        lambda connection: connection.scalar(select(func.count()).select_from(tables.messages)) or 0
    )


def spawn(path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=SCRIPT.parents[2],
        env={"PYTHONPATH": str(SCRIPT.parents[2])},
    )


async def lines_until_killed(process: subprocess.Popen[str], count: int) -> list[str]:
    """Read that many lines, kill -9, and read what was written before."""

    def read() -> list[str]:
        assert process.stdout is not None
        found = [process.stdout.readline() for _ in range(count)]
        process.kill()
        return found + process.stdout.readlines()

    found = await asyncio.to_thread(read)
    process.wait()
    # The last line may have been cut by the kill.
    return [line.strip() for line in found if line.endswith("\n")]


async def test_killed_while_publishing_and_consuming_loses_nothing(tmp_path: Path) -> None:
    """kill -9 twice in the middle: every confirmed message was taken before, or is there afterwards."""
    path = tmp_path / "bus.db"
    said: list[str] = []
    for incarnation in ("one", "two"):
        said += await lines_until_killed(spawn(path, incarnation), 400)
    published = {line.split()[1] for line in said if line.startswith("published")}
    taken = {line.split()[1] for line in said if line.startswith("took")}
    assert len(published) > 50
    database = await Database.open(f"sqlite:///{path}")
    bus = EmbeddedBus(database, lock=path.with_name("bus.db.lock"))
    await bus.start()
    left = await drained(bus, "q")
    assert published <= taken | set(left)
    assert len(left) == len(set(left))
    await bus.close()
    await database.close()


async def test_a_message_that_kills_its_process_is_counted(tmp_path: Path) -> None:
    """Each process that dies with a message in hand leaves it with a higher count, but perhaps the first."""
    path = tmp_path / "bus.db"
    database = await Database.open(f"sqlite:///{path}")
    bus = EmbeddedBus(database)
    await bus.start()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "poison"))
    await bus.close()
    await database.close()
    for expected in range(3):
        process = spawn(path, "x", "poison")
        out, _ = await asyncio.to_thread(process.communicate)
        assert out == f"poisoned {expected}\n"


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """Only one process may use the file; the error says who has it, and the lock ends with its process."""
    path = tmp_path / "bus.db"
    process = spawn(path, "one")
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)
    database = await Database.open(f"sqlite:///{path}")
    bus = EmbeddedBus(database, lock=path.with_name("bus.db.lock"))
    with pytest.raises(ConfigurationError, match=f"pid {process.pid}"):
        await bus.start()
    assert bus.state == "disconnected"
    await lines_until_killed(process, 0)
    await bus.start()
    assert bus.state == "connected"
    await bus.close()
    await database.close()


async def test_a_failing_database_fails_the_publish_and_forgets_no_ack(
    database: Database, storage: Moody, bus: EmbeddedBus
) -> None:
    """Publishers are told; what was acked or refused meanwhile is written once the database is back."""
    await bus.publish(*to("q", "a", "b", "c"))
    subscription = await bus.subscribe("q", prefetch=10)
    a, b, _ = await gather(subscription, 3, ack=False)
    storage.mood = "failing"
    await subscription.ack([a])
    await subscription.reject([b])
    with pytest.raises(PublishFailed) as caught:
        await bus.publish(*to("q", "d"))
    assert isinstance(caught.value.errors[0], BusUnavailable)
    assert "disk full" in str(caught.value.errors[0])
    storage.mood = "good"
    dead = await bus.subscribe("q.dead", prefetch=1)
    assert await ids(dead, 1) == ["b"]
    await subscription.close()
    assert await drained(bus, "q") == ["c"]

    async def empty() -> bool:
        return await rows(database) == 0

    await until(empty)


async def test_a_move_whose_answer_was_lost_happens_once(
    database: Database, storage: Moody, bus: EmbeddedBus
) -> None:
    """What was committed all the same is written again without harm, and nothing behind it is held up."""
    await bus.publish(*to("q", "a", "b"))
    subscription = await bus.subscribe("q", prefetch=10)
    a, _ = await gather(subscription, 2, ack=False)
    await bus.ledger.settled()
    storage.mood = "forgetful"
    await subscription.reject([a])
    dead = await bus.subscribe("q.dead", prefetch=10)
    async with asyncio.timeout(10):
        assert await ids(dead, 1) == ["a"]
        await bus.publish(*to("q", "c"))
        assert await ids(subscription, 1) == ["c"]
        await bus.ledger.settled()
    assert await rows(database) == 1


async def test_a_hanging_database_fails_the_publish_in_time(storage: Moody, bus: EmbeddedBus) -> None:
    """A publish returns after its timeout, and what is committed later is delivered all the same."""
    storage.mood = "hanging"
    with pytest.raises(PublishFailed, match=r"0\.05 s"):
        await bus.publish(*to("q", "a"), timeout=0.05)
    storage.mood = "good"
    assert await ids(await bus.subscribe("q", prefetch=1), 1) == ["a"]


@pytest.mark.parametrize("inherited", [True, False])
async def test_receiving_outlasts_a_failing_database(storage: Moody, inherited: bool) -> None:
    """What an earlier process left, or has no room in memory, comes in the end; nothing is counted."""
    bus = EmbeddedBus(storage, cache=0)
    await bus.start()
    await bus.declare(Queue("q", single_active=True))
    await bus.publish(*to("q", "a", "b"))
    if inherited:
        await bus.close()
        bus = EmbeddedBus(storage)
        await bus.start()
    subscription = await bus.subscribe("q", prefetch=10)
    storage.mood = "failing"
    received = asyncio.create_task(gather(subscription, 2))

    async def refused() -> bool:
        return storage.refused >= 3

    await until(refused)
    storage.mood = "good"
    assert [(one.message.id, one.deliveries) for one in await received] == [("a", 0), ("b", 0)]
    await bus.close()


async def test_publishers_share_transactions(storage: Moody, bus: EmbeddedBus) -> None:
    """A hundred concurrent publishes cost a few transactions, not a hundred."""
    before = storage.writes
    await asyncio.gather(*(bus.publish(*to("q", str(n))) for n in range(100)))
    assert storage.writes - before <= 3


async def test_what_does_not_fit_in_memory_is_read_when_it_is_its_turn(database: Database) -> None:
    """A backlog larger than the cache arrives complete, in order and unchanged."""
    bus = EmbeddedBus(database, cache=2_000)
    await bus.start()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", *(str(n) for n in range(1500))))
    subscription = await bus.subscribe("q", prefetch=1000)
    got = await gather(subscription, 1500)
    assert [delivery.message for delivery in got] == [message(str(n)) for n in range(1500)]
    await bus.close()


async def test_age_and_delay_follow_the_clock(database: Database) -> None:
    """``oldest`` is the age of the head, and a delayed message is neither ready nor aged before its time."""
    now = [1000.0]
    bus = EmbeddedBus(database, clock=lambda: now[0])
    await bus.start()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a"), *to("q", "later", delay=5000))
    now[0] += 60
    stats = await bus.stats("q")
    assert (stats.ready, stats.oldest) == (1, 60.0)
    await bus.close()
    now[0] += 4940
    again = EmbeddedBus(database, clock=lambda: now[0])
    await again.start()
    assert (await again.stats("q")).ready == 2
    assert await drained(again, "q") == ["a", "later"]
    await again.close()


def test_importing_the_port_does_not_import_a_client() -> None:
    """``bus`` is light: only ``bus.rabbit`` brings aio-pika."""
    code = (
        "import bus, bus.port, bus.envelope, bus.embedded, sys; "
        "print([name for name in ('aio_pika', 'aiormq', 'pamqp') if name in sys.modules])"
    )
    done: subprocess.CompletedProcess[Any] = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SCRIPT.parents[2]
    )
    assert done.stdout.strip() == "[]"
