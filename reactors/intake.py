"""From bytes on a queue to an event that may be handled, or the reason why not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import orjson

from bus.envelope import event_of
from bus.port import Delivery
from contracts.envelope import Event
from contracts.errors import ContractViolation, ForgedMessage, MalformedMessage, UnknownContract
from contracts.record import record
from contracts.registry import Registry

__all__ = ["MOST_ATTRIBUTE", "MOST_BYTES", "Accepted", "Intake", "Refused"]

_KEYS = ("id", "source", "type", "workspace", "correlationid", "causationid")  # what is searched by
MOST_ATTRIBUTE = 512  # characters; what is searched by is indexed, and an index has its limits
MOST_BYTES = 1024  # of UTF-8: two of them and a name are one entry, of which PostgreSQL takes 2,704 bytes


@record
class Accepted:
    """Verified, on contract, and of a workspace."""

    event: Event


@dataclass(frozen=True, slots=True)
class Refused:
    """Not to be handled. ``reason`` is short and stable, ``event`` what could be read and trusted of it."""

    reason: str
    detail: str
    event: Event | None = None


class Intake:
    """Reads and validates what the bus has verified. Without workspace an event gets the default, if any."""

    def __init__(self, registry: Registry, *, default_workspace: str | None) -> None:
        self._registry = registry
        self._default_workspace = default_workspace

    def admit(self, delivery: Delivery, types: Collection[str]) -> Accepted | Refused:
        """Whether a message on a queue for these types may be handled. Never raises."""
        if isinstance(delivery.refusal, ForgedMessage):
            return Refused(delivery.refusal.code, str(delivery.refusal))
        try:
            event = event_of(delivery.message)
        except MalformedMessage as error:
            return Refused("malformed", str(error))
        unfit = _unfit(event)
        if unfit:
            return Refused("malformed", unfit)
        if not event.workspace:
            if self._default_workspace is None:
                return Refused(
                    "no-workspace",
                    "the event names no workspace and no default is configured; "
                    "send the CloudEvents extension 'workspace'",
                    event,
                )
            workspace = {"workspace": self._default_workspace}
            event = replace(event, extensions={**event.extensions, **workspace})
        target = self._registry.upcasters.nearest(event.type, types)
        if target is None:
            return Refused(
                "unexpected-type", f"this queue takes {', '.join(sorted(types))}, not {event.type}", event
            )
        accepted = self._validate(event)
        if target == event.type or isinstance(accepted, Refused):
            return accepted
        return self._carry_over(event, target)

    def _carry_over(self, event: Event, target: str) -> Accepted | Refused:
        """The event as one of a newer major; who sent it, and its id, stay."""
        try:
            upcasters = self._registry.upcasters
            data = upcasters.upcast(event.type, event.data, target, self._registry.validate_read)
        except (ContractViolation, UnknownContract) as error:
            return Refused("not-upcast", f"from {event.type} to {target}: {error}", event)
        except Exception as error:  # an upcaster is a user's code: what it raises is this message's trouble
            detail = f"the upcaster from {event.type} to {target} raised {type(error).__name__}: {error}"
            return Refused("not-upcast", detail, event)
        return Accepted(replace(event, type=target, body=orjson.dumps(data), dataschema=None))

    def _validate(self, event: Event) -> Accepted | Refused:
        try:
            self._registry.validate_read(event.type, event.data)
        except MalformedMessage as error:
            return Refused("malformed", str(error), event)
        except UnknownContract as error:
            return Refused("unknown-contract", str(error), event)
        except ContractViolation as error:
            return Refused("off-contract", str(error), event)
        return Accepted(event)


def _unfit(event: Event) -> str | None:
    """What of an event's attributes can be no key: CloudEvents 1.0.2 forbids control characters."""
    values = (
        event.id,
        event.source,
        event.type,
        event.workspace,
        event.correlation,
        event.causation or "",
    )
    text = "".join(values)
    if len(max(values, key=len)) <= MOST_ATTRIBUTE and text.isascii() and text.isprintable():
        return None
    for name, value in zip(_KEYS, values, strict=True):
        if len(value) > MOST_ATTRIBUTE:
            return f"attribute {name!r} is longer than {MOST_ATTRIBUTE} characters"
        if not value.isprintable():
            return f"attribute {name!r} holds characters that can't be printed"
        if len(value.encode()) > MOST_BYTES:
            return f"attribute {name!r} is longer than {MOST_BYTES} bytes"
    return None
