"""A store gets more partitions: every run goes on, with what was on its way to it."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import pytest
from sqlalchemy import Connection, literal, select, update

from contracts.errors import ConfigurationError, Fenced
from orchestrator import growth, leases, partition
from orchestrator.flow import Flow, run_id_of
from orchestrator.growth import Growth, grow
from orchestrator.journal import Commit, Journal, Post
from orchestrator.leases import Round, keep_leases, make_partitions
from orchestrator.nodes import call, emit, sleep, step, wait
from orchestrator.outbox import outbox_row
from orchestrator.wire import partition_of, partition_queue, request, start
from reactors.service import CommandContext, Service
from store import tables
from store.bulk import insert_rows
from store.database import Database
from tests.orchestrator.flows import flow
from tests.orchestrator.pretending import asked
from tests.orchestrator.running import PARTITIONS_MADE, WORKSPACE, House, until

MORE = 10  # not a multiple of what was made: runs change places all over
KEYS = [f"k{n}" for n in range(24)]


def grown(database: Database, to: int) -> Any:
    return database.write(lambda connection: grow(connection, to, now=database.now()))


async def ready(house: House, partitions: int) -> int:
    """How many messages wait on the queues of so many partitions."""
    stats = [await house.bus.stats(partition_queue(number).name) for number in range(partitions)]
    return sum(each.ready for each in stats)


async def test_runs_go_on_with_what_was_under_way_to_them(house: House) -> None:
    """Waits, sleeps, children, commands answered later, early events, and starts that nobody has read yet."""
    answer = asyncio.Event()
    bank = Service("bank")

    @bank.handles("bank.hold.v1")
    async def hold(data: dict[str, Any], ctx: CommandContext) -> dict[str, str]:
        await answer.wait()
        return {"id": data["id"]}

    keyed = {"id": "$.input.id"}
    child = Flow("leg", version=1, key="id", input="f.asked.v1", steps=[wait("x.said.v1", by="id")])
    made = flow(
        step("hold", at="bank", command="bank.hold.v1", data=keyed, compensate="nothing"),
        wait("x.done.v1", by="id"),
        call("leg", keyed, name="leg"),
        sleep("300ms", name="nap"),
        emit("trip.over.v1", keyed),
    )
    first = await house.orchestrate(made, child)
    await house.serve(bank)
    receipts = [await house.start(made, key) for key in KEYS]
    for receipt in receipts:
        await house.until_fact(receipt.run_id, "step_scheduled")
    await house.publish("x.done.v1", KEYS[0])
    await house.publish("x.done.v1", "not-yet")
    await until(lambda: _rows(house, tables.early_events), lambda: "the event that nobody waits for")
    await house.stop_first()
    assert first.owned == {}
    # The replies, and a start: they lie on queues of before.
    answer.set()
    await until(lambda: _at_least(house, PARTITIONS_MADE, len(KEYS)), lambda: "the replies")
    before = house.make_client(made, child)
    late = await before.start(WORKSPACE, made.name, {"id": "late"}, start_id="late", wait=0)
    grew = await grown(house.database, MORE)
    assert (grew.before, grew.now) == (PARTITIONS_MADE, MORE)
    assert grew.moved > len(KEYS) // 2
    # One that does not know of it yet goes on as before, also while nobody has the new queues.
    await before.cancel(WORKSPACE, receipts[-1].run_id, reason="not wanted", actor="ann")
    await house.orchestrate(made, child, partitions=MORE)
    stale = await before.start(WORKSPACE, made.name, {"id": "stale"}, start_id="stale", wait=0)
    for key in (*KEYS[1:], "late", "stale"):
        await house.publish("x.done.v1", key)
    for key in (*KEYS, "late", "stale"):
        await house.publish("x.said.v1", key)
    for receipt in (*receipts[:-1], late, stale):
        await house.until(receipt.run_id, "completed")
    await house.until(receipts[-1].run_id, "cancelled")
    for table in (tables.runs, tables.timers, tables.early_events):
        for row in await house.rows(table):
            assert row["partition"] == partition_of(row.get("run_id") or row["id"], MORE)
    assert await house.rows(tables.quarantine) == []
    assert await ready(house, MORE) == 0


async def _rows(house: House, table: Any) -> bool:
    return bool(await house.rows(table))


async def _at_least(house: House, partitions: int, count: int) -> bool:
    return await ready(house, partitions) >= count


async def test_a_stray_changes_no_run_where_it_does_not_belong(house: House) -> None:
    """What is put on the wrong queue is done once, by the owner of its run, and not read where it came."""
    made = flow(wait("x.done.v1", by="id"))
    orchestrator = await house.orchestrate(made)
    stray = house.make_client(made, partitions=1)  # believes that all runs are of partition 0
    for key in KEYS:
        await stray.start(WORKSPACE, made.name, {"id": key}, start_id=key, wait=0)
    for key in KEYS:
        await house.publish("x.done.v1", key)
    for key in KEYS:
        await house.until(run_id_of(WORKSPACE, made.name, key), "completed")
    foreign = [
        run.id
        for number, owned in orchestrator._partitions.items()
        for run in owned._runs.values()
        if partition_of(run.id, PARTITIONS_MADE) != number
    ]
    assert foreign == []


async def test_what_was_left_in_an_outbox_is_published_by_the_partition_of_before(house: House) -> None:
    """By whoever owns that now; and it finds its run where that is now."""
    made = flow(wait("x.done.v1", by="id"))
    await house.orchestrate(made)
    await house.stop_first()
    run_id = next(id for id in KEYS if partition_of(id, PARTITIONS_MADE) != partition_of(id, MORE))
    old = partition_of(run_id, PARTITIONS_MADE)
    left = outbox_row(old, Post(5, start(asked(made, run_id=run_id, partition=old), 1.0)))
    await house.database.write(lambda connection: insert_rows(connection, tables.outbox, [left]))
    await grown(house.database, MORE)
    await house.orchestrate(made, partitions=MORE)
    assert (await house.until(run_id, "running"))["partition"] == partition_of(run_id, MORE)
    await until(lambda: _no(house, tables.outbox), lambda: "the outbox to be empty")


async def _no(house: House, table: Any) -> bool:
    return not await house.rows(table)


async def test_a_child_that_is_given_up_before_its_start_has_come_does_not_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may come by two ways, the start's with a hop in it: the word of the parent waits for it."""
    monkeypatch.setattr(partition, "_LATER_PAUSE", 0.2)
    made = flow(wait("x.done.v1", by="id"))
    await house.orchestrate(made)
    run_id, parent = "child", {"run_id": "parent", "node": "leg", "partition": 0}
    given_up = {"reason": "", "actor": "x", "parent": "parent"}
    right = partition_of(run_id, PARTITIONS_MADE)
    cancel = request("cancel", run_id, right, given_up, id="1", at=time.time(), workspace=WORKSPACE)
    await house.bus.publish(cancel)
    await asyncio.sleep(0.5)
    await house.bus.publish(start(asked(made, run_id=run_id, partition=right, parent=parent), time.time()))
    await house.until(run_id, "cancelled")


async def test_an_orchestrator_that_a_store_grew_past_lets_go_of_everything(house: House) -> None:
    """Its queues as well, which another must read: it was cut off from the store, and taken for dead."""
    orchestrator = await house.orchestrate(flow(step("hold", at="bank", command="bank.hold.v1", data={})))
    await until(lambda: _true(len(orchestrator.owned) == PARTITIONS_MADE), lambda: "its share")
    await house.database.write(
        lambda connection: connection.execute(tables.partitions.insert().values(id=PARTITIONS_MADE))
    )
    await until(lambda: _true(not orchestrator.owned), lambda: "it to let go")

    async def unread() -> bool:
        return not any([(await house.bus.stats(partition_queue(n).name)).consumers for n in range(4)])

    await until(unread, lambda: "its queues")


async def _true(holds: bool) -> bool:
    return holds


async def test_a_commit_from_before_is_fenced_off(database: Database) -> None:
    """One that hung somewhere for longer than its lease, and comes before anybody has the partition."""
    await database.write(lambda connection: make_partitions(connection, 4))
    taken = await database.write(
        lambda connection: keep_leases(
            connection, owner="o", name="o", now=literal(100.0), lease=5, partitions=4
        )
    )
    await grown(database, 5)
    late = Commit(0, taken.owned[0], "late", refused=[])
    late.published.append(1)
    with pytest.raises(Fenced):
        await Journal(database).commit(late)


async def test_nothing_grows_while_an_orchestrator_lives(database: Database) -> None:
    """Not even beside one that owns nothing: it would go on with the old number."""
    await database.write(lambda connection: make_partitions(connection, 4))

    def keep(owner: str, leaving: bool) -> Any:
        return lambda connection: keep_leases(
            connection, owner=owner, name="o", now=database.now(), lease=60, partitions=4, leaving=leaving
        )

    await database.write(keep("idle", True))
    with pytest.raises(ConfigurationError, match="idle"):
        await grown(database, 8)
    await database.write(lambda connection: connection.execute(tables.processes.delete()))
    held = {"owner": "frozen", "lease_until": 1e12}
    await database.write(lambda connection: connection.execute(update(tables.partitions).values(**held)))
    with pytest.raises(ConfigurationError, match="frozen"):
        await grown(database, 8)
    gone = {"lease_until": 0.0}
    await database.write(lambda connection: connection.execute(update(tables.partitions).values(**gone)))
    assert await grown(database, 8) == Growth(4, 8, 0)
    assert await grown(database, 8) == Growth(8, 8, 0)
    with pytest.raises(ConfigurationError, match="can only grow"):
        await grown(database, 4)
    with pytest.raises(ConfigurationError, match="began with 4"):
        await database.write(keep("stale", False))
    assert await database.read(lambda c: c.execute(select(tables.processes)).all()) == []


async def test_a_store_that_grows_while_an_orchestrator_takes_its_share_keeps_nothing_of_that(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had read how many there are, and takes them a moment after there are more."""
    await database.write(lambda connection: make_partitions(connection, 4))
    share = leases._share

    def grow_meanwhile(connection: Connection, *about: Any) -> int:
        connection.execute(tables.partitions.insert(), [{"id": 4, "epoch": 0, "lease_until": 0.0}])
        return share(connection, *about)

    monkeypatch.setattr(leases, "_share", grow_meanwhile)

    def keep(connection: Connection) -> Round:
        return keep_leases(connection, owner="o", name="o", now=database.now(), lease=60, partitions=4)

    with pytest.raises(ConfigurationError, match="has 5 partitions now"):
        await database.write(keep)
    owners = select(tables.partitions.c.owner)
    assert await database.read(lambda connection: connection.execute(owners).scalars().all()) == [None] * 4


async def test_a_store_without_partitions_says_who_makes_them(database: Database) -> None:
    """There is nothing to grow."""
    with pytest.raises(ConfigurationError, match="ANTIPHON_PARTITIONS"):
        await grown(database, 8)


async def test_many_runs_are_moved_page_by_page(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended ones too, for they can be asked for again; and timers of theirs, several of one run."""
    monkeypatch.setattr(growth, "_PAGE", 7)
    await database.write(lambda connection: make_partitions(connection, 3))
    ids = [secrets.token_hex(16) for _ in range(100)]
    plain = dict.fromkeys(("workspace", "flow", "key", "correlation", "input_digest", "start_id"), "x")
    same = {
        **plain,
        "input": "{}",
        "state": "{}",
        "seq": 1,
        "version": 1,
        "created_at": 1.0,
        "updated_at": 1.0,
    }
    runs = [
        {"id": id, "partition": partition_of(id, 3), **same, "status": "completed", "ended_at": 2.0}
        for id in ids
    ]
    timers = [
        {"run_id": id, "name": name, "partition": partition_of(id, 3), "due_at": 5.0}
        for id in ids[:50]
        for name in ("a", "b")
    ]
    await database.write(lambda connection: connection.execute(tables.runs.insert(), runs))
    await database.write(lambda connection: connection.execute(tables.timers.insert(), timers))
    moved = sum(partition_of(id, 3) != partition_of(id, 7) for id in ids)
    assert await grown(database, 7) == Growth(3, 7, moved)
    for table, run_id in ((tables.runs, tables.runs.c.id), (tables.timers, tables.timers.c.run_id)):
        query = select(run_id, table.c.partition)
        rows = await database.read(lambda connection, q=query: connection.execute(q).all())
        assert len(rows) == 100
        assert all(found == partition_of(id, 7) for id, found in rows)
