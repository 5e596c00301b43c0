"""Small flows for tests, and the functions of their steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.retry import Retry
from orchestrator.context import StepContext
from orchestrator.flow import Flow
from orchestrator.nodes import Command, Emit, Node, Step, emit, step, wait

ONCE = Retry.once()


async def work(ctx: StepContext) -> dict[str, Any]:
    """Says which step it was."""
    return {"did": ctx.node}


async def unwork(ctx: StepContext) -> None:
    """Undoes it."""


def here(name: str, **more: Any) -> Step:
    """A step that runs here."""
    return step(work, name=name, **more)


def undoable(name: str, **more: Any) -> Step:
    """A step that runs here, and what undoes it."""
    return step(work, name=name, compensate=unwork, **more)


def remote(name: str, **more: Any) -> Step:
    """A step at a service."""
    return step(name, at="bank", command=f"bank.{name}.v1", data={"id": "$.input.id"}, **more)


def remote_undoable(name: str, **more: Any) -> Step:
    """A step at a service, and the command that undoes it."""
    return remote(name, compensate=Command(f"bank.un{name}.v1", {"id": "$.input.id"}), **more)


def flow(*steps: Node, name: str = "f", version: int = 1, **more: Any) -> Flow:
    """A flow whose key is ``id``."""
    return Flow(name, version, "id", "f.asked.v1", steps, **more)


def newer_trip() -> Flow:
    """The trip's second version: its first step has another name, and an event is added at the end."""
    first = trip()
    said = emit("trip.said.v1", {"id": "$.input.id", "did": "$.estimate.did"})
    steps = [here("estimate"), *first.steps[1:], said]
    result = {"did": "$.estimate.did"}
    return Flow("trip", 2, "id", "f.asked.v1", steps, on_failure=first.on_failure, result=result)


def trip(version: int = 1, *, more: Sequence[Node] = ()) -> Flow:
    """A little of everything, in the order of a ride."""
    failed: list[Emit] = [emit("trip.failed.v1", {"id": "$.input.id", "why": "$.error.code"})]
    return Flow(
        "trip",
        version,
        "id",
        "f.asked.v1",
        [
            here("quote"),
            undoable("match", retry=Retry(attempts=3, jitter=0.0)),
            remote_undoable("authorize", timeout=5),
            here("go", pivot=True),
            emit("trip.booked.v1", {"id": "$.input.id"}),
            wait("trip.over.v1", by="id", timeout="1h", name="over"),
            remote("capture"),
            *more,
        ],
        on_failure=failed,
        result={"did": "$.quote.did"},
    )
