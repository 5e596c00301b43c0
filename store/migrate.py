"""Bringing a database's schema up to date, and refusing to work on one that is not.

The migrations are Alembic's, in ``store/migrations``; there is no ``alembic.ini``. All of a migration
is one transaction under a lock (PostgreSQL: an advisory lock; SQLite: the write lock), so that
processes that migrate at the same time take turns, and the later ones find nothing left to do.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from contracts.errors import ConfigurationError
from store.connect import open_engine
from store.engine import Engine
from store.sqlite import SqliteEngine

__all__ = ["migrate", "migrate_engine", "migrated", "require_migrated", "revision", "upgrade"]

LOCK = 0x616E7469_70686F6E  # "antiphon": the advisory lock of whoever migrates
PATIENCE = 600.0  # s: for one statement of a migration, and for the lock

_MIGRATIONS = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()  # Alembic keeps the migration at work in module globals


async def migrate(url: str) -> None:
    """Bring the database at ``url`` to the newest schema. Safe to run twice, and side by side.

    Raises ConfigurationError when the schema is newer than this code, StoreUnavailable.
    """
    # In a thread and loop of its own, where waiting for a lock holds up nobody.
    await asyncio.to_thread(asyncio.run, _migrate(url))


async def migrated(url: str) -> bool:
    """Whether the database at ``url`` has the newest schema. Raises like ``migrate``."""
    engine = await open_engine(url)
    try:
        found = await engine.read(revision)
    finally:
        await engine.close()
    _refuse_newer(found)
    return found == _newest()


async def migrate_engine(engine: Engine, url: str) -> None:
    """Like ``migrate``, for an engine that is open already: a database in memory has no other way in."""
    if isinstance(engine, SqliteEngine):
        await engine.transact(upgrade)
    else:
        await migrate(url)


def require_migrated(connection: Connection) -> None:
    """A work for ``Database.read``: raises ConfigurationError unless the schema is the newest."""
    found = revision(connection)
    _refuse_newer(found)
    if found != _newest():
        state = f"is at revision {found}" if found else "has no tables of Antiphon"
        raise ConfigurationError(
            f"the database {state}, and this version needs revision {_newest()}: run `antiphon migrate` first"
        )


def revision(connection: Connection) -> str | None:
    """A work for ``Database.read``: the revision of the schema; None when it was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection) -> None:
    """A work that brings the schema up to date, in the transaction that ``connection`` is in."""
    with _one_at_a_time:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        _refuse_newer(revision(connection))
        command.upgrade(config(connection), "head")


def config(connection: Connection) -> Config:
    """Alembic's configuration, made here instead of read from a file."""
    made = Config()
    made.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


async def _migrate(url: str) -> None:
    engine = await open_engine(url, statement_timeout=PATIENCE)
    try:
        await engine.transact(upgrade)
    finally:
        await engine.close()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_MIGRATIONS))


def _newest() -> str | None:
    return _scripts().get_current_head()


def _refuse_newer(found: str | None) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if found is not None and found not in known:
        raise ConfigurationError(
            f"the database's schema is at revision {found}, which this version does not know (its newest is "
            f"{_newest()}): a newer Antiphon migrated it; run that version, or restore a backup"
        )
