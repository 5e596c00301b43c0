"""From a database URL to the engine for it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from contracts.errors import ConfigurationError
from store.engine import Engine
from store.postgres import STATEMENT_TIMEOUT, PostgresEngine
from store.sqlite import SqliteEngine

__all__ = ["file_of", "open_engine", "url_of"]


async def open_engine(
    url: str, *, pool: int = 1, writers: int = 1, statement_timeout: float = STATEMENT_TIMEOUT
) -> Engine:
    """The engine for ``url``, connected. ``statement_timeout`` in seconds is for PostgreSQL.

    Raises ConfigurationError for an URL that can't be right, StoreUnavailable.
    """
    if pool < 1 or writers < 1:
        raise ConfigurationError(
            f"a database needs at least one reader and one writer, not {pool} and {writers}"
        )
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return await SqliteEngine.open(parsed, pool=pool)
    return await PostgresEngine.open(parsed, pool=pool, writers=writers, statement_timeout=statement_timeout)


def file_of(url: str) -> Path | None:
    """The file of an embedded store; None for one in memory, or on a server. Raises ConfigurationError."""
    parsed = _parse(url)
    embedded = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if embedded else None


def url_of(file: Path) -> str:
    """The URL of an embedded store in this file, whatever its name has in it that URLs mean something by."""
    return URL.create("sqlite", database=str(file)).render_as_string()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if not 0 < (parsed.port or 1) < 2**16:
            raise ValueError("no port")
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "the database URL can't be read; write sqlite:///path.db or postgresql://user:password@host/name"
        ) from error
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+asyncpg")
    raise ConfigurationError(
        f"no such kind of database: {parsed.drivername!r}; use sqlite:///path.db or postgresql://…"
    )
