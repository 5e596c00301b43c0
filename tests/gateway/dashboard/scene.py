"""A whole house with the dashboard on it: embedded bus, SQLite, orchestrator, reactors, service, all real."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import Connection, select

from bus.embedded import EmbeddedBus
from bus.envelope import publication
from contracts.envelope import Event
from gateway.app import create_gateway
from gateway.dashboard.app import mount
from gateway.keys import create_key
from gateway.platform import Platform
from orchestrator.client import Client
from orchestrator.runtime import Orchestrator
from orchestrator.wire import partition_queue
from reactors.runtime import ReactorRuntime
from store.bulk import insert_rows
from store.database import Database
from store.live import open_live
from store.tables import dead_letters, events, reactions, runs
from tests.gateway.dashboard import rides

WORKSPACE = "nyc"
LIMIT = 20.0  # seconds until a test gives up waiting


class Scene:
    """Everything behind one dashboard. ``keys`` maps roles to secrets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closers: list[Callable[[], Awaitable[Any]]] = []
        self.faults = rides.Faults()

    async def open(self, *, database: str | None = None, live: str | None = None) -> None:
        """Start all of it; on SQLite and in this process unless URLs say otherwise."""
        url = database or f"sqlite:///{self._folder / 'store.db'}"
        self.database = await Database.open(url, migrate=True)
        self._closers.append(self.database.close)
        storage = await Database.open(f"sqlite:///{self._folder / 'bus.db'}")
        self._closers.append(storage.close)
        self.bus = EmbeddedBus(storage, lock=self._folder / "bus.lock")
        await self.bus.start()
        self._closers.append(self.bus.close)
        self.live = open_live(live)
        self._closers.append(self.live.close)
        self.registry, flows, service = rides.registry(), rides.flows(), rides.payments()
        working, absent = rides.reactors(self.faults)
        rooms = {
            "bus": self.bus,
            "database": self.database,
            "live": self.live,
            "check": self.registry.validate,
            "partitions": 2,
        }
        self.client = Client(flows, incarnation="gateway-1", **rooms)
        await self.client.start_listening()
        self._closers.append(self.client.close)
        self.platform = Platform(
            database=self.database,
            bus=self.bus,
            live=self.live,
            registry=self.registry,
            client=self.client,
            incarnation="gateway-1",
            flows=self.client.flows,
            reactors=[*working, *absent],
            services=[service],
            workspace=WORKSPACE,
            app_name="ride",
            key_cache_seconds=0.0,
        )
        self.app = create_gateway(self.platform)
        mount(self.app, self.platform)
        self.keys = {role: await self.key(role) for role in ("admin", "operator", "publisher", "viewer")}
        await self.bus.declare(
            *(reactor.queue() for reactor in (*working, *absent)),
            service.queue(),
            *map(partition_queue, range(2)),
        )
        runtime = ReactorRuntime(
            working,
            [service],
            bus=self.bus,
            database=self.database,
            live=self.live,
            registry=self.registry,
            source="/nyc",
            incarnation="reactors-1",
        )
        await runtime.start()
        self._closers.append(lambda: runtime.stop(drain=0.5))
        orchestrator = Orchestrator(
            flows, incarnation="orchestrator-1", read=self.registry.validate_read, **rooms
        )
        await orchestrator.start()
        self._closers.append(lambda: orchestrator.stop(grace=1.0))

    async def close(self) -> None:
        """Stop all of it, the newest first."""
        for close in reversed(self._closers):
            await close()

    async def key(self, role: str, workspace: str = WORKSPACE) -> str:
        """A new key's secret."""
        made = await create_key(
            self.database,
            workspace=workspace,
            role=role,
            name=f"{role} of the tests",
            clock=self.platform.clock,
        )
        return made.secret

    async def ride(self, key: str, *, flow: str = "ride") -> str:
        """Start a run; its id, which is its correlation id, too."""
        receipt = await self.client.start(WORKSPACE, flow, {"ride_id": key}, start_id=f"start-{flow}-{key}")
        return receipt.run_id

    async def end_trip(self, key: str, correlation: str) -> None:
        """Publish ``trip.ended.v1`` from outside, and record it as the gateway does."""
        now = self.platform.clock()
        event = Event.create(
            "trip.ended.v1",
            {"ride_id": key},
            id=f"trip-{key}",
            source="/nyc/dispatch-app",
            at=now,
            workspace=WORKSPACE,
            correlation=correlation,
        )
        await self.bus.publish(publication(event))
        row = {
            "source": event.source,
            "id": event.id,
            "workspace": WORKSPACE,
            "type": event.type,
            "correlation": correlation,
            "causation": None,
            "subject": key,
            "at": now,
            "routed": 1,
        }
        await self.database.write(lambda conn: insert_rows(conn, events, [row], on_conflict="ignore"))

    async def until_run(self, run_id: str, **columns: Any) -> None:
        """Wait until the run's row has these values; ``waiting`` is compared as a part."""

        def look(conn: Connection) -> bool:
            row = conn.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
            if row is None:
                return False
            return all(
                value in (row[name] or "") if name == "waiting" else row[name] == value
                for name, value in columns.items()
            )

        await until(lambda: self.database.read(look), f"run {run_id} to have {columns}")

    async def until_reaction(self, reactor: str, correlation: str, status: str, most: int = 1) -> None:
        """Wait until a reactor has that many reactions of that status in a story."""
        query = select(reactions.c.event_id).where(
            reactions.c.reactor == reactor,
            reactions.c.correlation == correlation,
            reactions.c.status == status,
        )

        async def look() -> bool:
            return len(await self.database.read(lambda conn: conn.execute(query).all())) >= most

        await until(look, f"{reactor} to have {most} {status} in {correlation}")

    async def dead_letter(self, correlation: str) -> str:
        """Wait for a dead letter in a story; its id."""
        query = select(dead_letters.c.id).where(dead_letters.c.correlation == correlation)

        async def look() -> Any:
            return await self.database.read(lambda conn: conn.execute(query).scalars().first())

        return str(await until(look, f"a dead letter in {correlation}"))

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on a free port of the loopback; gives the base address."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            config = uvicorn.Config(self.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                while not server.started:
                    await asyncio.sleep(0.01)
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                await task

    @contextlib.asynccontextmanager
    async def signed_in(self, role: str = "operator") -> AsyncIterator[httpx.AsyncClient]:
        """A browser without a window, signed in with a key of this role."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://desk.test", timeout=LIMIT
        ) as browser:
            answer = await browser.post("/ui/login", data={"key": self.keys[role]})
            if answer.status_code != 303:
                raise AssertionError(f"the sign-in answered {answer.status_code}: {answer.text[:300]}")
            yield browser


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Look until it is so; returns what the condition gave. Raises TimeoutError."""
    try:
        async with asyncio.timeout(LIMIT):
            while not (found := await condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise TimeoutError(f"waited {LIMIT} s for {what}") from None
