"""Fills a store with copies of a run: rows as they would stand there, under ids as real ones are."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import asyncpg

from orchestrator.flow import run_id_of
from orchestrator.wire import partition_of
from store.tables import history, marks, runs

__all__ = ["copies", "filling"]

_STEP = 50_000  # runs copied by one statement
_SEEDED = "CREATE TEMPORARY TABLE seeded (n INTEGER PRIMARY KEY, id TEXT, part INTEGER)"


class Filler(Protocol):
    """Statements straight to a store that nobody else uses now."""

    async def say(self, statement: str) -> None:
        """Execute one."""

    async def name(self, rows: Iterator[tuple[int, str, int]]) -> None:
        """Fill the table ``seeded``."""


class _Postgres:
    def __init__(self, link: asyncpg.Connection) -> None:
        self._link = link

    async def say(self, statement: str) -> None:
        await self._link.execute(statement, timeout=900)

    async def name(self, rows: Iterator[tuple[int, str, int]]) -> None:
        await self._link.copy_records_to_table("seeded", records=rows, columns=["n", "id", "part"])


class _Sqlite:
    def __init__(self, link: sqlite3.Connection) -> None:
        self._link = link

    async def say(self, statement: str) -> None:
        self._link.execute(statement)

    async def name(self, rows: Iterator[tuple[int, str, int]]) -> None:
        with self._link:
            self._link.execute("BEGIN")
            self._link.executemany("INSERT INTO seeded VALUES (?, ?, ?)", rows)


@asynccontextmanager
async def filling(url: str) -> AsyncIterator[Filler]:
    """A way into a store; at the end all is on disk, and the store knows how much it has."""
    if url.startswith("sqlite:///"):
        link = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        with contextlib.closing(link):
            link.execute("PRAGMA synchronous = OFF")  # of this connection, for these rows
            yield _Sqlite(link)
            link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            link.execute("ANALYZE")
        return
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute("SET synchronous_commit = off")
        yield _Postgres(connection)
        await connection.execute("CHECKPOINT")
        for table in (runs, history, marks):
            await connection.execute(f"VACUUM ANALYZE {table.name}")
    finally:
        await connection.close()


async def copies(filler: Filler, model: str, flow: str, key: str, count: int, partitions: int) -> None:
    """Copies of the run ``model``, one after the other in the last hours, under keys ``KEY-1`` and so on."""
    if not count:
        return
    await filler.say(_SEEDED)
    await filler.name(_named(flow, key, count, partitions))
    own = {"id": "s.id", "run_id": "s.id", "correlation": "s.id", "partition": "s.part"}
    own["key"] = f"'{key}-' || s.n"
    # Each a millisecond older than the one that follows it, and all of them older than what is measured.
    own |= {name: f'r."{name}" - ({count} - s.n) / 1000.0' for name in ("created_at", "run_created_at")}
    for table, by in ((runs, "id"), (history, "run_id"), (marks, "run_id")):
        names: Sequence[str] = [column.name for column in table.columns]
        columns = ", ".join(f'"{name}"' for name in names)
        values = ", ".join(own.get(name, f'r."{name}"') for name in names)
        for first in range(1, count + 1, _STEP):
            await filler.say(
                f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM seeded s, {table.name} r "
                f"WHERE r.{by} = '{model}' AND s.n BETWEEN {first} AND {first + _STEP - 1}"
            )
    await filler.say("DROP TABLE seeded")


def _named(flow: str, key: str, count: int, partitions: int) -> Iterator[tuple[int, str, int]]:
    for n in range(1, count + 1):
        id = run_id_of("default", flow, f"{key}-{n}")
        yield n, id, partition_of(id, partitions)
