"""An idempotent reactor whose repeats show."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text

from contracts.retry import Retry
from reactors.context import ReactionContext
from reactors.reactor import reacts_to
from tests.reactors.world import BOOKED, TOLD, World, booked

QUICK = Retry(attempts=3, first=0.01, most=0.02)


async def make_ledger(world: World) -> None:
    """It takes a ride twice, so that a repeat shows."""
    await world.database.write(lambda conn: conn.execute(text("CREATE TABLE ledger (ride VARCHAR(20))")))


async def rides(world: World) -> list[str]:
    query = text("SELECT ride FROM ledger ORDER BY ride")
    return await world.database.read(lambda conn: [row.ride for row in conn.execute(query)])


def enter(ride: str, ctx: ReactionContext) -> None:
    statement, values = text("INSERT INTO ledger (ride) VALUES (:ride)"), {"ride": ride}
    ctx.execute(lambda conn: conn.execute(statement, values))


class Counting:
    """Puts each ride into the ledger and tells of it; counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

        @reacts_to(BOOKED, idempotent=True, transactional=True, emits=[TOLD], retry=QUICK)
        async def count(event: dict[str, Any], ctx: ReactionContext) -> None:
            self.calls.append(ctx.attempt)
            self.begun.set()
            await self.go.wait()
            enter(event["ride_id"], ctx)
            await ctx.emit(TOLD, {"ride_id": event["ride_id"]})

        self.reactor = count


async def fail_until_dead(world: World, *, takes: float) -> list[int]:
    """The attempts of an idempotent handler that fails after ``takes`` seconds, each time."""
    calls: list[int] = []

    @reacts_to(BOOKED, idempotent=True, retry=QUICK)
    async def count(event: dict[str, Any], ctx: ReactionContext) -> None:
        calls.append(ctx.attempt)
        await asyncio.sleep(takes)
        raise RuntimeError("no")

    await world.run(count)
    await world.publish(booked("r1"))
    await world.until_settled("count", "dead")
    await world.until_empty("reactor.count")
    return calls
