"""What the inbox is asked for the right to an attempt, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from contracts.record import record
from reactors.letter import ATTEMPT_HEADER, Letter

__all__ = ["KEYS", "Claim", "Claimed", "Crashed", "Held", "Key", "Settled", "Suspected", "Undone", "Verdict"]


class Key(NamedTuple):
    """What a reaction goes by."""

    reactor: str
    source: str
    event_id: str


KEYS = Key._fields


class Undone(NamedTuple):
    """The command that another one undoes: of the same source, at the same service."""

    key: Key
    type: str


@record(eq=False)
class Claim:
    """A message asking to be handled.

    ``redrive`` is the number of the redrive that sent it, 0 for none. ``alone`` says that no other
    suspect of its reactor is at work in this process. ``undoes``: what must not be done after it.
    It ``began`` so many seconds before it is claimed; 0 for what begins then.
    """

    key: Key
    letter: Letter
    redrive: int = 0
    alone: bool = False
    undoes: Undone | None = None
    began: float = 0.0

    def later(self, seconds: float) -> Claim:
        """The same, asked so much later."""
        return replace(self, began=self.began + seconds) if self.began else self

    @property
    def came_before(self) -> bool:
        """Whether the message says so itself: a retry, a redrive, one that was held back."""
        return self.redrive > 0 or ATTEMPT_HEADER in self.letter.message.headers

    def about(self) -> dict[str, Any]:
        """What of a new row of ``reactions`` is its message's."""
        event = self.letter.event
        return {
            **self.key._asdict(),
            "workspace": event.workspace,
            "type": event.type,
            "correlation": event.correlation,
            "causation": event.causation,
            "redrives": self.redrive,
        }


@dataclass(frozen=True, slots=True)
class Claimed:
    """Go ahead. ``attempt`` is what counts against the retry policy; crashes of a worker do not."""

    attempt: int
    attempts: int
    redrives: int
    received_at: float


@dataclass(frozen=True, slots=True)
class Settled:
    """It has ended before: ``done``, ``dead`` or ``discarded``; with the reply that a service gave."""

    status: str
    reply: str | None


@dataclass(frozen=True, slots=True)
class Held:
    """Not now: at work elsewhere, or its retry is not due. Ask again in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Crashed:
    """It took too many workers down and is a dead letter now."""

    crashes: int


@dataclass(frozen=True, slots=True)
class Suspected:
    """It may crash its worker: ask again with ``alone`` when no other suspect is at work."""


Verdict: TypeAlias = Claimed | Settled | Held | Crashed | Suspected
