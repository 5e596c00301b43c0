"""A dead letter: a reaction that ended in failure, whole enough to be handled again."""

from __future__ import annotations

from typing import Any

import orjson

from bus.port import Message
from contracts.envelope import Event, derive_id, is_structured
from contracts.record import record
from reactors.failure import Failure
from reactors.text import headers_json, storable

__all__ = ["ATTEMPT_HEADER", "REDRIVE_HEADER", "Letter", "edited", "letter_id"]

ATTEMPT_HEADER = "x-antiphon-attempt"
REDRIVE_HEADER = "x-antiphon-redrive"
_MOST_TYPE = 4_000  # characters of a content type


def letter_id(reactor: str, source: str, event_id: str, redrives: int) -> str:
    """Each death has a row of its own, so that what an operator tried before stays to be seen."""
    return derive_id("dead-letter", reactor, source, event_id, redrives)


def edited(message: Message, data: Any) -> bytes:
    """The body with which a message says ``data``: in structured mode the rest of the event is there, too."""
    if not is_structured(message.content_type):
        return orjson.dumps(data)
    document = orjson.loads(message.body)
    document.pop("data_base64", None)
    return orjson.dumps({**document, "data": data})


@record
class Letter:
    """What is known of a message when its reaction dies."""

    reactor: str
    queue: str
    event: Event
    message: Message

    def row(
        self, failure: Failure, *, attempts: int, redrives: int, received_at: float, now: float
    ) -> dict[str, Any]:
        """The row of ``dead_letters``; times in seconds since the epoch."""
        return {
            "id": letter_id(self.reactor, self.event.source, self.event.id, redrives),
            "workspace": self.event.workspace,
            "reactor": self.reactor,
            "queue": self.queue,
            "source": self.event.source,
            "event_id": self.event.id,
            "type": self.event.type,
            "correlation": self.event.correlation,
            "group_key": failure.group_key(self.reactor),
            "error_type": failure.type,
            "error_message": failure.message,
            "traceback": failure.traceback,
            "attempts": attempts,
            "content_type": storable(self.message.content_type, _MOST_TYPE),
            "headers": headers_json(self.message.headers),
            "body": self.message.body,
            "received_at": received_at,
            "dead_at": now,
            "status": "dead",
            "settled_at": None,
            "settled_by": None,
            "reason": None,
        }
