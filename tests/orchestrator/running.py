"""A house to run flows in: a bus, a store and a live store, and any number of orchestrators on them."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Table, select

from bus.embedded import EmbeddedBus
from bus.envelope import publication
from bus.port import EVENTS, PARTITIONS, Binding, Bus, Message, Outgoing, Queue
from bus.rabbit import RabbitBus
from contracts.envelope import Event
from contracts.registry import Registry
from orchestrator.client import Client, Receipt
from orchestrator.flow import Flow
from orchestrator.runtime import Orchestrator
from reactors.runtime import ReactorRuntime
from reactors.service import Service
from store import tables
from store.database import Database
from store.live import open_live

WORKSPACE = "acme"
PARTITIONS_MADE = 4
LIMIT = 60.0  # seconds; generous, since other work may share the machine

_numbers = itertools.count()


def make_registry(*flows: Flow) -> Registry:
    """Contracts that hold an ``id``, for every type that the flows name or a test sends."""
    registry = Registry()
    keyed = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
    types = {"f.asked.v1", "x.done.v1", "x.said.v1", "f.failed.v1", "bank.hold.v1", "bank.unhold.v1"}
    types |= {"trip.booked.v1", "trip.over.v1", "trip.failed.v1"}
    for type in sorted(types):
        registry.add(type, keyed)
    return registry


class House:
    """Where it all runs. Without ``amqp`` everything is embedded, and in this process."""

    def __init__(self, amqp: str | None, database_url: str, redis: str | None) -> None:
        self.amqp, self.database_url, self.redis = amqp, database_url, redis
        self.registry = make_registry()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._asking: dict[tuple[str, ...], Client] = {}

    async def open(self) -> None:
        self.database = await Database.open(self.database_url)
        await self.database.write(tables.metadata.create_all)
        self.live = open_live(self.redis)
        self.bus = self._make_bus()
        await self.bus.start()
        # Nobody listens to most events here, and that is no trouble of these tests.
        await self.bus.declare(Queue("everything", (Binding(EVENTS, "#"),)))

    def _make_bus(self) -> Bus:
        if self.amqp is not None:
            return RabbitBus(self.amqp)
        path = self.database_url.removeprefix("sqlite:///")
        return EmbeddedBus(self.database, lock=Path(f"{path}.lock"))

    async def close(self) -> None:
        for closer in reversed(self._closers):
            await closer()
        await self.bus.close()
        await self.live.close()
        await self.database.close()

    async def orchestrate(self, *flows: Flow, **options: Any) -> Orchestrator:
        """A started orchestrator that owns every partition unless others do; stopped with the house."""
        real = self.amqp is not None
        settings: dict[str, Any] = {
            "bus": self.bus,
            "database": self.database,
            "live": self.live,
            "check": self.registry.validate,
            "read": self.registry.validate_read,
            "incarnation": secrets.token_hex(8),
            "partitions": PARTITIONS_MADE,
            "lease": 3.0,
            "renew": 0.2,
            "open_own": (lambda: Database.open(self.database_url, pool=1)) if real else None,
        }
        orchestrator = Orchestrator(flows, **{**settings, **options})
        await orchestrator.start()

        async def stop() -> None:
            await orchestrator.stop(grace=2.0)

        self._closers.append(stop)
        return orchestrator

    async def stop_first(self) -> None:
        """Stop what was started first, before the end."""
        await self._closers.pop(0)()

    async def serve(self, *services: Service) -> None:
        """A reactor process with these services."""
        runtime = ReactorRuntime(
            [],
            list(services),
            bus=self.bus,
            database=self.database,
            live=self.live,
            registry=self.registry,
            source="/test",
            incarnation=secrets.token_hex(8),
            database_url=self.database_url if self.amqp is not None else None,
        )
        await runtime.start()

        async def stop() -> None:
            await runtime.stop(drain=1.0)

        self._closers.append(stop)

    async def client(self, *flows: Flow) -> Client:
        names = tuple(f"{flow.name} v{flow.version}" for flow in flows)
        if names not in self._asking:
            client = self.make_client(*flows)
            await client.start_listening()
            self._closers.append(client.close)
            self._asking[names] = client
        return self._asking[names]

    def make_client(self, *flows: Flow, partitions: int = PARTITIONS_MADE) -> Client:
        """One that does not listen for answers yet."""
        return Client(
            flows,
            bus=self.bus,
            database=self.database,
            live=self.live,
            check=self.registry.validate,
            incarnation=secrets.token_hex(8),
            partitions=partitions,
        )

    async def start(self, flow: Flow, key: str, **input: Any) -> Receipt:
        """Start a run, and wait for its owner's answer."""
        client = await self.client(flow)
        given = {"id": key, **input}
        return await client.start(WORKSPACE, flow.name, given, start_id=f"s{next(_numbers)}", wait=LIMIT)

    async def publish(
        self, type: str, key: str, *, id: str | None = None, workspace: str = WORKSPACE
    ) -> None:
        """An event of the choreographed half."""
        event = Event.create(
            type,
            {"id": key},
            id=id or f"ev{next(_numbers)}",
            source="/test",
            at=1_700_000_000.0,
            workspace=workspace,
        )
        await self.bus.publish(publication(event))

    async def put(self, partition: int, body: bytes, headers: dict[str, str | int] | None = None) -> None:
        """Bytes straight onto a partition's queue."""
        message = Message(f"raw{next(_numbers)}", body, headers=headers or {})
        await self.bus.publish(Outgoing(message, str(partition), PARTITIONS))

    # --- what is in the store -----------------------------------------------------------------

    async def rows(self, table: Table, **where: Any) -> list[dict[str, Any]]:
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))
        return await self.database.read(lambda c: [dict(row) for row in c.execute(query).mappings()])

    async def run(self, run_id: str) -> dict[str, Any]:
        found = await self.rows(tables.runs, id=run_id)
        return found[0] if found else {"status": "none", "state": "{}", "ended_at": None}

    async def until(self, run_id: str, *statuses: str) -> dict[str, Any]:
        """The run, once it has one of these statuses."""
        found: dict[str, Any] = {}

        async def there() -> bool:
            found.update(await self.run(run_id))
            return found["status"] in statuses

        await until(there, lambda: f"{statuses}: {found}")
        return found

    async def until_fact(self, run_id: str, type: str, node: str | None = None) -> None:
        """Until the history has such a fact."""

        async def there() -> bool:
            return any(
                fact["type"] == type and node in (None, fact["node"]) for fact in await self.history(run_id)
            )

        await until(there, lambda: f"{type} {node} in {run_id}")

    async def history(self, run_id: str) -> list[dict[str, Any]]:
        rows = sorted(await self.rows(tables.history, run_id=run_id), key=lambda row: row["seq"])
        return [{**row, "data": orjson.loads(row["data"])} for row in rows]

    async def types(self, run_id: str) -> list[str]:
        return [fact["type"] for fact in await self.history(run_id)]


async def until(condition: Callable[[], Awaitable[bool]], what: Callable[[], str]) -> None:
    """Look until it is so. Raises TimeoutError with what did not come."""
    try:
        async with asyncio.timeout(LIMIT):
            while not await condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"waited {LIMIT} s for {what()}") from None


def results_once(history: Iterable[dict[str, Any]]) -> bool:
    """Whether no step's result was recorded twice, and nothing after the end."""
    facts = list(history)
    done = [fact["node"] for fact in facts if fact["type"] in ("step_completed", "compensation_completed")]
    ends = [number for number, fact in enumerate(facts) if fact["type"].startswith("run_c")]
    seqs = [fact["seq"] for fact in facts]
    return len(done) == len(set(done)) and ends == [len(facts) - 1] and seqs == list(range(1, len(facts) + 1))
