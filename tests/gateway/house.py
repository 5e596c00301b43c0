"""A whole house behind a gateway: embedded bus, SQLite, reactors and an orchestrator, all real."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from bus.embedded import EmbeddedBus
from contracts.errors import Terminal
from contracts.registry import Registry
from contracts.retry import Retry
from gateway.app import create_gateway
from gateway.keys import create_key
from gateway.platform import Platform
from orchestrator.client import Client
from orchestrator.flow import Flow
from orchestrator.nodes import emit, step, wait
from orchestrator.runtime import Orchestrator
from orchestrator.wire import partition_queue
from reactors.context import ReactionContext
from reactors.reactor import reactor_of, reacts_to
from reactors.runtime import ReactorRuntime
from store.database import Database
from store.live import open_live
from store.live.memory import MemoryLive
from store.live.port import Live

CONTRACTS = Path(__file__).parent / "contracts"
WORKSPACE = "acme"
LIMIT = 20.0  # seconds until a test gives up waiting


async def price(ctx: Any) -> dict[str, Any]:
    return {"total": ctx.input["amount"] * 2}


async def refuse(ctx: Any) -> dict[str, Any]:
    raise Terminal("the card was declined", code="declined")


ORDER = Flow(
    "order",
    version=1,
    key="order_id",
    input="order.placed.v1",
    steps=[step(price), emit("order.paid.v1", {"order_id": "$.input.order_id", "amount": "$.price.total"})],
    result={"total": "$.price.total"},
)
APPROVAL = Flow(
    "approval",
    version=1,
    key="order_id",
    input="order.placed.v1",
    steps=[wait(signal="approve"), step(price)],
)
DECLINED = Flow(
    "declined", version=1, key="order_id", input="order.placed.v1", steps=[step(refuse, retry=Retry.once())]
)
FLOWS = (ORDER, APPROVAL, DECLINED)


@dataclass
class Told:
    """What the reactor ``tell`` was told, and whether it fails."""

    events: list[str] = field(default_factory=list)
    failing: bool = False


def reactors_of(told: Told) -> list[Any]:
    @reacts_to("order.paid.v1", retry=Retry.once())
    async def tell(event: dict[str, Any], ctx: ReactionContext) -> None:
        if told.failing:
            raise Terminal("the rider has no address", code="no_address")
        told.events.append(event["order_id"])

    @reacts_to("order.paid.v1")
    async def absent(event: dict[str, Any], ctx: ReactionContext) -> None:
        """Declared, and run nowhere: its reactions stay missing."""

    return [reactor_of(tell), reactor_of(absent)]


class House:
    """Everything behind one gateway; ``client`` speaks to it with a key of each role."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closers: list[Callable[[], Awaitable[Any]]] = []
        self.told = Told()

    async def open(self, **limits: Any) -> None:
        """Start everything but the orchestrator; its queues are there, as in a house that is restarted."""
        self.database = await Database.open(f"sqlite:///{self._folder / 'store.db'}", migrate=True)
        self._closers.append(self.database.close)
        storage = await Database.open(f"sqlite:///{self._folder / 'bus.db'}")
        self._closers.append(storage.close)
        self.bus = EmbeddedBus(storage, lock=self._folder / "bus.lock")
        await self.bus.start()
        self._closers.append(self.bus.close)
        self.live = MemoryLive()
        self._closers.append(self.live.close)
        self.registry = Registry.load(CONTRACTS)
        tell, absent = reactors_of(self.told)
        self.runs = Client(FLOWS, incarnation="gateway-1", **self._rooms())
        await self.runs.start_listening()
        self._closers.append(self.runs.close)
        self.platform = replace(
            Platform(
                database=self.database,
                bus=self.bus,
                live=self.live,
                registry=self.registry,
                client=self.runs,
                incarnation="gateway-1",
                flows=self.runs.flows,
                reactors=[tell, absent],
                workspace=WORKSPACE,
                key_cache_seconds=0.0,
                start_wait=2.0,
            ),
            **limits,
        )
        self.app = create_gateway(self.platform)
        self.keys = {role: await self.key(role) for role in ("admin", "operator", "publisher", "viewer")}
        self.runtime = ReactorRuntime(
            [tell],
            [],
            bus=self.bus,
            database=self.database,
            live=self.live,
            registry=self.registry,
            source="/test",
            incarnation="reactors-1",
        )
        await self.bus.declare(tell.queue(), absent.queue(), *map(partition_queue, range(2)))
        await self.runtime.start()
        self._closers.append(lambda: self.runtime.stop(drain=0.5))

    async def orchestrate(self) -> None:
        """Start an orchestrator, too."""
        orchestrator = Orchestrator(
            FLOWS, incarnation="orchestrator-1", read=self.registry.validate_read, **self._rooms()
        )
        await orchestrator.start()
        self._closers.append(lambda: orchestrator.stop(grace=1.0))

    def _rooms(self) -> dict[str, Any]:
        return {
            "bus": self.bus,
            "database": self.database,
            "live": self.live,
            "check": self.registry.validate,
            "partitions": 2,
        }

    async def key(self, role: str, workspace: str = WORKSPACE) -> str:
        """A new key's secret."""
        made = await create_key(
            self.database, workspace=workspace, role=role, name=f"a {role}", clock=self.platform.clock
        )
        return made.secret

    def client(
        self, role: str | None = "admin", *, key: str | None = None, app: FastAPI | None = None
    ) -> httpx.AsyncClient:
        """A client that sends the key of a role, or ``key``, or none."""
        secret = key or (self.keys[role] if role else None)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app or self.app, raise_app_exceptions=False),
            base_url="http://gateway.test",
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            timeout=LIMIT,
        )

    async def close(self) -> None:
        for close in reversed(self._closers):
            await close()


@asynccontextmanager
async def away() -> AsyncIterator[Live]:
    """A live store that nobody answers for: its port is closed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        live = open_live(f"redis://127.0.0.1:{free.getsockname()[1]}/0")
        try:
            yield live
        finally:
            await live.close()


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application behind uvicorn, on a free port; gives its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)

        async def started() -> bool:
            return server.started

        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await until(started, "the server")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Look until it is so; returns what the condition gave. Raises TimeoutError."""
    try:
        async with asyncio.timeout(LIMIT):
            while not (found := await condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise TimeoutError(f"waited {LIMIT} s for {what}") from None
