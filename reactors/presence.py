"""Seen alive: the heartbeat of this process in the table ``processes``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Connection, select

from contracts.crash import reached
from contracts.errors import StoreError
from store.bulk import insert_rows
from store.database import Database
from store.tables import processes

__all__ = ["Presence"]

EVERY = 1.0  # seconds between heartbeats
TTL = 5.0  # seconds after the newest heartbeat until others may take over what this process claimed
KEPT = 86_400.0  # seconds that the row of an ended process is kept


class Presence:
    """Keeps ``alive_until`` ahead of the database's clock, from a thread with a connection of its own.

    A handler that blocks the event loop must not make this process look dead. ``url`` is opened by that
    thread; None (a database in memory, which no other process sees) beats on the event loop.
    """

    def __init__(
        self, database: Database, *, url: str | None, incarnation: str, role: str, name: str
    ) -> None:
        self._database = database
        self._url = url
        self._row = {"id": incarnation, "role": role, "name": name, "detail": None}
        self._stopped = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger("antiphon.reactors").bind(incarnation=incarnation)

    async def start(self) -> None:
        """Returns once this process is seen. Raises StoreUnavailable."""
        reached("reactors.presence.first.before")
        await self._database.write(self._first(self._database))
        reached("reactors.presence.first.after")
        if self._url is None:
            self._task = asyncio.create_task(self._beat_on(self._database), name="antiphon-presence")
        else:
            self._thread = threading.Thread(
                target=lambda url: asyncio.run(self._beat_apart(url)),
                args=(self._url,),
                name="antiphon-presence",
                daemon=True,
            )
            self._thread.start()

    async def stop(self) -> None:
        """Stop, and say that this process is gone, so that nobody waits for it."""
        self._stopped.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, TTL)
        try:
            reached("reactors.presence.last.before")
            await self._database.write(self._beat(self._database, ttl=0.0))
            reached("reactors.presence.last.after")
        except StoreError as error:
            self._log.warning("could not sign off; seen alive a little longer", error=str(error))

    async def _beat_apart(self, url: str) -> None:
        while not self._stopped.is_set():
            try:
                database = await Database.open(url, pool=1)
            except StoreError as error:
                self._log.warning("heartbeat waits for the store", error=str(error))
                await asyncio.to_thread(self._stopped.wait, EVERY)
                continue
            try:
                await self._beat_on(database)
            finally:
                await database.close()

    async def _beat_on(self, database: Database) -> None:
        missed = False
        while not self._stopped.is_set():
            try:
                reached("reactors.presence.beat.before")
                await database.write(self._beat(database, ttl=TTL))
                reached("reactors.presence.beat.after")
                if missed:
                    self._log.info("heartbeat back")
                missed = False
            except StoreError as error:
                if not missed:
                    self._log.warning("heartbeat missed", error=str(error))
                missed = True
            except Exception:
                # Whatever it is, the next beat may succeed; without beats others take over our work.
                self._log.exception("heartbeat failed")
            await self._pause()

    async def _pause(self) -> None:
        if self._thread is None:
            await asyncio.sleep(EVERY)
        else:
            await asyncio.to_thread(self._stopped.wait, EVERY)

    def _first(self, database: Database) -> Callable[[Connection], None]:
        def write(conn: Connection) -> None:
            now = float(conn.execute(select(database.now())).scalar_one())
            row = {**self._row, "started_at": now, "alive_until": now + TTL}
            insert_rows(conn, processes, [row], on_conflict="update")
            ended = processes.c.alive_until < now - KEPT
            conn.execute(processes.delete().where(processes.c.role == self._row["role"], ended))

        return write

    def _beat(self, database: Database, *, ttl: float) -> Callable[[Connection], None]:
        def write(conn: Connection) -> None:
            row = processes.c.id == self._row["id"]
            beat = processes.update().where(row).values(alive_until=database.now() + ttl)
            if conn.execute(beat).rowcount == 0 and ttl > 0:
                self._first(database)(conn)  # swept away while this process was held up for a day

        return write
