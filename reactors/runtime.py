"""Runs the reactors and services of one process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from bus.dead import dead_name
from bus.port import Bus, Queue
from contracts.errors import ConfigurationError
from contracts.registry import Registry
from reactors.answering import ServiceDesk
from reactors.burial import BurialDesk
from reactors.consumer import Consumer
from reactors.desk import Desk, Means
from reactors.feed import Feed
from reactors.inbox import MOST_CRASHES, Inbox
from reactors.intake import Intake
from reactors.presence import Presence
from reactors.quarantine import Quarantine
from reactors.reacting import ReactorDesk
from reactors.reactor import Reactor, reactor_of
from reactors.service import Service
from store.database import Database
from store.live.port import Live

__all__ = ["ReactorRuntime"]

BURIED_AT_ONCE = 4


class ReactorRuntime:
    """Subscribes to each reactor's and service's queue, and brings every message to a visible end.

    Each has its own queue, subscription and limit of concurrency: a slow one blocks nobody. While the
    bus or the store is away everything waits, and goes on by itself.

    ``source``: what emitted events name as their source, before ``/reactors/<name>``. ``incarnation``:
    this runtime's id in ``processes``, never used twice. ``database_url``: the same database, for the
    heartbeat's own connection; None for one in memory. ``prefetch``: messages held per queue; None is
    twice its concurrency.
    ``most_crashes``: after so many a message that takes its workers down is a dead letter.
    """

    def __init__(
        self,
        reactors: Iterable[Reactor | Callable[..., Any]],
        services: Iterable[Service],
        *,
        bus: Bus,
        database: Database,
        live: Live,
        registry: Registry,
        source: str,
        incarnation: str,
        default_workspace: str | None = None,
        database_url: str | None = None,
        clock: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
        prefetch: int | None = None,
        most_crashes: int = MOST_CRASHES,
    ) -> None:
        self._reactors = [reactor_of(reactor) for reactor in reactors]
        self._services = list(services)
        _check(self._reactors, self._services, registry)
        self._feed = Feed(live)
        self._means = Means(
            bus=bus,
            inbox=Inbox(database, incarnation=incarnation, most_crashes=most_crashes),
            intake=Intake(registry, default_workspace=default_workspace),
            quarantine=Quarantine(database),
            feed=self._feed,
            registry=registry,
            source=source.rstrip("/"),
            clock=clock,
            rng=rng,
        )
        names = [reactor.name for reactor in self._reactors] + [service.name for service in self._services]
        self._presence = Presence(
            database,
            url=database_url,
            incarnation=incarnation,
            role="reactors" if self._reactors else "service",
            name=", ".join(names),
        )
        self._bus = bus
        self._prefetch = prefetch
        self._consumers = self._make_consumers()
        self._log = structlog.get_logger("antiphon.reactors").bind(incarnation=incarnation)

    def queues(self) -> list[Queue]:
        """The queues consumed here, with their bindings."""
        return [reactor.queue() for reactor in self._reactors] + [
            service.queue() for service in self._services
        ]

    async def start(self) -> None:
        """Declare the queues and begin to consume. Raises BusUnavailable and StoreUnavailable."""
        await self._bus.declare(*self.queues())
        await self._presence.start()
        for consumer in self._consumers:
            consumer.start()
        self._log.info("reactors started", queues=[queue.name for queue in self.queues()])

    async def stop(self, drain: float = 10.0) -> None:
        """Receive no more; what is under way has ``drain`` seconds to end, the rest is given back."""
        await asyncio.gather(*(consumer.stop(drain) for consumer in self._consumers))
        await self._feed.flush()
        await self._presence.stop()
        self._log.info("reactors stopped")

    def _make_consumers(self) -> list[Consumer]:
        consumers: list[Consumer] = []
        for reactor in self._reactors:
            consumers += self._consume(ReactorDesk(reactor, self._means), reactor.concurrency)
        for service in self._services:
            consumers += self._consume(ServiceDesk(service, self._means), service.concurrency)
        return consumers

    def _consume(self, desk: Desk, concurrency: int) -> Sequence[Consumer]:
        prefetch = self._prefetch or 2 * concurrency
        burial = BurialDesk(desk.queue, desk.types, self._means)
        return (
            Consumer(self._bus, desk.queue, desk.process, concurrency=concurrency, prefetch=prefetch),
            Consumer(
                self._bus,
                dead_name(desk.queue),
                burial.process,
                concurrency=BURIED_AT_ONCE,
                prefetch=BURIED_AT_ONCE,
            ),
        )


def _check(reactors: Sequence[Reactor], services: Sequence[Service], registry: Registry) -> None:
    """Raises ConfigurationError for what could never work, naming the place."""
    seen: dict[str, str] = {}
    for reactor in reactors:
        where = f"reactor {reactor.name!r} at {reactor.declared_at}"
        if reactor.name in seen:
            raise ConfigurationError(f"{where}: the name is taken by the one at {seen[reactor.name]}")
        seen[reactor.name] = reactor.declared_at
        for type in reactor.types:
            _check_contract(registry, type, where)
    named: set[str] = set()
    for service in services:
        if service.name in named:
            raise ConfigurationError(f"service {service.name!r} is given twice; a service has one queue")
        named.add(service.name)
        for handler in service.handlers.values():
            where = f"service {service.name!r} at {handler.declared_at}"
            _check_contract(registry, handler.type, where)
            if handler.reply is not None:
                _check_contract(registry, handler.reply, where)


def _check_contract(registry: Registry, type: str, where: str) -> None:
    if not registry.has(type):
        raise ConfigurationError(f"{where}: there is no contract {type!r}; add its file to the contracts")
