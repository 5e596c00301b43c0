"""Where the faults happen: three nodes of RabbitMQ, PostgreSQL, Redis, and the ride, a process per role."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from antiphon.devservices import DevServices, LocalPostgres, LocalRedis, RabbitCluster, ServiceUnavailable
from antiphon.devservices.rabbit import find_rabbit
from examples.ride.demo.client import Gateway
from examples.ride.demo.house import House, free_port
from examples.ride.demo.roles import Places, environment, start_all_in_one, start_roles
from examples.ride.demo.sink import Sink
from examples.ride.ledger import Ledger
from examples.ride.reactors import PORTAL_SWITCH

__all__ = ["Ground", "Servers", "open_embedded", "open_ground", "open_servers", "settings_of"]


@dataclass(frozen=True)
class Servers:
    """The real services; all of them may be killed."""

    cluster: RabbitCluster
    postgres: LocalPostgres
    redis: LocalRedis


@dataclass(frozen=True)
class Ground:
    """One house at work, and where its own books are."""

    house: House
    gateway: Gateway
    key: str
    ledger: Path
    mailbox: Path


@asynccontextmanager
async def open_servers() -> AsyncIterator[Servers]:
    """Start them side by side. Raises ServiceUnavailable, also when one is not ours to kill."""
    async with AsyncExitStack() as stack:
        services = DevServices()
        stack.push_async_callback(asyncio.to_thread, services.close)
        # Asked for here, a missing package is installed; the cluster then has nodes of its own.
        await asyncio.to_thread(services.prepare, ("postgres", "redis"))
        postgres, redis = await asyncio.to_thread(lambda: (services.postgres, services.redis))
        if not isinstance(postgres, LocalPostgres) or not isinstance(redis, LocalRedis):
            raise ServiceUnavailable(
                "faults need servers that may be killed: unset ANTIPHON_TEST_DATABASE_URL and _REDIS_URL"
            )
        script = await asyncio.to_thread(_rabbit_script)
        cluster = RabbitCluster(script)
        stack.push_async_callback(asyncio.to_thread, cluster.close)
        await asyncio.to_thread(cluster.start)
        yield Servers(cluster, postgres, redis)


def _rabbit_script() -> Path:
    script = find_rabbit()
    if script is None:
        with DevServices() as installing:
            installing.prepare(("rabbit",))
            script = find_rabbit()
    if script is None:
        raise ServiceUnavailable("RabbitMQ is not installed here (Debian: rabbitmq-server)")
    return script


def settings_of(servers: Servers) -> dict[str, str]:
    """Where the services are, for the processes of one house; makes an empty database. Blocks."""
    return {
        "ANTIPHON_AMQP_URL": servers.cluster.url,
        "ANTIPHON_DATABASE_URL": servers.postgres.create_database(),
        "ANTIPHON_REDIS_URL": servers.redis.url,
    }


@asynccontextmanager
async def open_ground(folder: Path, servers: Servers) -> AsyncIterator[Ground]:
    """The ride's roles, two of each where another must be able to take over."""
    settings = await asyncio.to_thread(settings_of, servers)
    async with _open(folder, folder, settings, roles=True) as ground:
        yield ground


@asynccontextmanager
async def open_embedded(folder: Path, home: Path) -> AsyncIterator[Ground]:
    """All in one process; store and bus are one file in ``home``."""
    async with _open(folder, home, {}, roles=False) as ground:
        yield ground


@asynccontextmanager
async def _open(folder: Path, home: Path, settings: dict[str, str], *, roles: bool) -> AsyncIterator[Ground]:
    folder.mkdir(parents=True, exist_ok=True)
    mailbox = folder / "mailbox.sqlite"
    async with AsyncExitStack() as stack:
        ledger = Ledger(folder / "ledger.sqlite")
        stack.callback(ledger.close)
        await ledger.set_switch(PORTAL_SWITCH, "open")  # its outage is the demo's, not ours
        sink = Sink(mailbox)
        await sink.start()
        stack.push_async_callback(sink.stop)
        key, port = f"chaos-{secrets.token_hex(16)}", free_port()
        places = Places(home, ledger.path, sink.address, port, key)
        house = House(folder, {**environment(places, None), **settings})
        stack.push_async_callback(asyncio.to_thread, house.stop)
        await asyncio.to_thread(start_roles if roles else start_all_in_one, house)
        gateway = await stack.enter_async_context(Gateway(f"http://127.0.0.1:{port}", key))
        await house.ready(gateway)
        yield Ground(house, gateway, key, ledger.path, mailbox)
