"""The roles that a process can have, each as a context: started on entry, drained on exit."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from antiphon.app import App
from antiphon.listening import listening
from antiphon.retaining import retaining
from antiphon.rooms import Rooms
from antiphon.settings import Settings
from antiphon.tls import database_url
from contracts.crash import reached
from gateway.app import create_gateway, end_streams
from gateway.dashboard.app import mount
from gateway.keys import check_listen, ensure_development_key, ensure_key, has_keys
from gateway.platform import Platform
from orchestrator.client import Client
from orchestrator.leases import make_partitions
from orchestrator.runtime import Orchestrator, queues_of
from reactors.presence import Presence
from reactors.reactor import Reactor
from reactors.runtime import ReactorRuntime
from reactors.service import Service

__all__ = ["Address", "declare", "orchestrating", "reacting", "serving"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway listens, and the file of the development key if there is one."""

    url: str
    key_file: str | None


async def declare(app: App, rooms: Rooms) -> None:
    """Make every queue of the app, whichever role this is: no event may come before its queue.

    Raises ConfigurationError when the store has another number of partitions.
    """
    count = rooms.partitions
    reached("antiphon.roles.make.before")
    await rooms.database.write(lambda connection: make_partitions(connection, count))
    reached("antiphon.roles.make.after")
    await rooms.bus.declare(
        *queues_of(app.catalog, count),
        *(reactor.queue() for reactor in app.reactors),
        *(service.queue() for service in app.services),
    )


@asynccontextmanager
async def orchestrating(app: App, rooms: Rooms) -> AsyncIterator[Orchestrator]:
    """Own a share of the partitions."""
    settings = rooms.settings
    orchestrator = Orchestrator(
        app.flows,
        bus=rooms.bus,
        database=rooms.database,
        live=rooms.live,
        check=app.registry.validate,
        read=app.registry.validate_read,
        upcasters=app.registry.upcasters,
        incarnation=f"{rooms.incarnation}-orchestrator",
        name=rooms.name,
        partitions=rooms.partitions,
        lease=settings.lease_seconds,
        renew=settings.renew_seconds,
        prefetch=settings.prefetch,
        default_workspace=settings.workspace,
        open_own=rooms.open_own,
    )
    await orchestrator.start()
    try:
        async with retaining(rooms, lambda number: number in orchestrator.owned):
            yield orchestrator
    finally:
        await orchestrator.stop(grace=settings.drain_seconds)


@asynccontextmanager
async def reacting(
    app: App, rooms: Rooms, *, reactors: Sequence[Reactor] = (), services: Sequence[Service] = ()
) -> AsyncIterator[ReactorRuntime]:
    """Run reactors and services."""
    settings = rooms.settings
    runtime = ReactorRuntime(
        reactors,
        services,
        bus=rooms.bus,
        database=rooms.database,
        live=rooms.live,
        registry=app.registry,
        source=f"/{app.name}",
        incarnation=f"{rooms.incarnation}-reactors",
        default_workspace=settings.workspace,
        database_url=None if rooms.open_own is None else database_url(settings),
        prefetch=settings.prefetch,
    )
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop(drain=settings.drain_seconds)


@asynccontextmanager
async def serving(app: App, rooms: Rooms) -> AsyncIterator[Address]:
    """Serve HTTP and the dashboard. Raises ConfigurationError when nobody could log in safely."""
    settings = rooms.settings
    key_file = await _keys(rooms)
    incarnation = f"{rooms.incarnation}-gateway"
    client = Client(
        app.flows,
        bus=rooms.bus,
        database=rooms.database,
        live=rooms.live,
        check=app.registry.validate,
        incarnation=incarnation,
        partitions=rooms.partitions,
    )
    platform = Platform(
        database=rooms.database,
        bus=rooms.bus,
        live=rooms.live,
        registry=app.registry,
        client=client,
        incarnation=incarnation,
        flows=client.flows,
        reactors=app.reactors,
        services=app.services,
        workspace=settings.workspace,
        app_name=app.name,
        queues=tuple(queue.name for queue in queues_of(app.catalog, rooms.partitions)),
        max_body_bytes=settings.max_body_bytes,
        requests_per_second=settings.requests_per_second,
        request_burst=settings.request_burst,
        max_streams=settings.max_streams,
        max_waiting=settings.max_waiting,
        max_unstarted=settings.max_unstarted,
        longest_unstarted=settings.longest_unstarted,
        longest_wait=settings.longest_wait,
        open_metrics=settings.open_metrics,
        dev_key=key_file,
    )
    http = create_gateway(platform)
    mount(http, platform, pepper=_pepper(settings))
    presence = Presence(
        rooms.database,
        url=None if rooms.open_own is None else database_url(settings),
        incarnation=incarnation,
        role="gateway",
        name=rooms.name,
    )
    await client.start_listening()
    await presence.start()
    try:
        async with listening(http, settings.host, settings.port) as url:
            try:
                yield Address(url, key_file)
            finally:
                end_streams(http)  # an open stream would hold the server for all of its grace
    finally:
        await presence.stop()
        await client.close()


def _pepper(settings: Settings) -> bytes:
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value().encode()
    if not settings.loopback:
        log.warning(
            "session_secret_unset",
            hint="who can read the table of keys could sign in to the dashboard: set ANTIPHON_SESSION_SECRET",
        )
    return b""


async def _keys(rooms: Rooms) -> str | None:
    """See that somebody can log in; the development key's file, where there is one."""
    settings = rooms.settings
    if settings.admin_key is not None:
        await ensure_key(
            rooms.database,
            settings.admin_key.get_secret_value(),
            workspace=settings.workspace,
            role="admin",
            name="ANTIPHON_ADMIN_KEY",
            clock=time.time,
        )
    configured = settings.admin_key is not None or await rooms.database.read(has_keys)
    check_listen(settings.host, configured)
    if settings.admin_key is not None or not settings.loopback:
        return None
    path = settings.development_key_file
    made = await ensure_development_key(rooms.database, path, workspace=settings.workspace, clock=time.time)
    return str(made.path)
