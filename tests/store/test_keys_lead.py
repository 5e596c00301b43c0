"""Searches by key find only one index to take, and a run's facts are found by theirs."""

from __future__ import annotations

import pytest
from sqlalchemy import ColumnElement, Connection, select

from store import tables
from store.bulk import insert_rows
from store.database import Database
from store.tables import metadata, of_its_run
from tests.store.old_rows import NOW, fact, run


def test_no_other_index_begins_with_a_column_of_a_key() -> None:
    """PostgreSQL may take one for as good as the key's as long as it knows nothing of the table."""
    misleading = [
        f"{index.name} of {table.name}"
        for table in metadata.sorted_tables
        for index in table.indexes
        if index.columns[0] in table.primary_key.columns.values()
    ]
    assert metadata.sorted_tables
    assert misleading == []


@pytest.mark.parametrize(
    "asked",
    [tables.runs.c.id == "r7", tables.runs.c.correlation == "story-r7"],
    ids=["of a run", "of a story"],
)
async def test_facts_are_found_by_their_key(database: Database, asked: ColumnElement[bool]) -> None:
    """Not by reading the whole history for those of one run, on either database."""

    def fill(connection: Connection) -> None:
        ids = [f"r{number}" for number in range(2_000)]
        insert_rows(connection, tables.runs, [run(id, created_at=NOW + at) for at, id in enumerate(ids)])
        facts = [{**fact(id, seq), "run_created_at": NOW + at} for at, id in enumerate(ids) for seq in (1, 2)]
        insert_rows(connection, tables.history, facts)
        connection.exec_driver_sql("ANALYZE")

    def plan(connection: Connection) -> str:
        query = (
            select(tables.history)
            .join(tables.runs, of_its_run)
            .where(asked, tables.runs.c.workspace == "acme")
        )
        text = query.compile(connection, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {text}"))

    await database.write(fill)
    found = await database.read(plan)
    by_key = ("Index Scan using history_pkey", "SEARCH history USING INDEX sqlite_autoindex_history_1")
    assert any(how in found for how in by_key), found
