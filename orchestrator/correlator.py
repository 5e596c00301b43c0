"""Brings events of the choreographed half to the runs that wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from bus.envelope import event_of
from bus.port import EVENTS, Binding, Bus, Delivery, Outgoing, Queue, Subscription
from contracts.crash import reached
from contracts.envelope import Event
from contracts.errors import (
    BusError,
    ContractError,
    MalformedMessage,
    StoreError,
)
from orchestrator import wire
from orchestrator.catalog import Catalog
from orchestrator.flow import run_id_of
from orchestrator.refusal import NotUpcast, refusal
from store.database import Database
from store.quarantine import hold

__all__ = ["Correlator", "event_queues"]

log = structlog.get_logger(__name__)

_QUEUE = "orchestrator.events"
_PREFETCH = 200
_PAUSE = 0.5


def event_queues(catalog: Catalog) -> list[Queue]:
    """The queue of the events that flows wait for, bound to each type that they take; none if none wait."""
    awaited = catalog.awaited()
    if not awaited:
        return []
    return [Queue(_QUEUE, tuple(Binding(EVENTS, type) for type in sorted(awaited)))]


class Correlator:
    """Competes with those of the other orchestrators for one queue.

    An event goes to the partition of each run that its key names, whether there is such a run yet or
    not: the partition keeps what comes too early. One of an older major is carried over to what the flow
    reads. What is off contract, or can't be carried over, is quarantined.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        bus: Bus,
        database: Database,
        check: Callable[[str, Any], None],
        partitions: int,
        clock: Callable[[], float],
        default_workspace: str | None,
    ) -> None:
        self._awaited = catalog.awaited()
        self._upcasters = catalog.upcasters
        self._bus = bus
        self._database = database
        self._check = check
        self._partitions = partitions
        self._clock = clock
        self._default_workspace = default_workspace
        self._subscription: Subscription | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read."""
        if self._awaited:
            self._subscription = await self._bus.subscribe(_QUEUE, prefetch=_PREFETCH)
            self._task = asyncio.create_task(self._run(self._subscription))

    async def stop(self) -> None:
        """Give back what is in hand, and end."""
        if self._subscription is not None:
            await self._subscription.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, subscription: Subscription) -> None:
        while deliveries := await subscription.receive(_PREFETCH):
            try:
                await self._forward(deliveries)
                reached("orchestrator.correlator.ack.before")
                await subscription.ack(deliveries)
                reached("orchestrator.correlator.ack.after")
            except (BusError, StoreError) as error:
                log.warning("events_postponed", size=len(deliveries), error=str(error))
                await asyncio.sleep(_PAUSE)
                await subscription.release(deliveries)
            except Exception:  # the loop must go on; the messages come again and are counted
                log.exception("events_failed", size=len(deliveries))
                await asyncio.sleep(_PAUSE)
                await subscription.release(deliveries)

    async def _forward(self, deliveries: Sequence[Delivery]) -> None:
        outgoing: list[Outgoing] = []
        refused: list[dict[str, Any]] = []
        for delivery in deliveries:
            event: Event | None = None
            try:
                if delivery.refusal is not None:
                    raise delivery.refusal
                event = event_of(delivery.message)
                messages, trouble = self._addressed(event)
                outgoing.extend(messages)
                if trouble is not None:
                    raise trouble
            except ContractError as error:
                log.warning("event_quarantined", message=delivery.message.id, error=str(error))
                refused.append(self._refusal(delivery, event, error))
            except Exception as error:  # those beside it go on
                log.exception("event_not_read", message=delivery.message.id)
                unread = MalformedMessage(f"it can't be read: {type(error).__name__}: {error}")
                refused.append(self._refusal(delivery, event, unread))
        if refused:
            reached("orchestrator.correlator.refuse.before")
            await self._database.write(lambda connection: hold(connection, refused))
            reached("orchestrator.correlator.refuse.after")
        if outgoing:
            reached("orchestrator.correlator.forward.before")
            await self._bus.publish(*outgoing)
            reached("orchestrator.correlator.forward.after")

    def _refusal(self, delivery: Delivery, event: Event | None, error: ContractError) -> dict[str, Any]:
        workspace = event.workspace if event else ""
        return refusal(delivery, error, self._clock(), workspace=workspace)

    def _addressed(self, event: Event) -> tuple[list[Outgoing], NotUpcast | None]:
        """What goes to runs, and why some can't be told. Raises ContractError for what is for none."""
        workspace = event.workspace or self._default_workspace
        if not workspace:
            raise MalformedMessage("the event names no workspace, and none is set for events from outside")
        self._check(event.type, event.data)
        messages = []
        awaited = self._awaited.get(event.type, ())
        readings, trouble = self._readings(event, {type for _, type, _ in awaited})
        for flow, type, field in awaited:
            data = readings.get(type)
            key = data.get(field) if isinstance(data, dict) else None
            if not isinstance(key, str | int) or isinstance(key, bool):
                continue  # it may still be for another flow, which knows its runs by another field
            run_id = run_id_of(workspace, flow, str(key))
            partition = wire.partition_of(run_id, self._partitions)
            messages.append(wire.correlated(event, workspace, run_id, partition, self._clock(), type, data))
        if awaited and not messages and trouble is None:
            fields = ", ".join(f"{field!r} (flow {flow!r})" for flow, _, field in awaited)
            raise MalformedMessage(
                f"{event.type} is correlated by {fields}: a text or a whole number, and none of them is there"
            )
        return messages, trouble

    def _readings(self, event: Event, types: set[str]) -> tuple[dict[str, Any], NotUpcast | None]:
        """The data as each of the types; and the last trouble with one, which is not the others' trouble."""
        found: dict[str, Any] = {}
        trouble = None
        for target in sorted(types):
            try:
                found[target] = self._upcasters.upcast(event.type, event.data, target, self._check)
            except Exception as error:  # an upcaster is a user's code: what it raises is this event's trouble
                trouble = NotUpcast(f"from {event.type} to {target}: {type(error).__name__}: {error}")
        return found, trouble
