"""Many rows in one statement, with the same outcome on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.exc import IntegrityError

from contracts.errors import ConfigurationError
from store import statements
from store.bulk import Together, delete_rows, insert_rows, select_rows, update_rows
from store.database import Database
from store.tables import events, marks, outbox, partitions, runs, timers


def event(n: int, **other: Any) -> dict[str, Any]:
    row = {
        "source": "/w/test",
        "id": f"e{n}",
        "workspace": "w",
        "type": "t",
        "correlation": "c",
        "at": n + 0.5,
    }
    return {**row, "subject": None, **other}


async def all_of(database: Database, table: Any) -> list[dict[str, Any]]:
    query = select(table).order_by(*table.primary_key.columns)
    return await database.read(lambda c: [dict(row._mapping) for row in c.execute(query)])


async def put(
    database: Database, table: Any, rows: Sequence[dict[str, Any]], **how: Any
) -> list[tuple[Any, ...]]:
    return await database.write(lambda c: [tuple(row) for row in insert_rows(c, table, rows, **how)])


async def test_rows_come_back_as_they_went_in(database: Database) -> None:
    """Text, bytes, numbers beyond 32 bits, floats and None survive; defaults are filled in."""
    row = {"partition": 3, "position": 2**40, "message_id": "é\n'\"", "exchange": "", "routing_key": "r"}
    row |= {"content_type": "c", "headers": "{}", "body": bytes(range(256))}
    await put(database, outbox, [row])
    assert await all_of(database, outbox) == [row]
    await put(database, events, [event(1)])
    assert await all_of(database, events) == [{**event(1), "causation": None, "routed": 1}]


@pytest.mark.parametrize("number", [0, 1, 2, 3000])
async def test_any_number_of_rows(database: Database, number: int) -> None:
    """None, one and thousands are all one call."""
    await put(database, marks, [{"run_id": "r", "message_id": f"{n:05}"} for n in range(number)])
    assert [row["message_id"] for row in await all_of(database, marks)] == [f"{n:05}" for n in range(number)]


async def test_a_conflict_is_an_error_unless_said_otherwise(database: Database) -> None:
    """By default a primary key that is there already is refused, and nothing of the call is kept."""
    await put(database, events, [event(1)])
    with pytest.raises(IntegrityError):
        await put(database, events, [event(2), event(1)])
    assert [row["id"] for row in await all_of(database, events)] == ["e1"]


async def test_ignore_keeps_the_first_and_tells_which_were_new(database: Database) -> None:
    """With "ignore" the row that is there stays, and only inserted rows are returned."""
    await put(database, events, [event(1)])
    rows = [event(1, subject="again"), event(2, subject="first"), event(2, subject="second")]
    assert await put(database, events, rows, on_conflict="ignore", returning=("id", "at")) == [("e2", 2.5)]
    assert [(row["id"], row["subject"]) for row in await all_of(database, events)] == [
        ("e1", None),
        ("e2", "first"),
    ]


async def test_update_overwrites_and_the_last_one_wins(database: Database) -> None:
    """With "update" the given columns are overwritten; of two rows with one key the later counts."""
    await put(database, events, [event(1, causation="cause")])
    rows = [event(1, subject="first"), event(2), event(1, subject="second")]
    changed = await put(database, events, rows, on_conflict="update", returning=("id", "subject"))
    assert sorted(changed) == [("e1", "second"), ("e2", None)]
    (one, _) = await all_of(database, events)
    assert (one["subject"], one["causation"]) == ("second", "cause")


async def test_update_rows_sets_by_key_and_counts(database: Database) -> None:
    """Rows are changed by their key, unknown keys count for nothing, and the last of two wins."""
    await put(database, events, [event(n) for n in range(3)])
    rows = [
        {"source": "/w/test", "id": f"e{n}", "subject": s}
        for n, s in [(0, "a"), (1, "b"), (1, "c"), (9, "d")]
    ]
    assert await database.write(lambda c: update_rows(c, events, rows)) == 2
    assert [row["subject"] for row in await all_of(database, events)] == ["a", "c", None]
    assert await database.write(lambda c: update_rows(c, events, [])) == 0


async def test_update_rows_with_a_guard(database: Database) -> None:
    """More key columns than the primary key change nothing where one of them differs: a fence."""
    await put(database, partitions, [{"id": n, "epoch": 7} for n in range(3)])

    def fenced(connection: Connection, epoch: int) -> int:
        row = {"id": 1, "epoch": epoch, "last_commit": f"commit {epoch}"}
        return update_rows(connection, partitions, [row], keys=("id", "epoch"))

    assert await database.write(lambda c: fenced(c, 6)) == 0
    assert await database.write(lambda c: fenced(c, 7)) == 1
    assert [row["last_commit"] for row in await all_of(database, partitions)] == [None, "commit 7", None]


async def test_delete_rows_by_key_or_by_columns(database: Database) -> None:
    """Rows go by primary key or by other columns, and are counted."""
    rows = [{"run_id": f"r{n % 2}", "name": f"t{n}", "partition": 0, "due_at": 1.0} for n in range(6)]
    await put(database, timers, rows)
    assert (
        await database.write(lambda c: delete_rows(c, timers, [("r0", "t0"), ("r0", "t1"), ("r1", "t1")]))
        == 2
    )
    assert await database.write(lambda c: delete_rows(c, timers, [("r1",)], by=("run_id",))) == 2
    assert [row["name"] for row in await all_of(database, timers)] == ["t2", "t4"]
    assert await database.write(lambda c: delete_rows(c, timers, [])) == 0


async def test_select_rows_finds_by_key_and_only_once(database: Database) -> None:
    """The rows of the keys that are there, the columns asked for, no row twice."""
    await put(database, marks, [{"run_id": f"r{n}", "message_id": "m"} for n in range(5)])
    keys = [("r1", "m"), ("r3", "m"), ("r1", "m"), ("r9", "m")]
    found = await database.read(
        lambda c: [tuple(r) for r in select_rows(c, marks, keys, columns=("run_id",))]
    )
    assert sorted(found) == [("r1",), ("r3",)]
    by_run = await database.read(lambda c: select_rows(c, marks, [("r4",)], by=("run_id",)))
    assert [row.message_id for row in by_run] == ["m"]
    assert await database.read(lambda c: select_rows(c, marks, [])) == []


async def test_select_rows_finds_any_number(database: Database) -> None:
    """Hundreds of keys, among them many that nobody has, find each row that is there and no other."""
    pairs = [(f"r{n % 7}", f"{n:04}") for n in range(700)]
    await put(database, marks, [{"run_id": run_id, "message_id": id} for run_id, id in pairs[::2]])
    found = await database.read(lambda c: [tuple(row) for row in select_rows(c, marks, pairs)])
    assert sorted(found) == sorted(pairs[::2])


async def test_sqlite_finds_each_row_by_its_key() -> None:
    """A question of many keys searches an index for each of them, and reads no table from end to end."""
    for table, by in ((marks, ("run_id", "message_id")), (marks, ("run_id",)), (runs, ("id",))):
        text = statements.select("sqlite", table, by, by, rows=4)
        engine = create_engine("sqlite://")
        with engine.begin() as connection:
            table.create(connection)
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ("x",) * (4 * len(by)))
            steps = [str(row[3]) for row in plan]
        assert any(step.startswith(f"SEARCH {table.name} ") for step in steps), steps


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"run_id": "r", "message_id": "m"}, {"run_id": "r"}], "one of them has no 'message_id'"),
        (
            [{"run_id": "r"}, {"run_id": "r", "message_id": "m"}],
            "one of them has 'message_id', the first has not",
        ),
        ([{"run_id": "r", "message_id": "m", "wrong": 1}], "has no column 'wrong'"),
    ],
)
async def test_rows_that_do_not_fit_are_refused_with_the_reason(
    database: Database, rows: list[dict[str, Any]], message: str
) -> None:
    """Rows that differ in their columns, or name one that is not there, are a mistake that is told."""
    with pytest.raises(ConfigurationError, match=message):
        await put(database, marks, rows)


async def test_updates_that_say_nothing_are_refused(database: Database) -> None:
    """An update without anything to set, or without its key, is a mistake that is told."""
    with pytest.raises(ConfigurationError, match="sets no column"):
        await database.write(lambda c: update_rows(c, marks, [{"run_id": "r", "message_id": "m"}]))
    with pytest.raises(ConfigurationError, match="lack their key columns: id"):
        await database.write(lambda c: update_rows(c, partitions, [{"owner": "x"}]))


async def test_values_never_become_part_of_the_statement(database: Database) -> None:
    """Text that looks like SQL is text."""
    wicked = "'); DROP TABLE marks; --"
    await put(database, marks, [{"run_id": wicked, "message_id": "$1 ? :x %s"}])
    found = await database.read(lambda c: select_rows(c, marks, [(wicked, "$1 ? :x %s")]))
    assert [tuple(row) for row in found] == [(wicked, "$1 ? :x %s")]


async def test_writes_of_several_tables_go_together(database: Database) -> None:
    """Inserts, updates and deletes of several tables are all done by one run, or none of them is."""
    timer = {"run_id": "r", "name": "old", "partition": 1, "due_at": 1.0}
    await put(database, timers, [timer])
    await put(database, marks, [{"run_id": "r", "message_id": "before"}])

    def write(connection: Connection, on_conflict: Any) -> None:
        together = Together(connection.dialect.name)
        together.insert(
            marks, [{"run_id": "r", "message_id": m} for m in ("before", "now")], on_conflict=on_conflict
        )
        together.insert(timers, [{**timer, "name": "new"}])
        together.update(timers, [{**timer, "due_at": 2.0}])
        together.delete(marks, [("r", "nothing")])
        together.run(connection)

    with pytest.raises(IntegrityError):
        await database.write(lambda connection: write(connection, "error"))
    assert await all_of(database, timers) == [timer]
    await database.write(lambda connection: write(connection, "ignore"))
    assert await all_of(database, timers) == [{**timer, "name": "new"}, {**timer, "due_at": 2.0}]
    assert [row["message_id"] for row in await all_of(database, marks)] == ["before", "now"]


async def test_rows_of_values_are_rows_like_others(database: Database) -> None:
    """Columns in any order; those left out have their defaults; of two with one key, the later wins."""

    def write(connection: Connection) -> None:
        together = Together(connection.dialect.name)
        together.insert_values(partitions, ("owner", "id"), [("a", 1), ("b", 2)])
        together.run(connection)
        together = Together(connection.dialect.name)
        together.update_values(partitions, ("owner", "id"), [("c", 1), ("d", 1)])
        together.run(connection)
        together = Together(connection.dialect.name)
        together.update_values(partitions, ("id", "last_commit", "epoch"), [(2, "x", 7)])
        together.run(connection)

    await database.write(write)
    same = {"lease_until": 0.0}
    assert await all_of(database, partitions) == [
        {"id": 1, "owner": "d", "epoch": 0, "last_commit": None, **same},
        {"id": 2, "owner": "b", "epoch": 7, "last_commit": "x", **same},
    ]
    with pytest.raises(ConfigurationError, match="lack their key columns: id"):
        Together("sqlite").update_values(partitions, ("owner",), [("a",)])
