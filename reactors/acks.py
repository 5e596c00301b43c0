"""Acks, gathered: what is settled in one turn of the event loop is acked in one call."""

from __future__ import annotations

import asyncio

import structlog

from bus.port import Delivery, Subscription
from contracts.crash import reached
from contracts.errors import BusError

__all__ = ["Acks"]


class Acks:
    """Collects the deliveries of one subscription that are done."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._done: list[Delivery] = []
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("antiphon.reactors")

    def add(self, delivery: Delivery) -> None:
        """This one is done; it is acked soon."""
        self._done.append(delivery)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send(), name=f"antiphon-acks-{delivery.queue}")

    async def flush(self) -> None:
        """Return when everything added was acked."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def _send(self) -> None:
        while self._done:
            batch, self._done = self._done, []
            try:
                reached("reactors.acks.ack.before")
                await self._subscription.ack(batch)
                reached("reactors.acks.ack.after")
            except BusError as error:
                # The broker delivers them again, and the inbox stops them: they are settled.
                self._log.info("ack not taken; the repeats will be recognised", error=str(error))
