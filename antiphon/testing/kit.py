"""A house for a test: an app under virtual time, without trouble unless the test makes some."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import orjson

from antiphon.app import App
from antiphon.testing.chance import Chance
from antiphon.testing.ground import Ground
from antiphon.testing.house import House
from antiphon.testing.loop import NothingLeft, VirtualLoop
from antiphon.testing.simulation import Simulation, ask
from antiphon.testing.visit import StartedRun
from contracts.errors import ConfigurationError, Retryable
from orchestrator.durations import Duration, seconds

__all__ = ["Reaction", "TestHouse", "in_virtual_time"]

P = ParamSpec("P")
T = TypeVar("T")

_SOON = 1.0  # seconds: what is due within them belongs to now
_LOOK = 0.05
_DULL = 3600.0  # seconds in which nobody did anything, and nothing is due, while a test waits
_PATIENCE = 900.0  # seconds in which everybody must have nothing in hand any more


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a plain function of an async test, on an event loop where waiting costs no time.

    Fixtures and parameters stay as they are; there is nothing to install. What a test awaits in it leaps
    to when it is due, its own ``asyncio.sleep`` too.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        loop = VirtualLoop()
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(test(*args, **kwargs))
        except NothingLeft as left:
            complaint = AssertionError("the test waits for something that can't happen any more")
            for note in getattr(left, "__notes__", ()):
                complaint.add_note(note)
            raise complaint from None
        finally:
            asyncio.set_event_loop(None)
            loop.end()

    return run


@dataclass(frozen=True, slots=True)
class Reaction:
    """One event at one reactor. ``status``: claimed, retrying, done, dead or discarded."""

    reactor: str
    type: str
    event_id: str
    status: str
    attempts: int
    error: str | None


class TestHouse:
    """``async with TestHouse(app) as house:`` in a test that is decorated with ``in_virtual_time``.

    The real orchestrator and reactors of the app stand on a store and a bus in memory. All that takes time
    takes none: ``advance("12h")`` and ``run.ended()`` leap. After each commit the platform's promises are
    checked; one that is broken, and an assertion that fails, tell the story of the house.

    ``stand_ins`` are called instead of functions of the app, by the name of the step, the reactor or the
    command. A Simulation may stand for its app: its ``prepare`` and its invariants count too.
    """

    __test__ = False  # pytest takes it for a group of tests else

    def __init__(
        self, app: App | Simulation, *, stand_ins: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self._simulation = app if isinstance(app, Simulation) else Simulation(app)
        self._stand_ins = {**self._simulation.stand_ins, **(stand_ins or {})}
        self._broken: list[str] = []
        self._house: House | None = None
        self._ground = Ground(1)
        self._asked_at = self._lively_at = 0.0  # by the loop's clock

    async def __aenter__(self) -> TestHouse:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            self._ground.close()
            raise ConfigurationError(
                "TestHouse needs virtual time, and this event loop has none: write "
                "@antiphon.testing.in_virtual_time above the test"
            )
        self._house = House(
            self._simulation.app,
            loop=loop,
            ground=self._ground,
            chance=Chance.of(0, ()),
            workspace=self._simulation.workspace,
            lease=None,
            stand_ins=self._stand_ins,
            broken=self._broken.append,
            committed=self._ask,
        )
        if self._simulation.prepare is not None:
            self._simulation.prepare(self._house.stage)
        self._asked_at = self._lively_at = loop.time()
        loop.wait_on = self._wait_on
        await self._house.open(each=1)
        await self.settle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.loop.wait_on = lambda: False
        await self._open.close()
        self._ground.close()
        story = f"The story of the house:\n{self.story}"
        if error is not None:
            error.add_note(story)
        elif self._broken:
            complaint = AssertionError("; ".join(self._broken))
            complaint.add_note(story)
            raise complaint

    # --- time ---------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the epoch, by the house's clock. It begins at the same moment in every house."""
        return self._open.clock()

    async def advance(self, duration: Duration) -> None:
        """Let so much time pass, and then all come to its end that is due: seconds, or ``"1h30m"``."""
        await self._pass(self._open.loop.time() + seconds(duration), lambda: False)
        await self.settle()

    async def settle(self) -> None:
        """Let everybody finish what they have in hand.

        What has a time when it is due (a timer, a retry, a delayed message) waits for it, unless that is
        within a second. Raises AssertionError when there is always something to do.
        """
        end = self._open.loop.time() + _PATIENCE
        await self._pass(end, self._settled, leaping=False)
        if not self._settled():
            raise AssertionError(f"the house did not come to rest within {_PATIENCE:g} s")

    # --- what is asked of it ------------------------------------------------------------------

    async def start(self, flow: str, input: Mapping[str, Any]) -> StartedRun:
        """Start a run; its ``outcome`` is created, exists or conflict.

        Raises UnknownFlow, ContractViolation.
        """
        stage = self._open.stage
        id = stage.next_id("start")
        receipt = await stage.client.start(stage.workspace, flow, dict(input), start_id=id)
        return StartedRun(stage, self._until, receipt.run_id, receipt.outcome)

    async def publish(self, type: str, data: Any, *, id: str | None = None) -> str:
        """Publish an event, like somebody outside; its id. Raises ContractViolation."""
        self._simulation.app.registry.validate(type, data)
        return await self._open.stage.publish(type, data, id=id)

    async def redrive(self, reactor: str) -> int:
        """Send a reactor's dead letters to it again, as an operator would; how many there were."""
        letters, workspace = self._open.letters, self._open.stage.workspace
        found = await letters.letters(workspace, reactor=reactor)
        for letter in found:
            await letters.redrive(workspace, letter.id, actor="test", reason="the test redrives")
        return len(found)

    # --- what goes wrong ----------------------------------------------------------------------

    def replace(self, name: str, function: Callable[..., Any] | None) -> None:
        """Call this instead of a step, a reactor or a command's handler; None is the app's own again.

        It is called as the one that it stands in for, and may be async or not.
        """
        self._open.doubles.find(name).stand_in = function

    def fail(self, name: str, *, times: int = 1, error: Exception | None = None) -> None:
        """Let the next ``times`` calls raise ``error``, and not reach the function; Retryable unless said."""
        failure = error or Retryable("the test lets it fail")
        self._open.doubles.find(name).failures.extend([failure] * times)

    def crash_after(self, name: str, *, times: int = 1) -> None:
        """Let the process die ``times`` times directly after the function, before anybody knows of it."""
        self._open.doubles.find(name).deaths += times

    def crash(self, role: str) -> None:
        """Kill ``orchestrator`` or ``reactors``, as ``kill -9`` does. Another starts within seconds."""
        place = self._open.places.get(f"{role}-a")
        if place is None:
            raise ConfigurationError(f"there is no process {role!r} here: orchestrator, or reactors")
        place.kill("because the test says so")

    def calls(self, name: str) -> int:
        """How often a step, a reactor or a command was called, with the calls that were let fail."""
        return self._open.doubles.find(name).calls

    # --- what there is to see -----------------------------------------------------------------

    @property
    def runs(self) -> list[StartedRun]:
        """Every run, in the order of their beginning; child runs are among them."""
        stage = self._open.stage
        return [StartedRun(stage, self._until, run_id, "exists") for run_id in stage.runs]

    def published(self, type: str) -> list[Any]:
        """The data of each event of a type, in their order, also where nobody listens; repeats count once."""
        return [orjson.loads(body) for found, body in self._open.events.values() if found == type]

    def reactions(self, reactor: str) -> list[Reaction]:
        """What a reactor, or ``service:NAME``, was given."""
        rows = self._open.stage.query(
            "SELECT reactor, type, event_id, status, attempts, error FROM reactions WHERE reactor = ?"
            " ORDER BY received_at, event_id",
            reactor,
        )
        return [Reaction(*row) for row in rows]

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the store itself, in SQL."""
        return self._open.stage.query(statement, *parameters)

    @property
    def memory(self) -> dict[str, Any]:
        """What the simulation's ``prepare`` has put there."""
        return self._open.stage.memory

    @property
    def story(self) -> str:
        """What happened, line by line."""
        return str(self._open.story)

    # --- inside -------------------------------------------------------------------------------

    @property
    def _open(self) -> House:
        if self._house is None:
            raise ConfigurationError("the house is not open: async with TestHouse(app) as house")
        return self._house

    def _settled(self) -> bool:
        house = self._open
        due = house.next_due()
        return house.idle and (due is None or due > house.loop.time() + _SOON)

    async def _until(self, done: Callable[[], bool], within: Duration, what: Callable[[], str]) -> None:
        """Leap until ``done``, and settle. Raises AssertionError when that can't be, or takes longer."""
        house = self._open
        await self._pass(
            house.loop.time() + seconds(within), lambda: done() or (house.idle and house.next_due() is None)
        )
        if not done():
            raise AssertionError(what())
        await self.settle()

    async def _pass(self, end: float, done: Callable[[], bool], *, leaping: bool = True) -> None:
        """Let the time pass until ``end`` or ``done``."""
        house = self._open
        while not done() and house.loop.time() < end:
            if leaping:
                house.leap(end)
            await house.loop.look(min(_LOOK, max(0.0, end - house.loop.time())))
            if self._broken:
                raise AssertionError("; ".join(self._broken))

    def _wait_on(self) -> bool:
        """Leap, where the test waits for something of its own, and by no verb of the house."""
        house = self._open
        now = house.loop.time()
        if house.loop.lookers:
            self._lively_at = now
            return False
        if now < self._asked_at + _SOON:
            return False
        self._asked_at = now
        if not house.idle or house.next_due() is not None:
            self._lively_at = now
            return house.leap() > 0.0
        if now > self._lively_at + _DULL:
            left = NothingLeft("a test waits, and nothing is due")
            left.add_note(f"The story of the house:\n{self.story}")
            raise left
        return False

    def _ask(self) -> None:
        self._broken.extend(ask(self._simulation.invariants, self._open.stage))
