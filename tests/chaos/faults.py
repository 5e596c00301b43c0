"""The faults. Each happens while rides are under way, and gives the moment from which recovery is counted."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from antiphon.devservices import LocalRabbit
from examples.ride.demo.house import House
from orchestrator.wire import partition_queue
from tests.chaos.ground import Ground, Servers

__all__ = ["FAULTS", "Pace"]

QUEUE = partition_queue(0).name


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things last, in seconds."""

    before: float = 3.0  # under load, with everything in order
    after: float = 8.0  # under load, once it has happened
    without_postgres: float = 3.0
    without_redis: float = 60.0
    frozen: float = 20.0


Fault = Callable[[Ground, Servers, Pace], Awaitable[float]]


async def _kill_node(ground: Ground, servers: Servers, pace: Pace, node: LocalRabbit) -> float:
    """``kill -9``; the other two go on, and later it comes back."""
    mark = time.time()
    await asyncio.to_thread(node.kill)
    await asyncio.sleep(pace.after)
    await asyncio.to_thread(node.start)
    async with asyncio.timeout(60.0):
        while await asyncio.to_thread(servers.cluster.members, QUEUE) != (3, 3):
            await asyncio.sleep(0.3)
    return mark


def _node(number: int) -> Fault:
    async def fault(ground: Ground, servers: Servers, pace: Pace) -> float:
        return await _kill_node(ground, servers, pace, servers.cluster.nodes[number])

    return fault


async def _leader(ground: Ground, servers: Servers, pace: Pace) -> float:
    """The node that leads the partitions' queues."""
    return await _kill_node(ground, servers, pace, await asyncio.to_thread(servers.cluster.leader, QUEUE))


async def _postgres(ground: Ground, servers: Servers, pace: Pace) -> float:
    """``kill -9`` of the server; counted from when it answers again."""
    await asyncio.to_thread(servers.postgres.kill)
    await asyncio.sleep(pace.without_postgres)
    await asyncio.to_thread(servers.postgres.start)
    mark = time.time()
    await asyncio.sleep(pace.after)
    return mark


async def _redis(ground: Ground, servers: Servers, pace: Pace) -> float:
    """Gone for a while; counted from the moment it goes, because nothing may wait for it."""
    mark = time.time()
    await asyncio.to_thread(servers.redis.kill)
    await asyncio.sleep(pace.without_redis)
    await asyncio.to_thread(servers.redis.start)
    await asyncio.sleep(pace.after / 2)
    return mark


def _process(name: str) -> Fault:
    async def fault(ground: Ground, servers: Servers, pace: Pace) -> float:
        """``kill -9``; the other one takes over, and later it is started again."""
        mark = time.time()
        await asyncio.to_thread(ground.house.kill, name)
        await asyncio.sleep(pace.after + 2.0)
        await asyncio.to_thread(ground.house.again, name)
        await asyncio.sleep(pace.after / 2)
        return mark

    return fault


async def _freeze(ground: Ground, servers: Servers, pace: Pace) -> float:
    """SIGSTOP of an owner for four leases, then SIGCONT: it wakes up with old work in its hands."""
    mark = time.time()
    pid = _pid(ground.house, "orchestrator-1")
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(pace.frozen)
    finally:
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(pace.after)
    return mark


def _pid(house: House, name: str) -> int:
    process = house.workers[name].process
    assert process is not None
    return process.pid


FAULTS: dict[str, Fault] = {
    "node-1": _node(0),
    "node-2": _node(1),
    "node-3": _node(2),
    "leader": _leader,
    "postgres": _postgres,
    "redis": _redis,
    "orchestrator": _process("orchestrator-1"),
    "reactors": _process("reactors-1"),
    "gateway": _process("gateway"),
    "service": _process("payments"),
    "frozen-owner": _freeze,
}
