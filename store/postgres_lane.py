"""A connection of its own for single statements, below SQLAlchemy's transactions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from store.shortcut import Single

__all__ = ["LaneLost", "Lanes"]


# What a statement ends in when its connection breaks under it. (The internal one: asyncpg was told of the end
# between two of its own steps.)
_BROKEN = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)


# Every statement here names its rows by key. As long as a table is young the planner has no idea of its size,
# takes reading all of it for the cheapest way, and keeps to that until the table is analyzed.
_BY_KEY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"


class LaneLost(Exception):
    """Raised when the connection broke under a statement: whether it took effect is unknown."""


class Lanes:
    """So many statements side by side, each on a connection of its own; what is more waits for the first."""

    def __init__(self, engine: AsyncEngine, number: int) -> None:
        self._lanes = [_Lane(engine) for _ in range(number)]

    async def fetch(self, statement: Single) -> Sequence[Any]:
        """See ``_Lane.fetch``."""
        free = next((lane for lane in self._lanes if not lane.busy), self._lanes[0])
        return await free.fetch(statement)

    async def close(self) -> None:
        """Give the connections back; one that is broken is no reason to keep the others."""
        for lane in self._lanes:
            with contextlib.suppress(DBAPIError, OSError):
                await lane.close()


class _Lane:
    """Holds one connection of an engine's pool, and runs one statement at a time on it, with no BEGIN.

    The pool must have a connection to spare for it. One that breaks is replaced at the next statement.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._held: AsyncConnection | None = None
        self._driver: asyncpg.Connection[Any] | None = None
        self._turn = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a statement is under way."""
        return self._turn.locked()

    async def fetch(self, statement: Single) -> Sequence[Any]:
        """The rows. Raises LaneLost, asyncpg.PostgresError, and what connecting raises."""
        async with self._turn:
            driver = self._driver
            if driver is None or driver.is_closed():
                driver = await self._connect()
            try:
                rows: Sequence[Any] = await driver.fetch(statement.text, *statement.values)
                return rows
            except _BROKEN as error:
                await self._drop()
                raise LaneLost(f"{type(error).__name__}: {error}") from error
            except asyncio.CancelledError:
                await self._drop()  # in the middle of an answer, perhaps
                raise

    async def close(self) -> None:
        """Give the connection back."""
        async with self._turn:
            held, self._held, self._driver = self._held, None, None
            if held is not None:
                await held.close()

    async def _connect(self) -> asyncpg.Connection[Any]:
        await self._drop()
        self._held = await self._engine.connect()
        pooled = await self._held.get_raw_connection()
        driver: asyncpg.Connection[Any] | None = pooled.driver_connection
        if driver is None or driver.is_closed():
            raise LaneLost("the pool gave a connection that is closed")
        await driver.execute(_BY_KEY)
        self._driver = driver
        return driver

    async def _drop(self) -> None:
        held, self._held, self._driver = self._held, None, None
        if held is not None:
            await held.invalidate()
            await held.close()
