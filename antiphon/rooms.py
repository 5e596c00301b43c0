"""Opens the rooms that a process stands on: the store, the bus, the live store."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog

from antiphon.settings import Settings, without_password
from antiphon.signing import signed_bus
from antiphon.tls import amqp_url, database_url, redis_url
from bus.addresses import addresses
from bus.embedded.bus import EmbeddedBus
from bus.port import Bus
from bus.rabbit import RabbitBus
from contracts.errors import ConfigurationError
from orchestrator.leases import count_partitions
from store.connect import file_of
from store.database import Database
from store.live import open_live
from store.live.port import Live
from store.migrate import require_migrated

__all__ = ["PARTITIONS", "Rooms", "open_bus", "open_rooms", "open_store", "partitions_of"]

log = structlog.get_logger(__name__)

# Of a new store: as many orchestrators can share it (decision 0034). With the embedded bus there is one.
PARTITIONS, _PARTITIONS_EMBEDDED = 4, 2
_WRITERS = 2  # on PostgreSQL: what is decided next is written beside what is being written (decision 0024)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What every role of one process shares. ``incarnation`` is an id that no process had before."""

    settings: Settings
    partitions: int
    database: Database
    bus: Bus
    live: Live
    incarnation: str
    name: str

    @property
    def open_own(self) -> Callable[[], Awaitable[Database]] | None:
        """Opens a second connection for a thread; None on SQLite, where it would only stand in the way."""
        if self.database.dialect == "sqlite":
            return None
        url = database_url(self.settings)
        return lambda: Database.open(url, pool=1)


@asynccontextmanager
async def open_rooms(
    settings: Settings, role: str, *, alone: bool, signs_as: str | None = None
) -> AsyncIterator[Rooms]:
    """Open store, bus and live store, and close them in order.

    ``alone``: this process is all there is, so that the embedded bus will do and the schema is brought
    up to date here. ``signs_as``: whose key signs, where that is not the role's.
    Raises ConfigurationError, StoreUnavailable, BusUnavailable.
    """
    if not alone:
        _refuse_embedded(settings, role)
    elif settings.broker == "provisioned":
        raise ConfigurationError(
            "ANTIPHON_BROKER=provisioned: each role logs in as a user of its own, and 'antiphon up' is all "
            "of them; start the roles apart, or set ANTIPHON_BROKER=open and a user that may do everything"
        )
    incarnation = secrets.token_hex(16)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_store(settings, migrate=alone))
        bus = await stack.enter_async_context(
            open_bus(
                settings,
                database,
                over=lambda inner: signed_bus(settings, inner, signs_as or role, alone=alone),
            )
        )
        live = open_live(redis_url(settings))
        stack.push_async_callback(live.close)
        log.info(
            "rooms_open",
            role=role,
            incarnation=incarnation,
            database=without_password(settings.database_url),
            bus=without_password(settings.amqp_url) if settings.amqp_url else "embedded",
            live=without_password(settings.redis_url) if settings.redis_url else "in process",
        )
        partitions = await partitions_of(settings, database)
        yield Rooms(settings, partitions, database, bus, live, incarnation, f"{role}@{socket.gethostname()}")


@asynccontextmanager
async def open_store(settings: Settings, *, migrate: bool = False) -> AsyncIterator[Database]:
    """Open the store; only with ``migrate`` is a file made that is not there.

    Raises ConfigurationError when it is not of this version, StoreUnavailable.
    """
    file = file_of(settings.database_url)
    if file is not None and migrate:
        file.parent.mkdir(parents=True, exist_ok=True)
    elif file is not None and not file.exists():
        raise ConfigurationError(
            f"there is no store {file} here: go where it is, or say where with ANTIPHON_HOME or "
            "ANTIPHON_DATABASE_URL; 'antiphon up' makes one, and so does 'antiphon migrate'"
        )
    database = await Database.open(
        database_url(settings), pool=settings.database_pool, writers=_WRITERS, migrate=migrate
    )
    try:
        await database.read(require_migrated)
        yield database
    finally:
        await database.close()


async def partitions_of(settings: Settings, database: Database) -> int:
    """Slices of runs: what is set, what the store has, what a new one gets. Raises StoreUnavailable."""
    if settings.partitions is not None:
        return settings.partitions
    made = await database.read(count_partitions)
    return made or (PARTITIONS if settings.amqp_url is not None else _PARTITIONS_EMBEDDED)


@asynccontextmanager
async def open_bus(
    settings: Settings, database: Database, *, over: Callable[[Bus], Bus]
) -> AsyncIterator[Bus]:
    """Open the bus, with what ``over`` puts over it. Raises ConfigurationError and BusUnavailable."""
    bus = over(_bus(settings, database, file_of(settings.database_url)))
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


def _bus(settings: Settings, database: Database, file: Path | None) -> Bus:
    url = amqp_url(settings)
    if url is not None:
        login = unquote(urlsplit(addresses(url)[0]).username or "guest")
        return RabbitBus(
            url,
            user=login if settings.broker == "provisioned" else None,
            publish_timeout=settings.publish_timeout,
            connect_timeout=settings.connect_timeout,
        )
    if database.dialect != "sqlite":
        raise ConfigurationError(
            "the embedded bus lives in the SQLite file: with PostgreSQL set ANTIPHON_AMQP_URL too"
        )
    lock = file.with_name(file.name + ".lock") if file is not None else None
    return EmbeddedBus(database, lock=lock, publish_timeout=settings.publish_timeout)


def _refuse_embedded(settings: Settings, role: str) -> None:
    if settings.amqp_url is None:
        raise ConfigurationError(
            f"'antiphon {role}' is one process of several, and the embedded bus is for one: "
            "set ANTIPHON_AMQP_URL, or run everything in one process with 'antiphon up'"
        )
