"""PostgreSQL through asyncpg: works run in a greenlet over the async connection.

Nothing hangs: connecting, waiting for a pooled connection and each statement have a limit. A
connection that turned out dead before the commit was sent is replaced and the work is run once more;
a connection lost *during* the commit leaves its fate unknown, and that is said, not guessed.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import asyncpg
from sqlalchemy import ColumnElement, Connection, Double, literal_column
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from contracts.crash import reached
from contracts.errors import ConfigurationError, StoreUnavailable
from store.postgres_lane import LaneLost, Lanes
from store.postgres_tls import take_tls
from store.shortcut import Single

__all__ = ["STATEMENT_TIMEOUT", "PostgresEngine"]

T = TypeVar("T")

CONNECT_TIMEOUT = 5.0  # s
STATEMENT_TIMEOUT = 20.0  # s
POOL_TIMEOUT = 10.0  # s
DEADLOCK_ATTEMPTS = 4

# SQLSTATEs (PostgreSQL manual, appendix A) that speak of the server, not of the statement: connection
# exception, insufficient resources, operator intervention, system error.
_UNAVAILABLE = ("08", "53", "57", "58")
# read_only_sql_transaction: to a writer it says that the server is a standby now; a reader tried to write.
_READ_ONLY = "25006"
# invalid authorization, invalid catalog name: the URL is wrong, and trying again will not help.
_REFUSED = ("28", "3D")
# serialization_failure, deadlock_detected: the server undid the transaction and asks to run it again.
_AGAIN = ("40001", "40P01")


class _Lost(Exception):
    """The connection was lost while nothing could have been committed."""


class _Own(Exception):
    """The work itself raised an OSError: a file was not there, say."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


class PostgresEngine:
    """See ``store.engine.Engine``. Writers and readers have pools of their own: neither starves the other."""

    dialect = "postgresql"

    def __init__(self, url: URL, *, pool: int, writers: int, statement_timeout: float) -> None:
        self.writers = writers
        self._statement_timeout = statement_timeout
        self._where = url.render_as_string(hide_password=True)
        self._write_engine = _engine(url, 2 * writers, statement_timeout)  # half of them are the lanes'
        self._read_pool = _engine(url, pool + 1, statement_timeout)
        # One snapshot for all statements of a read; costs no round trip, it is part of BEGIN.
        self._read_engine = self._read_pool.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._write_lanes = Lanes(self._write_engine, writers)
        self._read_lanes = Lanes(self._read_pool, 1)

    @classmethod
    async def open(
        cls, url: URL, *, pool: int, writers: int, statement_timeout: float = STATEMENT_TIMEOUT
    ) -> PostgresEngine:
        """Connect once.

        Raises ConfigurationError when the server knows no such user, password or database, or is not trusted,
        StoreUnavailable when it does not answer.
        """
        engine = cls(url, pool=pool, writers=writers, statement_timeout=statement_timeout)
        try:
            await engine.transact(lambda connection: connection.exec_driver_sql("SELECT 1"))
        except StoreUnavailable as error:
            await engine.close()
            if isinstance(refused := _cause(error, ssl.SSLError), ssl.SSLError):
                raise ConfigurationError(
                    f"TLS with PostgreSQL at {engine._where} failed: {refused}; its certificate must be for "
                    "the host name in the URL, and from the CA in ANTIPHON_TLS_CA (sslrootcert)"
                ) from error
            if _sqlstate(error.__cause__).startswith(_REFUSED):
                raise ConfigurationError(
                    f"the database URL {engine._where} is refused: {_say(error.__cause__)}; "
                    "check its user, password and database name"
                ) from error
            raise
        except BaseException:
            await engine.close()
            raise
        return engine

    async def transact(self, work: Callable[[Connection], T]) -> T:
        return await self._run(self._write_engine, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._run(self._read_engine, work)

    async def single(self, statement: Single, *, writing: bool) -> Sequence[Any] | None:
        """Run one statement as a transaction of its own; None when it failed, and changed nothing.

        Raises StoreUnavailable; after that the fate of one that writes is unknown.
        """
        lanes = self._write_lanes if writing else self._read_lanes
        try:
            reached("store.postgres.single.before")
            rows = await lanes.fetch(statement)
            reached("store.postgres.single.after")
            return rows
        except LaneLost as error:
            raise self._unavailable(f"lost during a statement: {error}") from error
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise self._unavailable(f"no connection: {_say(error)}") from error
        except asyncpg.PostgresError as error:
            state = error.sqlstate or ""
            if state.startswith(_UNAVAILABLE) or (writing and state == _READ_ONLY):
                raise self._unavailable(_say(error)) from error
            return None

    def now(self) -> ColumnElement[float]:
        # Not now(), which stands still during a transaction.
        return literal_column("extract(epoch from clock_timestamp())::float8", Double)

    async def close(self) -> None:
        await self._write_lanes.close()
        await self._read_lanes.close()
        await self._write_engine.dispose()
        await self._read_pool.dispose()

    async def _run(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        lost = 0
        attempt = 1
        while True:
            try:
                return await self._once(engine, work)
            except _Lost as error:
                lost += 1
                if lost == 2:
                    raise self._unavailable("the connection was lost twice") from error.__cause__
            except DBAPIError as error:
                if _sqlstate(error) not in _AGAIN or attempt == DEADLOCK_ATTEMPTS:
                    raise
                attempt += 1

    async def _once(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        try:
            connection = await engine.connect()
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise self._unavailable(f"no connection: {_say(error)}") from error
        transaction = _Transaction(work)
        try:
            return await connection.run_sync(transaction.run)
        except _Own as own:
            raise own.error from own.error.__cause__
        except (DBAPIError, OSError) as error:
            if not _is_unavailable(error, writing=engine is self._write_engine):
                raise
            await connection.invalidate()
            if transaction.committing:
                raise self._unavailable(
                    f"lost during a commit, whose fate is unknown: {_say(error)}"
                ) from error
            if isinstance(error, TimeoutError):  # the work's time is used up; another attempt would double it
                raise self._unavailable(f"no answer within {self._statement_timeout:g} s") from error
            raise _Lost from error
        finally:
            await _give_back(connection)

    def _unavailable(self, what: str) -> StoreUnavailable:
        return StoreUnavailable(f"PostgreSQL at {self._where} did not answer: {what}")


class _Transaction(Generic[T]):
    """One attempt at a work; ``committing`` tells whether its fate can be unknown."""

    def __init__(self, work: Callable[[Connection], T]) -> None:
        self._work = work
        self.committing = False

    def run(self, connection: Connection) -> T:
        with connection.begin() as transaction:
            try:
                result = self._work(connection)
            except TimeoutError:  # the driver's, as far as can be told
                raise
            except OSError as error:
                if _is_open(connection):
                    raise _Own(error) from error
                raise
            self.committing = True
            reached("store.postgres.commit.before")
            transaction.commit()
            reached("store.postgres.commit.after")
        return result


def _engine(url: URL, size: int, statement_timeout: float) -> AsyncEngine:
    plain, tls = take_tls(url)
    return create_async_engine(
        plain,
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        connect_args={
            "ssl": tls,
            "timeout": CONNECT_TIMEOUT,
            "command_timeout": statement_timeout,
            "server_settings": {
                "application_name": "antiphon",
                "jit": "off",  # short statements: compiling them costs more than running them
                # A process that is frozen in a transaction must not hold its locks longer than a lease.
                "idle_in_transaction_session_timeout": "5s",
            },
        },
    )


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The cause of that kind that is behind an error, if there is one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, kind):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _sqlstate(error: BaseException | None) -> str:
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def _is_unavailable(error: DBAPIError | OSError, *, writing: bool) -> bool:
    if isinstance(error, OSError):  # TimeoutError is one of them
        return True
    state = _sqlstate(error)
    return error.connection_invalidated or state.startswith(_UNAVAILABLE) or (writing and state == _READ_ONLY)


def _is_open(connection: Connection) -> bool:
    """Whether the server is there: what a work raises is then no word of it."""
    driver = None if connection.invalidated else connection.connection.driver_connection
    return driver is not None and not driver.is_closed()


def _say(error: BaseException | None) -> str:
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__


async def _give_back(connection: AsyncConnection) -> None:
    """Return it to the pool; one that is broken is dropped there, which must hide no other error."""
    with contextlib.suppress(DBAPIError, OSError):
        await connection.close()
