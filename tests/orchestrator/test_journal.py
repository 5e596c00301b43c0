"""The journal's promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from bus.port import Message, Outgoing
from contracts.errors import Fenced
from orchestrator import records
from orchestrator.decide import begin
from orchestrator.flow import run_id_of
from orchestrator.journal import Change, Commit, Journal, Post, Question, _put
from orchestrator.leases import make_partitions
from orchestrator.proofs import Proofs
from orchestrator.run import Run
from orchestrator.turn import Decision
from store import tables
from store.bulk import Together, insert_rows
from store.database import Database
from tests.orchestrator.flows import trip
from tests.orchestrator.pretending import asked, row_of, rules
from tests.plans import Explained

EPOCH = 7


@pytest.fixture
async def journal(database: Database) -> Journal:
    """A journal over four partitions, all in epoch 7."""
    await database.write(lambda connection: make_partitions(connection, 4))
    await database.write(lambda connection: connection.execute(update(tables.partitions).values(epoch=EPOCH)))
    return Journal(database)


def started(key: str, partition: int = 0) -> Decision:
    run_id = run_id_of("acme", "trip", key)
    return begin(trip(), asked(trip(), run_id=run_id, key=key, partition=partition), now=1.0, rules=rules())


def commit_of(*decisions: Decision, id: str = "c1", partition: int = 0, epoch: int = EPOCH) -> Commit:
    changes = [Change(each.run, created=True, facts=list(each.facts)) for each in decisions]
    return Commit(partition, epoch, id, changes)


async def count(database: Database, table: Any) -> int:
    query = select(func.count()).select_from(table)
    return int(await database.read(lambda connection: connection.execute(query).scalar_one()))


async def test_what_is_committed_is_read_back_as_it_was(database: Database, journal: Journal) -> None:
    """The run, its facts, timers and outbox, in one."""
    decision = started("k1")
    commit = commit_of(decision)
    posts = [Post(n, Outgoing(Message(f"m{n}", b"\x00\xff", headers={"h": "1"}), "q")) for n in (5, 6)]
    commit.changes[0].posts = posts
    commit.changes[0].timers = {"quote": 12.5, "other": None}
    await journal.commit(commit)
    assert (await journal.ask(Question(runs=(decision.run.id, "none")))).runs == {
        decision.run.id: decision.run
    }
    assert await count(database, tables.history) == len(decision.facts)
    assert await journal.outbox(0) == posts
    assert await journal.timers(0, 99.0) == [(12.5, decision.run.id, "quote")]
    assert await journal.timers(0, 12.0) == []
    assert [run.id for run in await journal.busy(0)] == [decision.run.id]


async def test_who_takes_over_finds_the_busy_runs_by_an_index(database: Database, journal: Journal) -> None:
    """Of those alone, however many others there are."""
    rows = [row_of(started(f"k{number}").run) | {"busy": int(number == 7)} for number in range(2_000)]
    await database.write(lambda connection: insert_rows(connection, tables.runs, rows))
    await database.write(lambda connection: connection.exec_driver_sql("ANALYZE") and None)
    explained: Any = Explained(database, "runs")
    plans: list[Any] = list(await Journal(explained).busy(0))
    assert len(plans) == 1
    assert "runs_partition_busy" in plans[0], plans


async def test_who_takes_over_leaves_out_what_can_t_be_read_and_says_so(
    database: Database, journal: Journal
) -> None:
    """A field of a newer release, and what is no JSON: in the log with their names, and in the proofs."""
    rows = [row_of(started(key).run) for key in ("k1", "k2", "k3")]
    newer, torn, good = rows
    newer["state"] = orjson.dumps(orjson.loads(newer["state"]) | {"mood": "new"}).decode()
    torn["state"] = torn["state"][:-1]
    await database.write(lambda connection: insert_rows(connection, tables.runs, rows))
    with capture_logs() as said:
        assert [run.id for run in await journal.busy(0)] == [good["id"]]
    errors = {entry["run"]: entry["error"] for entry in said if entry["log_level"] == "error"}
    assert set(errors) == {newer["id"], torn["id"]}
    assert "mood" in errors[newer["id"]]
    page, _ = await Proofs(database).page(0, after=None, before=float("inf"), most=10)
    assert {run.id for run in page if run.odd is not None} == set(errors)


async def test_an_owner_that_has_lost_its_lease_can_t_commit(database: Database, journal: Journal) -> None:
    """Trap 2: the epoch is looked at inside of the commit, and nothing of it is kept."""
    for epoch in (EPOCH - 1, EPOCH + 1):
        with pytest.raises(Fenced):
            await journal.commit(commit_of(started("k1"), epoch=epoch))
    assert await count(database, tables.runs) == 0
    assert await count(database, tables.history) == 0


async def test_a_partition_that_is_not_there_is_nobody_s(journal: Journal) -> None:
    """An owner of the ninth of four is fenced."""
    with pytest.raises(Fenced):
        await journal.commit(commit_of(started("k1", 9), partition=9, epoch=0))


async def test_a_takeover_and_a_commit_at_the_same_moment_never_both_win(
    database: Database, journal: Journal
) -> None:
    """Whoever is second sees the first: a commit that went through is in the new owner's view."""
    lost = 0
    for number in range(12):
        epoch = EPOCH + number

        def take(connection: Any, epoch: int = epoch) -> set[str]:
            columns = tables.partitions.c
            connection.execute(update(tables.partitions).where(columns.id == 0).values(epoch=epoch + 1))
            return set(connection.execute(select(tables.runs.c.key)).scalars())

        results = await asyncio.gather(
            journal.commit(commit_of(started(f"k{number}"), id=f"c{number}", epoch=epoch)),
            database.write(take),
            return_exceptions=True,
        )
        seen = results[1]
        assert isinstance(seen, set)
        if isinstance(results[0], Fenced):
            lost += 1
            assert f"k{number}" not in seen
        else:
            assert results[0] is None
            assert f"k{number}" in seen
    assert await count(database, tables.runs) == 12 - lost


async def test_a_commit_whose_answer_was_lost_is_answered_and_not_applied_twice(
    database: Database, journal: Journal
) -> None:
    """Trap 19: the same id again, also by another connection, and twice in one transaction."""
    commit = commit_of(started("k1"))
    await journal.commit(commit)
    await journal.commit(commit)
    await asyncio.gather(journal.commit(commit), Journal(database).commit(commit))
    other = commit_of(started("k2"), id="c2")
    await asyncio.gather(journal.commit(other), journal.commit(other))
    assert await count(database, tables.runs) == 2


async def test_a_bad_batch_harms_no_other_partition_s(database: Database, journal: Journal) -> None:
    """Trap 18: they share a transaction, and the good ones are there once."""
    await journal.commit(commit_of(started("k1"), id="c0"))
    good = [started(f"g{number}", number) for number in range(1, 4)]
    results = await asyncio.gather(
        journal.commit(commit_of(started("k1"), id="bad")),  # this run is there already
        *(journal.commit(commit_of(each, partition=each.run.partition)) for each in good),
        return_exceptions=True,
    )
    assert isinstance(results[0], IntegrityError)
    assert results[1:] == [None, None, None]
    assert await count(database, tables.runs) == 4


async def test_a_fenced_batch_harms_no_other_partition_s(database: Database, journal: Journal) -> None:
    """Nor does one that came too late."""
    good, bad = commit_of(started("g", 1), partition=1), commit_of(started("b", 2), partition=2, epoch=1)
    results = await asyncio.gather(journal.commit(good), journal.commit(bad), return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], Fenced)
    assert await count(database, tables.runs) == 1


async def test_marks_and_early_events_go_with_the_commit(journal: Journal) -> None:
    """A repeat of a mark or of an early event is no error; what was taken is gone."""
    decision = started("k1")
    row = {"run_id": decision.run.id, "partition": 0, "type": "x.v1", "at": 1.0, "data": "{}"}
    early = [{**row, "message_id": "e2", "at": 2.0}, {**row, "message_id": "e1"}]
    await journal.commit(Commit(0, EPOCH, "c1", early=early))
    await journal.commit(Commit(0, EPOCH, "c2", early=early))
    found = (await journal.ask(Question(starting=(decision.run.id, "none")))).early
    assert [event.message_id for event in found[decision.run.id]] == ["e1", "e2"]
    commit = commit_of(decision, id="c3")
    commit.changes[0].taken = commit.changes[0].marks = ["e1", "e2"]
    await journal.commit(commit)
    again = Commit(0, EPOCH, "c4", [Change(decision.run, marks=["e2", "e3"])])
    await journal.commit(again)
    assert (await journal.ask(Question(starting=(decision.run.id,)))).early == {}
    pairs = tuple((decision.run.id, name) for name in ("e1", "e2", "e3", "e4"))
    assert (await journal.ask(Question(marks=pairs))).taken == set(pairs[:3])


async def test_a_timer_that_is_moved_fires_at_its_new_time(journal: Journal) -> None:
    """One row for each name."""
    decision = started("k1")
    commit = commit_of(decision)
    commit.changes[0].timers = {"a": 10.0, "b": 20.0}
    await journal.commit(commit)
    await journal.commit(Commit(0, EPOCH, "c2", [Change(decision.run, timers={"a": 30.0, "b": None})]))
    assert await journal.timers(0, 99.0) == [(30.0, decision.run.id, "a")]


async def test_timers_are_read_page_by_page(database: Database, journal: Journal) -> None:
    """By an index, each once, also where many are due at the same moment."""
    due = sorted((float(n // 700), f"r{n % 50}", f"t{n}") for n in range(2_000))
    rows = [{"run_id": run, "name": name, "partition": 0, "due_at": at} for at, run, name in due]
    await database.write(lambda connection: insert_rows(connection, tables.timers, rows))
    await database.write(lambda connection: connection.exec_driver_sql("ANALYZE") and None)
    pages = [await journal.timers(0, 1.0, most=300)]
    while pages[-1]:
        pages.append(await journal.timers(0, 1.0, pages[-1][-1], most=300))
    found = [timer for page in pages for timer in page]
    assert sorted(found) == [timer for timer in due if timer[0] <= 1.0]
    assert len(found) == 1_400
    explained: Any = Explained(database, "timers")
    plans: list[Any] = list(await Journal(explained).timers(0, 2.0, (2.0, "", ""), most=300))
    assert "timers_partition_due" in plans[0], plans


async def test_what_the_broker_has_confirmed_leaves_the_outbox(journal: Journal) -> None:
    """With the next commit."""
    commit = commit_of(started("k1"))
    commit.changes[0].posts = [Post(n, Outgoing(Message(f"m{n}", b""), "q")) for n in (1, 2, 3)]
    await journal.commit(commit)
    await journal.commit(Commit(0, EPOCH, "c2", published=[1, 2]))
    assert [post.position for post in await journal.outbox(0)] == [3]


async def test_fields_that_say_nothing_are_not_written(database: Database, journal: Journal) -> None:
    """A run whose row lacks a field, as one from before that field was added, has the field's default."""
    decision = started("k1")
    await journal.commit(commit_of(decision))
    text = await database.read(lambda conn: conn.execute(select(tables.runs.c.state)).scalar_one())
    assert set(orjson.loads(text)) == {"active"}
    known = await journal.ask(Question(runs=(decision.run.id,)))
    assert known.runs[decision.run.id] == decision.run


def test_what_is_not_written_is_what_a_run_begins_with() -> None:
    """A field that says nothing is left out of the row: what it is then must be its default, and equal."""
    fields = {field.name: field for field in dataclasses.fields(Run)}
    for name in records._STATE:
        field = fields[name]
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        assert not default, f"{name} would be lost where it is empty"


def test_what_has_an_index_is_set_only_where_it_changes() -> None:
    """A run that goes on as it stood keeps its entries in three indexes; another does not."""

    def set_by(run: Run, stood: Any) -> set[str]:
        change = Change(run, stood=stood, facts=list(started("k1").facts))
        together = Together("sqlite")
        _put(together, [Commit(0, EPOCH, "c1", [change])])
        (update,) = [sql for sql, _ in together._parts if sql.startswith('UPDATE "runs"')]
        return {name for name in ("status", "busy", "ended_at", "state") if f'"{name}" = ?' in update}

    run = started("k1").run
    assert set_by(run, run.standing) == {"state"}
    assert set_by(run, ("stuck", 0, None)) == {"status", "busy", "ended_at", "state"}
    assert set_by(run, None) == {"status", "busy", "ended_at", "state"}
