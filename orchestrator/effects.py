"""What a decision wants done once it is durable: the outputs of ``decide`` beside its facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.record import record

__all__ = [
    "Abandon",
    "AnswerParent",
    "CancelRun",
    "ClearTimer",
    "Dispatch",
    "Effect",
    "ForwardEvent",
    "PublishEvent",
    "SendCommand",
    "SetTimer",
    "StandInLine",
    "StartRun",
]


@record
class Dispatch:
    """Run a step, or its compensation (``back``), in this process.

    ``timeout`` is what this attempt has, in seconds: never more than what is left of the deadline.
    """

    node: str
    attempt: int
    dispatch: int
    back: bool = False
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class StandInLine:
    """Start this node again when its turn has come: it may be what its processes died of.

    ``dispatch`` is the one that was lost; ``share`` of the line's room keeps others away meanwhile.
    """

    node: str
    dispatch: int
    share: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Stop what is at work here for this node; its outcome does not matter any more."""

    node: str


@dataclass(frozen=True, slots=True)
class SendCommand:
    """Ask a service; the message's id does not depend on the attempt.

    ``undoes`` is the type of the step's own command, where this one (``back``) undoes it.
    """

    node: str
    attempt: int
    service: str
    type: str
    data: Any
    back: bool = False
    undoes: str | None = None


@dataclass(frozen=True, slots=True)
class PublishEvent:
    """Tell the choreographed half."""

    node: str
    event_id: str
    type: str
    data: Any
    subject: str | None


@dataclass(frozen=True, slots=True)
class StartRun:
    """Start another run: a child (``node`` is the call), or this one again (``linked_from``).

    ``parent``: of one that is made again, the call that waits for it (see ``parent_of_rerun``).
    """

    run_id: str
    flow: str
    version: int
    key: str
    input: dict[str, Any]
    node: str | None = None
    linked_from: str | None = None
    begin_at: str | None = None
    results: dict[str, Any] | None = None
    parent: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Cancel a child (``node`` is the call) whose parent goes back, or on without it."""

    run_id: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerParent:
    """Tell the run that called this one how it ended."""

    parent: dict[str, Any]
    status: str
    result: Any
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ForwardEvent:
    """An event that an ended run had kept, or that comes for it, goes on to the run made from it."""

    run_id: str
    message_id: str
    type: str
    data: Any


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire at ``due_at`` (seconds since the epoch); the same name again moves it."""

    name: str
    due_at: float


@dataclass(frozen=True, slots=True)
class ClearTimer:
    """Forget a timer."""

    name: str


Effect = (
    Dispatch
    | StandInLine
    | Abandon
    | SendCommand
    | PublishEvent
    | StartRun
    | CancelRun
    | AnswerParent
    | ForwardEvent
    | SetTimer
    | ClearTimer
)
