"""What a service answers, and how it travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from bus.envelope import message_of
from bus.port import PARTITIONS, Outgoing
from contracts.envelope import Event, derive_id
from reactors.failure import Failure

__all__ = ["REDRIVE", "REPLY_TYPE", "Reply"]

REPLY_TYPE = "antiphon.reply.v1"
REDRIVE = "redrive"  # CloudEvents extension of a command: how often somebody let its step go on
_CARRIED = ("runid", "node", "attempt", "traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class Reply:
    """``done`` with a result; ``refused``, a definite no; or ``failed``, which may be tried again.

    ``error`` has ``code`` and ``message``; ``retry_after`` is in seconds.
    """

    outcome: Literal["done", "refused", "failed"]
    result: Any = None
    error: dict[str, str] | None = None
    retry_after: float | None = None

    @classmethod
    def refused(cls, code: str, message: str) -> Reply:
        """A definite no."""
        return cls("refused", error={"code": code, "message": message})

    @classmethod
    def failed(cls, failure: Failure) -> Reply:
        """Not done, as far as is known."""
        error = {"code": failure.code, "message": failure.message}
        return cls("failed", error=error, retry_after=failure.retry_after)

    def as_text(self) -> str:
        """JSON, as the inbox keeps it. Raises TypeError for a result that is no JSON."""
        return orjson.dumps(self).decode()

    @classmethod
    def from_text(cls, text: str) -> Reply:
        """What ``as_text`` wrote."""
        return cls(**orjson.loads(text))

    def to(self, command: Event, *, service: str, at: float) -> Outgoing:
        """On its way to the partition that sent the command; ``at`` in seconds since the epoch."""
        extensions = command.extensions
        event = Event.create(
            REPLY_TYPE,
            self,
            id=derive_id(command.id, "reply", extensions.get("attempt", "1"), *_again(extensions)),
            source=f"/services/{service}",
            at=at,
            workspace=command.workspace,
            correlation=command.correlation,
            causation=command.id,
            extensions={name: extensions[name] for name in _CARRIED if name in extensions},
        )
        return Outgoing(message_of(event), routing_key=extensions["replyto"], exchange=PARTITIONS)


def _again(extensions: Mapping[str, str]) -> tuple[str, ...]:
    return (extensions[REDRIVE],) if REDRIVE in extensions else ()  # attempts count from 1 again
