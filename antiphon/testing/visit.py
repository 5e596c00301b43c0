"""One run, as a test sees it and talks to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from antiphon.testing.stage import Stage
from orchestrator.durations import Duration
from orchestrator.facts import Fact
from orchestrator.run import Run

__all__ = ["StartedRun", "Until"]

Until = Callable[[Callable[[], bool], Duration, Callable[[], str]], Awaitable[None]]

_ACTOR = "test"


class StartedRun:
    """A run in a test's house. What it says is what is durable now; ``outcome`` is what its start came to."""

    def __init__(self, stage: Stage, until: Until, id: str, outcome: str) -> None:
        self.id = id
        self.outcome = outcome
        self._stage = stage
        self._until = until

    def __repr__(self) -> str:
        return f"<run {self.key} of {self._run.flow}: {self.status}>"

    @property
    def key(self) -> str:
        """Its key."""
        return self._run.key

    @property
    def status(self) -> str:
        """running, stuck, completed, failed, compensated or cancelled."""
        return self._run.status

    @property
    def waiting(self) -> str | None:
        """Why it does not move right now, in words; None while it does, and when it has ended."""
        return self._run.waiting()

    @property
    def results(self) -> dict[str, Any]:
        """The result of each step that is done, by its name; what was waited for is among them."""
        return dict(self._run.results)

    @property
    def result(self) -> Any:
        """The flow's result."""
        return self._run.result

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it went back, or ended badly: code, message and node."""
        return self._run.error

    @property
    def history(self) -> list[Fact]:
        """Its facts, the oldest first."""
        return self._stage.facts(self._run)

    def facts(self, type: str) -> list[str | None]:
        """The nodes of which the history has a fact of this type, in their order."""
        return [fact.node for fact in self.history if fact.type == type]

    async def ended(self, *, within: Duration = "365d") -> StartedRun:
        """Leap to its end, and let everybody finish what follows from it; the run itself.

        Raises AssertionError when the end does not come within, or can't come any more.
        """
        await self._until(
            lambda: self._run.ended,
            within,
            lambda: f"run {self.key} has not ended: it is {self.status} ({self.waiting or 'no reason'})",
        )
        return self

    async def signal(self, name: str, data: Any = None) -> None:
        """Tell it something by name. Raises RunEnded."""
        id = self._stage.next_id("signal")
        await self._stage.client.signal(
            self._stage.workspace, self.id, name, data, signal_id=id, actor=_ACTOR
        )

    async def cancel(self, reason: str = "the test cancels it") -> None:
        """Ask for it to be undone. Raises RunEnded, also past its pivot."""
        await self._stage.client.cancel(self._stage.workspace, self.id, reason=reason, actor=_ACTOR)

    async def pause(self, reason: str = "the test pauses it") -> None:
        """Let it start nothing new. Raises RunEnded."""
        await self._stage.client.pause(self._stage.workspace, self.id, reason=reason, actor=_ACTOR)

    async def resume(self, reason: str = "the test resumes it") -> None:
        """Let it go on. Raises RunEnded."""
        await self._stage.client.resume(self._stage.workspace, self.id, reason=reason, actor=_ACTOR)

    async def retry(self, *, from_node: str | None = None, reason: str = "the test retries it") -> StartedRun:
        """Go on with it when it is stuck, or make it again when it has ended; the run that then goes on."""
        id = await self._stage.client.retry(
            self._stage.workspace, self.id, from_node=from_node, reason=reason, actor=_ACTOR
        )
        return StartedRun(self._stage, self._until, id, "exists" if id == self.id else "created")

    @property
    def _run(self) -> Run:
        if self.id not in self._stage.runs:
            raise AssertionError(f"run {self.id} is not in the journal (yet)")
        return self._stage.runs[self.id]
