"""What was given up, by the broker or here: brought from the dead queue into quarantine, to be seen."""

from __future__ import annotations

from bus.dead import DEAD_QUEUE
from bus.port import Delivery
from contracts.errors import StoreUnavailable
from reactors.desk import Means
from reactors.intake import Accepted, Refused
from reactors.patience import patiently

__all__ = ["BurialDesk"]

_BY_BROKER = "the broker gave it up: delivered again and again, and never settled"
_BY_CONSUMER = "its consumer gave it up: handling it raised again and again; the log says what"


class BurialDesk:
    """Takes from ``<queue>.dead``. A message gets there after too many deliveries without an end."""

    def __init__(self, queue: str, types: frozenset[str], means: Means) -> None:
        self._queue = queue
        self._types = types
        self._means = means

    async def process(self, delivery: Delivery) -> None:
        """Keep one; it may be acked when this returns."""
        refused = self._refused(delivery)
        again = delivery.deliveries > 0
        await patiently(
            lambda: self._means.quarantine.put(self._queue, delivery.message, refused, redelivered=again),
            StoreUnavailable,
            what="quarantine",
            rng=self._means.rng,
        )

    def _refused(self, delivery: Delivery) -> Refused:
        detail = _BY_CONSUMER if DEAD_QUEUE in delivery.message.headers else _BY_BROKER
        try:
            admitted = self._means.intake.admit(delivery, self._types)
        except Exception as error:  # that may be why it is here
            return Refused("undeliverable", f"{detail}; reading it raised {type(error).__name__}: {error}")
        if isinstance(admitted, Accepted):
            return Refused("undeliverable", detail, admitted.event)
        return Refused("undeliverable", f"{detail}; {admitted.detail}", admitted.event)
