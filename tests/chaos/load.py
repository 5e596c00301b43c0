"""Rides, sent at a steady pace whatever happens, as a client sends them that does not give up."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from contracts.errors import ContractViolation
from examples.ride import rules
from examples.ride.app import app
from examples.ride.demo.client import Gateway, Refused
from examples.ride.trips import SAMPLE, Trip, read_trips

__all__ = ["Load", "good_trips"]


def good_trips() -> list[Trip]:
    """Those of the sample that the gateway takes, and that find a driver at once."""
    return [trip for trip in read_trips(SAMPLE) if _is_good(trip)]


def _is_good(trip: Trip) -> bool:
    try:
        app.registry.validate("ride.requested.v1", dict(trip.request))
        app.registry.validate("trip.ended.v1", dict(trip.end))
    except ContractViolation:
        return False
    pickup = trip.request["pickup"]
    return not rules.zone_is_dry(str(pickup["zone"]), str(pickup["at"]))


class Load:
    """Sends ``rate`` rides a second from entry to exit; then all have been taken, or refused for good.

    Each has its own key and each end its own id, and both are repeated until a 2xx says that they are
    durable. ``sent`` has the moment of each ride's first request, by the wall clock (the stores' too).
    """

    def __init__(
        self,
        gateway: Gateway,
        name: str,
        *,
        rate: float,
        trips: list[Trip],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.sent: dict[str, float] = {}
        self.accepted: set[str] = set()
        self.refused: dict[str, str] = {}
        self._gateway = gateway
        self._rate = rate
        self._trips = self._named(trips)
        self._clock = clock
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._send())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._task is not None
        if kind is None:
            self._over.set()
        else:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=kind is not None)

    async def _send(self) -> None:
        async with asyncio.TaskGroup() as group:
            while not self._over.is_set():
                trip = next(self._trips)
                self.sent[trip.ride_id] = self._clock()
                group.create_task(self._ride(trip))
                await asyncio.sleep(1 / self._rate)

    async def _ride(self, trip: Trip) -> None:
        try:
            run = await self._gateway.start("ride", trip.request, key=trip.ride_id)
        except Refused as refused:
            self.refused[trip.ride_id] = str(refused)
            return
        self.accepted.add(trip.ride_id)
        # At once, and so at times before the run waits for it: what comes early is kept, too.
        for _ in range(2 if rules.told_twice(trip.ride_id) else 1):
            await self._gateway.publish(
                "trip.ended.v1",
                f"{trip.ride_id}-ended",
                trip.end,
                subject=trip.ride_id,
                correlation=str(run["correlation"]),
            )

    def _named(self, trips: list[Trip]) -> Iterator[Trip]:
        for number, trip in enumerate(itertools.cycle(trips)):
            ride = f"{self.name}-{number:05d}"
            yield replace(
                trip,
                ride_id=ride,
                request={**trip.request, "ride_id": ride},
                end={**trip.end, "ride_id": ride},
            )
