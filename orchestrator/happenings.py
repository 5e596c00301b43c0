"""What can happen to a run: the inputs of ``decide``.

What comes as a message carries ``message_id``; a repeat of it is stopped by a mark before it gets here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from contracts.record import record

__all__ = [
    "CancelRequested",
    "ChildEnded",
    "EventArrived",
    "Happening",
    "MigrationRequested",
    "NotTaken",
    "OwnerChanged",
    "PauseRequested",
    "Reconciled",
    "ResumeRequested",
    "RetryRequested",
    "SignalArrived",
    "StartRequested",
    "StepFailed",
    "StepFinished",
    "StepReturned",
    "TimerFired",
    "TurnCame",
    "mark_of",
]


@record
class StartRequested:
    """Somebody asks for a run. ``early`` are the events that came before it, in order."""

    message_id: str
    run_id: str
    partition: int
    workspace: str
    flow: str
    version: int
    key: str
    input: dict[str, Any]
    input_digest: str
    correlation: str
    causation: str | None = None
    traceparent: str | None = None
    answer_to: str | None = None
    parent: dict[str, Any] | None = None  # run_id, node, partition, of the run that called
    linked_from: str | None = None
    begin_at: str | None = None  # a rerun from a node: where it begins, and what is known by then
    results: dict[str, Any] = field(default_factory=dict)
    early: tuple[EventArrived, ...] = ()


@record
class StepFinished:
    """A step or a compensation is done. ``dispatch`` is None in a service's reply, ``by`` is who sent it."""

    node: str
    attempt: int
    result: Any
    dispatch: int | None = None
    back: bool = False
    by: str | None = None


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt failed. ``definite``: it certainly had no effect and can't be retried."""

    node: str
    attempt: int
    code: str
    message: str
    definite: bool
    retry_after: float | None = None
    dispatch: int | None = None
    back: bool = False
    by: str | None = None


@dataclass(frozen=True, slots=True)
class StepReturned:
    """What was at work here was stopped before its end: its process leaves in good order, and is no crash."""

    node: str
    dispatch: int


@dataclass(frozen=True, slots=True)
class EventArrived:
    """A correlated event."""

    message_id: str
    type: str
    data: Any
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class SignalArrived:
    """Somebody tells the run something by name."""

    message_id: str
    name: str
    data: Any
    actor: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer is due; the state says whether it still matters."""

    name: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the run undone. ``parent``: a run that called it, and may only cancel its own.

    ``asked_at``: in seconds since the epoch; 0 where that is not known.
    """

    message_id: str
    reason: str
    actor: str
    parent: str | None = None
    asked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """Somebody wants a stuck run to go on, or an ended one to be done again.

    ``rerun`` says which of the two: 0 the first, a number the so-manieth run that is made from it. (None in
    what a gateway of before has sent: as the run stands when it comes.)
    """

    message_id: str
    reason: str
    actor: str
    from_node: str | None = None
    rerun: int | None = None


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Somebody wants the run to start nothing new."""

    message_id: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody wants a paused run to go on."""

    message_id: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class MigrationRequested:
    """Somebody wants the run to go on as another version of its flow says; see ``migration.Move``."""

    message_id: str
    to: int
    renames: dict[str, str]
    without: tuple[str, ...]
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class OwnerChanged:
    """The process that had work of this run in hand is gone: what was at work there starts again."""


@dataclass(frozen=True, slots=True)
class TurnCame:
    """A node that stood in line since its dispatch was lost may start again."""

    node: str
    dispatch: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a run waits for can't come.

    ``lost``: (node, dispatch) that nobody works on. ``timers``: (node, due) that are gone. ``asks``: (node,
    reason) to ask a service or another run for again. ``nothing``: nothing is left that could move it.
    """

    lost: tuple[tuple[str, int], ...] = ()
    timers: tuple[tuple[str, float], ...] = ()
    asks: tuple[tuple[str, str], ...] = ()
    nothing: bool = False


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Something happened that can't be kept, whatever is tried: the run stops here, with the reason."""

    node: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """The run that a ``call`` started has ended."""

    message_id: str
    node: str
    run_id: str
    status: str
    result: Any
    error: dict[str, Any] | None


Happening = (
    StartRequested
    | StepFinished
    | StepFailed
    | StepReturned
    | EventArrived
    | SignalArrived
    | TimerFired
    | CancelRequested
    | RetryRequested
    | PauseRequested
    | ResumeRequested
    | MigrationRequested
    | OwnerChanged
    | TurnCame
    | Reconciled
    | NotTaken
    | ChildEnded
)


_WITHOUT_MARK = (
    StartRequested
    | StepFinished
    | StepFailed
    | StepReturned
    | TimerFired
    | OwnerChanged
    | TurnCame
    | Reconciled
    | NotTaken
)


def mark_of(happening: Happening) -> str | None:
    """The message whose repeat must be stopped by a mark.

    None for a start, which its run marks, and for what the run's state tells apart: steps and timers.
    """
    if isinstance(happening, _WITHOUT_MARK):
        return None
    return happening.message_id
