"""Retention in the background of the orchestrators: one of them sweeps, the owner of the first partition."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from antiphon.rooms import Rooms
from antiphon.settings import Settings
from contracts.errors import AntiphonError
from store.archive import Archive
from store.database import Database
from store.retention import Retention

__all__ = ["archive_of", "retaining", "retention_of"]

log = structlog.get_logger(__name__)

_EVERY = 60.0  # seconds between sweeps
_FIRST = 0  # the partition whose owner sweeps, so that two don't do the same work


def archive_of(settings: Settings) -> Archive:
    """The archive that the settings name."""
    return Archive(
        settings.archive_folder,
        random_id=lambda: secrets.token_hex(4),
        compress=settings.archive_gzip,
    )


def retention_of(settings: Settings, database: Database, archive: Archive) -> Retention:
    """Retention over this store. Reactions stay for as long as a signature on their message is fresh."""
    return Retention(database, archive, inbox_at_least=settings.freshness_seconds)


@asynccontextmanager
async def retaining(
    rooms: Rooms, owns: Callable[[int], bool], *, every: float = _EVERY
) -> AsyncIterator[None]:
    """Sweep every minute while ``owns(partition)`` says that this process is the one."""
    async with AsyncExitStack() as stack:
        database = rooms.database
        if rooms.open_own is not None:
            # A connection of its own: live work shares commits, and must not share these.
            database = await rooms.open_own()
            stack.push_async_callback(database.close)
        retention = retention_of(rooms.settings, database, archive_of(rooms.settings))
        task = asyncio.create_task(_sweep(retention, rooms.settings.retention_seconds, owns, every))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _sweep(
    retention: Retention, older_than: float | None, owns: Callable[[int], bool], every: float
) -> None:
    while True:
        await asyncio.sleep(every)
        if not owns(_FIRST):
            continue
        try:
            swept = await retention.sweep(older_than)
            if swept.purged or swept.requests:
                files = len(swept.files)
                log.info("retention_swept", purged=swept.purged, requests=swept.requests, files=files)
        except AntiphonError as error:
            log.warning("retention_postponed", error=str(error))
        except Exception:  # what is wrong with old rows must not end the care for later ones
            log.exception("retention_failed")
