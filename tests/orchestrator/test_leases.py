"""Who owns which partition: shares, renewal, lapse, hand-over; on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, literal, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.errors import ConfigurationError
from orchestrator.clock import StoreClock
from orchestrator.keeper import LeaseKeeper
from orchestrator.leases import Round, count_partitions, keep_leases, leave, make_partitions, release
from store import tables
from store.database import Database

LEASE = 5.0


class Owners:
    """Lets owners keep their leases at whatever time the test says it is in the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 1_000.0

    async def round(self, owner: str, **more: Any) -> Round:
        def work(connection: Any) -> Round:
            now = literal(self.now)
            partitions = count_partitions(connection)
            return keep_leases(
                connection, owner=owner, name="o", now=now, lease=LEASE, partitions=partitions, **more
            )

        return await self.database.write(work)

    async def release(self, owner: str, *partitions: int) -> None:
        await self.database.write(lambda connection: release(connection, owner, partitions))

    async def rounds(self, *owners: str) -> dict[str, set[int]]:
        """Rounds of each in turn, with surplus handed over, until nothing moves."""
        held: dict[str, set[int]] = {}
        for _ in range(3):
            for owner in owners:
                round = await self.round(owner)
                await self.release(owner, *round.surplus)
                held[owner] = set(round.owned) - set(round.surplus)
        return held


@pytest.fixture
async def owners(database: Database) -> Owners:
    """Owners of sixteen partitions."""
    await database.write(lambda connection: make_partitions(connection, 16))
    return Owners(database)


async def test_the_first_takes_all_and_a_newcomer_its_share(owners: Owners) -> None:
    """Balanced, and each partition with one owner."""
    assert len((await owners.round("a")).owned) == 16
    for names, shares in (("ab", [8, 8]), ("abc", [6, 5, 5])):
        held = await owners.rounds(*names)
        assert [len(held[name]) for name in names] == shares
        assert set.union(*held.values()) == set(range(16))


async def test_a_partition_that_is_still_held_is_not_taken(owners: Owners) -> None:
    """Not by one that is due to have it either: it is handed over first."""
    await owners.round("a")
    assert (await owners.round("b")).owned == {}
    round = await owners.round("a")
    assert len(round.surplus) == 8
    assert len(round.owned) == 16


async def test_each_owner_has_a_greater_epoch_than_the_one_before(owners: Owners) -> None:
    """Renewal leaves it; hand-over, lapse and coming back make it grow."""
    assert set((await owners.round("a")).owned.values()) == {1}
    owners.now += 1
    assert set((await owners.round("a")).owned.values()) == {1}
    owners.now += LEASE + 1
    assert set((await owners.round("b")).owned.values()) == {2}
    await owners.release("b", *range(16))
    assert set((await owners.round("b")).owned.values()) == {3}


async def test_a_lapsed_owner_does_not_go_on_as_if_nothing_were(owners: Owners) -> None:
    """Trap 1: its old epoch is gone, even when nobody else has come."""
    await owners.round("a")
    owners.now += LEASE + 1
    assert set((await owners.round("a")).owned.values()) == {2}


async def test_one_that_dies_is_followed_after_its_lease_and_not_before(owners: Owners) -> None:
    """The survivor takes everything."""
    await owners.rounds("a", "b")
    owners.now += LEASE - 1
    round = await owners.round("b")
    assert (len(round.owned), round.next_end) == (8, 1.0)
    owners.now += 2
    round = await owners.round("b")
    assert (len(round.owned), round.next_end) == (16, None)


async def test_a_lease_that_ends_is_taken_as_it_ends(owners: Owners, database: Database) -> None:
    """The keeper does not wait for its next round, which here would never come."""
    taken = asyncio.Event()

    def keep(connection: Any) -> Round:
        now = database.now()
        return keep_leases(connection, owner="gone", name="g", now=now, lease=0.5, partitions=16)

    await database.write(keep)
    keeper = LeaseKeeper(
        database,
        owner="heir",
        name="h",
        lease=900.0,
        renew=600.0,
        partitions=16,
        clock=StoreClock(),
        on_round=lambda round: taken.set() if len(round.owned) == 16 else None,
        open_own=None,
    )
    keeper.start()
    try:
        await asyncio.wait_for(taken.wait(), 20.0)
    finally:
        await keeper.stop()


async def test_one_that_leaves_takes_nothing_and_is_not_counted(owners: Owners, database: Database) -> None:
    """The others take what it gives up at once."""
    await owners.rounds("a", "b")
    round = await owners.round("a", leaving=True)
    assert len(round.owned) == 8
    await owners.release("a", *round.owned)
    assert len((await owners.round("b")).owned) == 16
    assert (await owners.round("a", leaving=True)).owned == {}
    await database.write(lambda connection: leave(connection, "a"))
    ids = await database.read(lambda connection: list(connection.execute(select(tables.processes.c.id))))
    assert [row.id for row in ids] == ["b"]


async def test_who_died_long_ago_is_forgotten_by_the_next_newcomer(
    owners: Owners, database: Database
) -> None:
    """Not who may still be about, and not the processes of other roles, which look after their own."""
    reactor = {"id": "r", "role": "reactors", "name": "r", "started_at": 0.0, "alive_until": 0.0}
    await database.write(lambda connection: connection.execute(insert(tables.processes).values(reactor)))
    await owners.round("died")
    await owners.round("died leaving", leaving=True)
    owners.now += 80_000
    await owners.round("lately")
    owners.now += 10_000
    await owners.round("new")
    ids = await database.read(lambda c: set(c.execute(select(tables.processes.c.id)).scalars()))
    assert ids == {"r", "lately", "new"}


async def test_a_release_does_not_take_what_is_another_s_by_now(owners: Owners) -> None:
    """A zombie hands over what it no longer has."""
    await owners.round("a")
    owners.now += LEASE + 1
    await owners.round("b")
    await owners.release("a", *range(16))
    assert len((await owners.round("b")).owned) == 16


async def test_more_owners_than_partitions_wait_their_turn(owners: Owners) -> None:
    """They own nothing, and take over when somebody goes."""
    names = [f"o{number:02}" for number in range(18)]
    living = [
        {"id": name, "role": "orchestrator", "name": name, "started_at": 0, "alive_until": 2_000}
        for name in names
    ]
    await owners.database.write(lambda c: c.execute(insert(tables.processes), living))
    held = [len((await owners.round(name)).owned) for name in names]
    assert held == [1] * 16 + [0] * 2


async def test_many_that_come_at_once_never_share_a_partition(owners: Owners, database: Database) -> None:
    """Whatever the order in which their transactions run."""
    names = [f"o{number}" for number in range(5)]
    for _ in range(4):
        rounds = await asyncio.gather(*(owners.round(name) for name in names))
        for name, round in zip(names, rounds, strict=True):
            await owners.release(name, *round.surplus)
    columns = tables.partitions.c
    rows = await database.read(lambda connection: list(connection.execute(select(columns.owner))))
    assert sorted([row.owner for row in rows].count(name) for name in names) == [3, 3, 3, 3, 4]


async def test_a_setting_with_another_number_than_the_store_s_is_refused(owners: Owners) -> None:
    """It would send runs to queues that nobody owns."""
    write = owners.database.write
    assert await write(lambda connection: make_partitions(connection, 16)) == 16
    with pytest.raises(ConfigurationError, match="ANTIPHON_PARTITIONS=16"):
        await write(lambda connection: make_partitions(connection, 8))


async def test_two_that_make_a_store_at_once_with_other_numbers_do_not_both_go_on(database: Database) -> None:
    """Whoever is wrong is told."""
    results = await asyncio.gather(
        *(database.write(lambda connection, n=n: make_partitions(connection, n)) for n in (4, 8)),
        return_exceptions=True,
    )
    assert any(isinstance(result, ConfigurationError) for result in results)


async def test_the_database_s_clock_decides(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 15: a machine whose clock is a day ahead steals nothing."""
    await database.write(lambda connection: make_partitions(connection, 4))

    def work(owner: str) -> Any:
        return lambda connection: keep_leases(
            connection, owner=owner, name="o", now=database.now(), lease=LEASE, partitions=4
        )

    first = await database.write(work("a"))
    monkeypatch.setattr("time.time", lambda: first.now + 86_400)
    assert (await database.write(work("b"))).owned == {}
    await database.write(
        lambda connection: connection.execute(update(tables.partitions).values(lease_until=first.now - 1))
    )
    assert len((await database.write(work("b"))).owned) == 2


async def test_what_a_frozen_process_has_locked_does_not_hold_up_the_others(postgres: Any) -> None:
    """It was stopped in the middle of a commit: its partition is left for now, the rest is taken."""
    url = postgres.create_database()
    database = await Database.open(url)
    await database.write(tables.metadata.create_all)
    await database.write(lambda connection: make_partitions(connection, 4))
    engine = create_async_engine(url)
    try:
        async with engine.begin() as frozen:
            columns = tables.partitions.c
            await frozen.execute(select(columns.id).where(columns.id == 2).with_for_update())
            async with asyncio.timeout(20):
                assert set((await Owners(database).round("a")).owned) == {0, 1, 3}
        assert set((await Owners(database).round("a")).owned) == {0, 1, 2, 3}
    finally:
        await engine.dispose()
        await database.close()
