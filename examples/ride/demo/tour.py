"""Sends the trips through the house: each is requested, driven and ended, many at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from examples.ride import rules
from examples.ride.demo.check import ENDED
from examples.ride.demo.client import Gateway, Refused
from examples.ride.trips import Trip

__all__ = ["Outcome", "Tour"]

ENDINGS = frozenset({"run_completed", "run_compensated", "run_failed", "run_cancelled"})
FIRST_LOOK = 5.0  # seconds without news after which we ask for the run itself
LONGEST_LOOK = 10.0
GIVE_UP = 600.0  # seconds for one ride; a run that has not ended then is for the audit to name


@dataclass
class Outcome:
    """How the trips went, as the client saw it. ``problems`` counts what was wrong with those refused."""

    accepted: dict[str, str] = field(default_factory=dict)  # ride -> run
    rejected: set[str] = field(default_factory=set)
    ended: Counter[str] = field(default_factory=Counter)  # by status
    problems: Counter[str] = field(default_factory=Counter)
    early: int = 0
    repeated: int = 0


class _Signs:
    """What is known of one run: whether it waits for the trip's end, and whether it has ended."""

    def __init__(self) -> None:
        self.waits = asyncio.Event()
        self.ended = asyncio.Event()
        self.status: str | None = None


class Tour:
    """One pass over the trips. ``told`` is called with each outcome, for the progress bar."""

    def __init__(
        self, gateway: Gateway, *, concurrency: int, rate: float | None, told: Callable[[str], None]
    ) -> None:
        self.outcome = Outcome()
        self._gateway = gateway
        self._places = asyncio.Semaphore(concurrency)
        self._rate = rate
        self._told = told
        self._signs: dict[str, _Signs] = {}

    async def go(self, trips: Iterable[Trip]) -> Outcome:
        """Ride them all; returns when each was refused, has ended, or has used up its time."""
        listening = asyncio.create_task(self._listen())
        try:
            async with asyncio.TaskGroup() as group:
                for trip in trips:
                    await self._places.acquire()
                    group.create_task(self._ride(trip))
                    if self._rate:
                        await asyncio.sleep(1 / self._rate)
        except BaseExceptionGroup as failed:
            raise _first(failed) from failed
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        return self.outcome

    async def _ride(self, trip: Trip) -> None:
        try:
            run = await self._request(trip)
            if run is not None:
                async with asyncio.timeout(GIVE_UP):
                    await self._follow(trip, str(run["id"]), str(run["correlation"]))
        except TimeoutError:
            self.outcome.ended["not ended"] += 1
            self._told("not ended")
        finally:
            self._places.release()

    async def _request(self, trip: Trip) -> dict[str, Any] | None:
        try:
            run = await self._gateway.start("ride", trip.request, key=trip.ride_id)
        except Refused as refused:
            self.outcome.rejected.add(trip.ride_id)
            self.outcome.problems.update(_places(refused.problem))
            self._told("rejected")
            return None
        self.outcome.accepted[trip.ride_id] = str(run["id"])
        self._told("accepted")
        return run

    async def _follow(self, trip: Trip, run_id: str, story: str) -> None:
        signs = self._sign(run_id)
        if rules.ends_early(trip.ride_id):
            self.outcome.early += 1
        else:
            await self._until(run_id, signs, signs.waits)
        if not signs.ended.is_set():
            await self._end(trip, story)
        await self._until(run_id, signs, signs.ended)
        self._signs.pop(run_id, None)
        self.outcome.ended[str(signs.status)] += 1
        self._told(str(signs.status))

    async def _end(self, trip: Trip, story: str) -> None:
        times = 1
        if rules.told_twice(trip.ride_id):
            self.outcome.repeated += 1
            times = 2
        for _ in range(times):
            await self._gateway.publish(
                "trip.ended.v1",
                f"{trip.ride_id}-ended",
                trip.end,
                subject=trip.ride_id,
                correlation=story,
            )

    async def _until(self, run_id: str, signs: _Signs, sign: asyncio.Event) -> None:
        """Wait for the sign. The live stream gives it; when it is silent, the run itself is asked."""
        look = FIRST_LOOK
        while not sign.is_set():
            try:
                async with asyncio.timeout(look):
                    await sign.wait()
            except TimeoutError:
                self._note(signs, await self._gateway.run(run_id))
                look = min(look * 1.5, LONGEST_LOOK)

    async def _listen(self) -> None:
        async for entry in self._gateway.live():
            run_id, type = entry.get("run"), entry.get("type")
            if not run_id:
                continue
            # A run may be heard of before the answer to its request is.
            signs = self._sign(str(run_id))
            if type == "wait_started":
                signs.waits.set()
            elif type in ENDINGS:
                signs.status = str(type).removeprefix("run_")
                signs.waits.set()
                signs.ended.set()

    def _sign(self, run_id: str) -> _Signs:
        return self._signs.setdefault(run_id, _Signs())

    @staticmethod
    def _note(signs: _Signs, run: dict[str, Any]) -> None:
        # A stuck run has not ended, but only an operator can move it: the audit will name it.
        if run["status"] in ENDED or run["status"] == "stuck":
            signs.status = run["status"]
            signs.waits.set()
            signs.ended.set()
        elif "trip.ended.v1" in str(run.get("waiting")):
            signs.waits.set()


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors that ended the tour, for whoever has to read it: the others are its causes."""
    first: BaseException = failed
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _places(problem: Mapping[str, Any]) -> list[str]:
    """Where a request was wrong, and what was wanted there; the problem's title when it says no more."""
    errors = problem.get("errors") or []
    places = {f"{error['pointer']}: expected {error['expected']}" for error in errors}
    return sorted(places) or [str(problem.get("title"))]
