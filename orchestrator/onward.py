"""Sends on what a partition can't take: to its run's owner, or to its own queue for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from bus.port import Bus, Outgoing
from contracts.crash import reached
from contracts.errors import BusError, PublishFailed

__all__ = ["send_on"]

log = structlog.get_logger(__name__)

_RETRY_PAUSE = 0.25


async def send_on(bus: Bus, outgoing: Sequence[Outgoing], partition: int) -> None:
    """Publish these, and again for as long as the bus does not take them.

    Called between the commit of a batch and its acks. Nothing that the bus does may lead back to before the
    commit: to take a batch a second time would count the same lost process twice.
    """
    left = list(outgoing)
    while left:
        try:
            reached("orchestrator.onward.publish.before")
            await bus.publish(*left)
            reached("orchestrator.onward.publish.after")
            return
        except BusError as error:
            if isinstance(error, PublishFailed):
                left = [left[index] for index in sorted(error.errors)]
            log.warning("not_sent_on", partition=partition, messages=len(left), error=str(error))
            await asyncio.sleep(_RETRY_PAUSE)
