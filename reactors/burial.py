"""What the broker itself gave up: brought from the dead queue into quarantine, where it can be seen."""

from __future__ import annotations

from bus.port import Delivery
from contracts.errors import StoreUnavailable
from reactors.desk import Means
from reactors.intake import Accepted, Refused
from reactors.patience import patiently

__all__ = ["BurialDesk"]


class BurialDesk:
    """Takes from ``<queue>.dead``. A message gets there after too many deliveries without an end."""

    def __init__(self, queue: str, types: frozenset[str], means: Means) -> None:
        self._queue = queue
        self._types = types
        self._means = means

    async def process(self, delivery: Delivery) -> None:
        """Keep one; it may be acked when this returns."""
        admitted = self._means.intake.admit(delivery, self._types)
        detail = "the broker gave it up: delivered again and again, and never settled"
        if isinstance(admitted, Accepted):
            refused = Refused("undeliverable", detail, admitted.event)
        else:
            refused = Refused("undeliverable", f"{detail}; {admitted.detail}", admitted.event)
        again = delivery.deliveries > 0
        await patiently(
            lambda: self._means.quarantine.put(self._queue, delivery.message, refused, redelivered=again),
            StoreUnavailable,
            what="quarantine",
            rng=self._means.rng,
        )
