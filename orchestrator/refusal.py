"""What the orchestrator does not take of its queues, as the quarantine keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bus.port import Delivery
from contracts.errors import ContractError, ContractViolation, ForgedMessage, UnknownContract
from store.quarantine import quarantined

__all__ = ["NotUpcast", "refusal"]


class NotUpcast(ContractError):
    """Raised when an event can't be carried over to the major that a flow reads."""


_REASONS: Mapping[type[ContractError], str] = {
    UnknownContract: "unknown-contract",
    ContractViolation: "off-contract",
    NotUpcast: "not-upcast",
}


def refusal(delivery: Delivery, error: ContractError, now: float, *, workspace: str) -> dict[str, Any]:
    """The row of ``quarantine`` of a delivery, with what there is against it."""
    message = delivery.message
    return quarantined(
        queue=delivery.queue,
        reason=error.code if isinstance(error, ForgedMessage) else _REASONS.get(type(error), "malformed"),
        detail=str(error),
        workspace=workspace,
        message_id=message.id,
        content_type=message.content_type,
        headers=message.headers,
        body=message.body,
        at=now,
        redelivered=delivery.deliveries > 0,
    )
