"""Admission: what is more than can be done is refused at once, before anything is read or kept of it.

Every request that is let in holds memory until it is answered, and when the store or the broker is slow
that takes long. So there is a bound on how many are at work, on the bytes of their bodies, and on what was
accepted and not taken up yet (see ``Backlog`` for whose age counts). Health, metrics and streams (which
have a bound of their own) are let in always, so that an operator can look.

A request whose body is on its way is not at work, and of its body only what has come counts: else a few
clients that send nothing would look like a house that is slow, and close the door to everybody.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bus.backlog import Backlog
from gateway.arrivals import Arrival, Arrivals
from gateway.problems import Problem, problem_response
from orchestrator.unstarted import Unstarted

__all__ = ["Admission", "Admit"]

_MOST_BYTES = 128 * 2**20  # of bodies at work together; one alone may always be as large as its own limit
_ALWAYS = ("/healthz", "/readyz", "/metrics")
_START = re.compile(r"/flows/[^/]+/runs")
_LONGEST_RETRY = 30.0
_LONGEST_AT_WORK = 10.0  # s; more than a start waits for its owner, less than most clients wait for an answer
_SLOW_CONFIRM = 2.0  # s; what waits longer for its confirm mostly fails, and more behind it does too


@dataclass(slots=True)
class _Lane:
    """Requests of one sort that are at work."""

    name: str
    waiting: int = 0

    def count(self) -> float:
        """How many."""
        return float(self.waiting)


class _Stay:
    """One request's time at work, from when it is made; ``ages`` is where its age counts, if anywhere."""

    def __init__(self, lane: _Lane, ages: Backlog | None) -> None:
        self._lane = lane
        self._ages = ages
        self._inside = False
        self.enter()

    def enter(self) -> None:
        """At work from now on."""
        self._inside = True
        self._lane.waiting += 1
        if self._ages is not None:
            self._ages.add(str(id(self)))

    def leave(self, *, answered: bool = False) -> None:
        """At work no longer, if it was."""
        if not self._inside:
            return
        self._inside = False
        self._lane.waiting -= 1
        if self._ages is not None:
            (self._ages.answered if answered else self._ages.drop)(str(id(self)))


@dataclass(frozen=True, slots=True)
class Admission:
    """Decides who is let in. ``longest`` is in seconds; 0 is any time. See the settings of these names."""

    unstarted: Unstarted
    most: int = 2_000
    most_unstarted: int = 10_000
    longest: float = 20.0
    slow_confirm: float = _SLOW_CONFIRM
    longest_at_work: float = _LONGEST_AT_WORK
    at_work: Backlog = field(default_factory=Backlog)  # requests that write and did not ask to wait
    chance: Callable[[], float] = random.random
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def refusal(self, method: str, path: str) -> Problem | None:
        """Why a request that goes there is not let in for now; None when it is."""
        if method != "POST":
            return None
        age = self.at_work.age()
        if age > self.longest_at_work:
            return self.problem(f"Requests take {age:.0f} s now.", age)
        start = _START.fullmatch(path) is not None
        if not start and path != "/events":
            return None
        confirm = self.unconfirmed.age()
        if confirm > self.slow_confirm:
            return self.problem(f"The broker has not confirmed for {confirm:.0f} s.", confirm)
        if not start:
            return None
        if len(self.unstarted) >= self.most_unstarted:
            return self.problem(f"{len(self.unstarted)} accepted runs wait to be started.")
        age = self.unstarted.age()
        if 0 < self.longest < age:
            return self.problem(f"Accepted runs wait for {age:.0f} s to be started.", age)
        return None

    def problem(self, detail: str, age: float = 0.0) -> Problem:
        """The answer to whoever is not let in."""
        # By chance, so that those who are refused together do not come back together.
        pause = min(_LONGEST_RETRY, max(1.0, age / 2)) * (1 + self.chance())
        return Problem("overloaded", f"{detail} Nothing of this request was kept.", retry_after=pause)

    @property
    def unconfirmed(self) -> Backlog:
        """What the bus was given and has not confirmed, starts and events."""
        return self.unstarted.unconfirmed


class Admit:
    """The layer that lets requests in (ASGI 3): around everything that costs."""

    def __init__(self, app: ASGIApp, *, admission: Admission, most_body: int) -> None:
        self._app = app
        self._admission = admission
        self._most_body = most_body
        self._bytes = 0
        self._reads, self._writes = _Lane("read"), _Lane("write")
        self._arrivals = Arrivals()
        self._admitted, self._refused = _counters(admission.registry)
        _gauges(admission, (self._reads, self._writes), self._arrivals, lambda: float(self._bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        reading = scope["method"] in ("GET", "HEAD")
        lane = self._reads if reading else self._writes
        problem = self._refusal(lane, scope, 0 if reading else self._size(scope))
        if problem is not None:
            self._refused[lane.name].inc()
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        self._admitted[lane.name].inc()
        if reading:
            await self._read(scope, receive, send)
        else:
            await self._write(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        stay = _Stay(self._reads, None)

        async def noted(message: Message) -> None:
            # A stream goes on for as long as its reader likes; how many there are is counted elsewhere.
            if message["type"] == "http.response.start" and _streams(message):
                stay.leave()
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            stay.leave()

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        stay = _Stay(self._writes, None if _patient(scope) else self._admission.at_work)
        body = Arrival(self._arrivals)

        async def arriving() -> Message:
            if body.done:
                return await receive()
            stay.leave()
            before = body.size
            message = await body.next(receive)
            self._bytes += body.size - before
            if self._bytes > max(body.size, _MOST_BYTES):
                raise self._too_many(f"Requests of {self._bytes} bytes are at work already.")
            if body.done and message["type"] == "http.request":
                if self._writes.waiting >= self._admission.most:
                    raise self._too_many(f"{self._writes.waiting} requests are at work already.")
                stay.enter()
            return message

        try:
            await self._app(scope, arriving, send)
            stay.leave(answered=True)
        finally:
            stay.leave()
            body.close()
            self._bytes -= body.size

    def _too_many(self, detail: str) -> Problem:
        """The answer to one whose body came, or comes, when there is no place for it any more."""
        self._refused[self._writes.name].inc()
        problem = self._admission.problem(detail)
        problem.headers["Connection"] = "close"  # what follows of the body is not read
        return problem

    def _refusal(self, lane: _Lane, scope: Scope, size: int) -> Problem | None:
        admission = self._admission
        if lane.waiting >= admission.most:
            return admission.problem(f"{lane.waiting} requests are at work already.")
        if self._bytes and self._bytes + size > _MOST_BYTES:
            return admission.problem(f"Requests of {self._bytes} bytes are at work already.")
        return admission.refusal(scope["method"], scope["path"])

    def _size(self, scope: Scope) -> int:
        """What the body may come to; one that comes in chunks, as much as it may be."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                return min(int(value), self._most_body)
            if name == b"transfer-encoding":
                return self._most_body
        return 0


def _patient(scope: Scope) -> bool:
    """Whether it may take long because its caller wants to wait for a result (``Prefer: wait``)."""
    return any(name == b"prefer" for name, _ in scope["headers"])


def _streams(message: Message) -> bool:
    headers = message["headers"]
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def _counters(registry: CollectorRegistry) -> tuple[dict[str, Counter], dict[str, Counter]]:
    admitted = Counter("antiphon_requests_admitted", "Requests let in", ("lane",), registry=registry)
    refused = Counter("antiphon_requests_refused", "Refused: overload", ("lane",), registry=registry)
    lanes = ("read", "write")
    return {lane: admitted.labels(lane) for lane in lanes}, {lane: refused.labels(lane) for lane in lanes}


def _gauges(
    admission: Admission, lanes: tuple[_Lane, ...], arrivals: Arrivals, held: Callable[[], float]
) -> None:
    registry = admission.registry
    waiting = Gauge("antiphon_requests_waiting", "Requests at work", ("lane",), registry=registry)
    for lane in lanes:
        waiting.labels(lane.name).set_function(lane.count)
    unstarted = admission.unstarted
    for name, help, read in (
        ("requests_arriving", "Requests whose body is on its way", arrivals.__len__),
        ("request_bytes", "Bytes that have come of bodies", held),
        ("requests_age_seconds", "How long the oldest that writes has been at work", admission.at_work.age),
        ("starts_waiting", "Accepted starts that no orchestrator has taken up", unstarted.__len__),
        ("starts_age_seconds", "How long the oldest of them has waited", unstarted.age),
        (
            "confirm_age_seconds",
            "How long the oldest publish has waited",
            unstarted.unconfirmed.age,
        ),
    ):
        Gauge(f"antiphon_{name}", help, registry=registry).set_function(read)
