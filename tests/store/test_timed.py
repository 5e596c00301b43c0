"""Writes in one statement whose times are the database's: all of them, or none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from antiphon.devservices import Postgres
from store.connect import open_engine
from store.database import Database
from store.engine import Engine
from store.tables import events, timers
from store.timed import Timed


@pytest.fixture
async def engine(postgres: Postgres) -> AsyncIterator[Engine]:
    url = postgres.create_database()
    await (await Database.open(url, migrate=True)).close()
    engine = await open_engine(url, pool=1, writers=1)
    yield engine
    await engine.close()


async def write(engine: Engine, timed: Timed) -> float | None:
    """The statement's time, or None when it failed."""
    statement = timed.single()
    assert statement is not None
    assert engine.single is not None
    rows = await engine.single(statement, writing=True)
    return None if rows is None else rows[0][0]


async def rows(engine: Engine) -> list[tuple[Any, ...]]:
    query = select(timers).order_by(timers.c.run_id)
    return await engine.transact(lambda connection: [tuple(row) for row in connection.execute(query)])


def inserting(*run_ids: str) -> Timed:
    timed = Timed()
    timed.insert(
        timers, [{"run_id": id} for id in run_ids], same={"name": "t", "partition": 3}, now=("due_at",)
    )
    return timed


def moving(*run_ids: str, partition: int) -> Timed:
    timed = Timed()
    changed = [{"run_id": id, "due_at": float(n)} for n, id in enumerate(run_ids)]
    timed.update(
        timers,
        changed,
        keys=("run_id",),
        same={"name": "moved"},
        now=(),
        where={"partition": partition},
    )
    return timed


async def test_rows_get_what_is_the_same_for_all_and_the_time(engine: Engine) -> None:
    """The time is one for the whole statement, and the statement says it."""
    now = await write(engine, inserting("a", "b"))
    assert now is not None
    assert await rows(engine) == [("a", "t", 3, now), ("b", "t", 3, now)]


async def test_a_key_that_is_there_fails_all_of_it(engine: Engine) -> None:
    """Nothing of the statement is kept, so that its work can be done the long way."""
    now = await write(engine, inserting("a"))
    assert await write(engine, inserting("b", "a", "c")) is None
    assert await rows(engine) == [("a", "t", 3, now)]


async def test_an_update_changes_all_of_its_rows_or_none(engine: Engine) -> None:
    """One that is missing, or not as it should be, undoes the others."""
    now = await write(engine, inserting("a", "b"))
    assert await write(engine, moving("a", "b", "c", partition=3)) is None
    assert await write(engine, moving("a", "b", partition=4)) is None
    assert await rows(engine) == [("a", "t", 3, now), ("b", "t", 3, now)]
    assert await write(engine, moving("a", "b", partition=3)) is not None
    assert await rows(engine) == [("a", "moved", 3, 0.0), ("b", "moved", 3, 1.0)]


async def test_parts_of_several_tables_are_one(engine: Engine) -> None:
    """What is to be ignored is; a part that fails takes the others with it."""
    said = {"source": "/s", "id": "e", "workspace": "w", "type": "x.v1", "correlation": "c", "routed": 1}
    for _ in range(2):
        told = Timed()
        told.insert(events, [said], same={"causation": None}, now=("at",), on_conflict="ignore")
        assert await write(engine, told) is not None
    await write(engine, inserting("a"))
    both = moving("a", "missing", partition=3)
    both.insert(events, [said | {"id": "other"}], same={"causation": None}, now=("at",))
    assert await write(engine, both) is None
    ids = await engine.transact(lambda c: list(c.execute(select(events.c.id)).scalars()))
    assert ids == ["e"]


def test_what_is_changed_can_be_no_guard() -> None:
    """Guards are read of the row as it is after the change."""
    timed = Timed()
    with pytest.raises(ValueError, match="none of them can be changed"):
        timed.update(
            timers,
            [{"run_id": "a", "partition": 9}],
            keys=("run_id",),
            same={},
            now=(),
            where={"partition": 3},
        )


def test_nothing_to_write_is_no_statement() -> None:
    """So that nobody is asked for it."""
    timed = Timed()
    timed.insert(timers, [], same={}, now=("due_at",))
    assert timed.single() is None
