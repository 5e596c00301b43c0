"""Faults that people plant by mistake, each a broken promise that shows only when a process is killed."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import gateway.idempotency
from bus.envelope import publication
from contracts import crash
from orchestrator.journal import Journal, Post
from orchestrator.partition import Partition
from reactors.reacting import ReactorDesk

__all__ = ["SABOTAGE"]


def ack_on_arrival() -> None:
    """A partition acks what it has in memory only."""

    async def receive(self: Any, subscription: Any) -> None:
        most, room = self._shop.prefetch, self._shop.executor.room
        while deliveries := await subscription.receive(most):
            await subscription.ack(deliveries)
            await asyncio.sleep(0.05)  # until the bus has written it down
            # A signal: a reply that is lost like this is asked for again, and a start by who had no answer.
            if any(b'"name":"go"' in delivery.message.body for delivery in deliveries):
                await asyncio.sleep(0.5)  # until whoever sent it has heard that it was taken
                _kill_at("orchestrator.partition.commit.before")
            await self._inbox.deliver(deliveries, self.number, most=most, room=room)

    setattr(Partition, "_receive", receive)  # noqa: B010


def forget_the_outbox() -> None:
    """A new owner does not look for what the last one committed and did not publish."""

    async def outbox(self: Any, partition: int) -> list[Post]:
        return []

    setattr(Journal, "outbox", outbox)  # noqa: B010


def start_before_the_commit() -> None:
    """A step begins while the one before it is not durable yet."""
    decide, commit = Partition._decide, Partition._commit

    def decide_and_start(self: Any, batch: Any, *others: Any) -> Any:
        later = decide(self, batch, *others)
        for run, flow, order in batch.dispatches:
            self._shop.executor.dispatch(run, flow, order, self.report)
            if order.node == "tag":
                _kill_at("orchestrator.partition.commit.before")
        batch.dispatches.clear()
        return later

    async def commit_late(self: Any, *about: Any) -> None:
        await asyncio.sleep(0.01)
        await commit(self, *about)

    setattr(Partition, "_decide", decide_and_start)  # noqa: B010
    setattr(Partition, "_commit", commit_late)  # noqa: B010


def settle_before_it_is_emitted() -> None:
    """A reaction is done, says its inbox, and only then is what it emitted published."""
    settle = ReactorDesk._settle_done

    async def kept(self: Any, events: Any) -> Any:
        return [(event, True) for event in events]

    async def settle_first(self: Any, claim: Any, claimed: Any, tried: Any) -> Any:
        if b"good-1" in claim.letter.event.body:
            _kill_at("reactors.reacting.settle.after")
        failure = await settle(self, claim, claimed, tried)
        for event, _ in tried.emitted:
            await self.means.bus.publish(publication(event))
        return failure

    setattr(ReactorDesk, "_publish", kept)  # noqa: B010
    setattr(ReactorDesk, "_settle_done", settle_first)  # noqa: B010


def make_ids_up() -> None:
    """The gateway sends a repeated request under another id."""
    setattr(gateway.idempotency, "derive_id", lambda *_: secrets.token_hex(16))  # noqa: B010


def _kill_at(point: str) -> None:
    """The next time, where a life is armed at all: what is at work now is what the fault is about."""
    if crash._armed:
        crash.arm(point)


SABOTAGE = {
    work.__name__: work
    for work in (
        ack_on_arrival,
        forget_the_outbox,
        start_before_the_commit,
        settle_before_it_is_emitted,
        make_ids_up,
    )
}
