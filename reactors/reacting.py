"""How a reactor handles a message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import structlog

from bus.envelope import publication
from bus.port import Delivery
from bus.routing import LONGEST_DELAY
from contracts.crash import reached
from contracts.envelope import Event
from contracts.errors import (
    BusError,
    ConfigurationError,
    ContractError,
    PublishFailed,
    StoreUnavailable,
    Unroutable,
)
from reactors.attempt import attempt
from reactors.claims import Claim, Claimed, Crashed, Settled, Verdict
from reactors.company import Company
from reactors.context import ReactionContext, Work
from reactors.desk import RETURN_TIMEOUT, Desk, Means
from reactors.failure import Failure
from reactors.late_claims import LateClaims
from reactors.reactor import Reactor
from reactors.settlements import Settlement
from reactors.unclaimed import Done

__all__ = ["ReactorDesk"]

# Seconds for which records of what is done wait for others (as acks do, which come after them), as long as
# they leave most of the concurrency to new messages.
_GATHER = 0.02
_OF_CONCURRENCY = 4

# Seconds after which an idempotent handler is claimed while it is at work: from then on it is seen, its
# message waits where it is handed out again, and when it takes its worker down that counts.
_CLAIM_AFTER = 1.0


class _Tried(NamedTuple):
    """What a handler asked for; ``emitted`` is published, each with whether anybody listens."""

    works: Sequence[Work]
    emitted: Sequence[tuple[Event, bool]]


class ReactorDesk(Desk):
    """Attempts, retries by the reactor's policy, and settles as done or dead."""

    def __init__(self, reactor: Reactor, means: Means) -> None:
        super().__init__(reactor.name, reactor.queue().name, reactor.types, means)
        self._reactor = reactor
        self._unheard: set[str] = set()
        self._late = LateClaims(self._claim, _CLAIM_AFTER)
        self._company = Company(max(1, reactor.concurrency // _OF_CONCURRENCY), _GATHER)

    async def handle(self, delivery: Delivery, claim: Claim) -> None:
        """An idempotent handler does not wait for a claim to what comes for the first time.

        What was handed out before may have taken its worker down, and is claimed: claims count that.
        """
        if not self._reactor.idempotent or delivery.deliveries or claim.came_before:
            await super().handle(delivery, claim)
            return
        time = asyncio.get_running_loop().time
        began = time()
        tried, verdict = await self._try_unclaimed(claim)
        if isinstance(verdict, Crashed):
            self.tell_crashed(claim.letter.event, verdict.crashes)
        elif isinstance(verdict, Claimed):
            await self._follow(delivery, claim, verdict, partial(self._end, tried=tried))
            return
        recorded: bool | Failure = (
            tried if isinstance(tried, Failure) else await self._record(claim, tried, began)
        )
        if isinstance(recorded, Failure):
            # Nothing is known of it yet: the claim says which attempt it was that failed.
            begun = replace(claim, began=time() - began)
            await self.claimed(delivery, begun, partial(self._failed, failure=recorded))
        elif not recorded:
            await super().handle(delivery, claim)  # it came before: the inbox knows how that stands

    async def attempt(self, claim: Claim, claimed: Claimed) -> None:
        await self._end(claim, claimed, tried=await self._try(claim.letter.event, claimed.attempt))

    async def _end(self, claim: Claim, claimed: Claimed, *, tried: _Tried | Failure) -> None:
        failure = tried if isinstance(tried, Failure) else await self._settle_done(claim, claimed, tried)
        if failure is not None:
            await self._failed(claim, claimed, failure=failure)

    async def _try_unclaimed(self, claim: Claim) -> tuple[_Tried | Failure, Verdict | None]:
        """Run the handler; also what the inbox says of it, where it took so long that it was asked."""
        late: asyncio.Task[Verdict] | None = None
        self._late.begin(claim)
        try:
            try:
                tried = await self._try(claim.letter.event, 1)
            finally:
                late = self._late.end(claim)
            return tried, await asyncio.shield(late) if late else None
        except BaseException:  # stopping, or a bug: in both cases the message comes again
            if late is not None:
                await self._give_back_late(claim, late)
            raise

    async def _give_back_late(self, claim: Claim, late: asyncio.Task[Verdict]) -> None:
        try:
            async with asyncio.timeout(RETURN_TIMEOUT):
                verdict = await late
        except Exception as error:  # whatever it is, the message comes again
            self.log.warning("claim not given back; it lapses with this process", error=repr(error))
            return
        if isinstance(verdict, Claimed):
            await self._give_back(claim, verdict)

    async def settled_before(self, claim: Claim, settled: Settled) -> None:
        self.log.debug("repeat of a settled reaction", event_id=claim.key.event_id, status=settled.status)

    async def _try(self, event: Event, number: int) -> _Tried | Failure:
        """Run the handler and publish what it emitted."""
        context = ReactionContext(
            event,
            reactor=self.name,
            attempt=number,
            registry=self.means.registry,
            source=f"{self.means.source}/reactors/{self.name}",
            clock=self.means.clock,
            transactional=self._reactor.transactional,
            emits=self._reactor.emits,
        )
        result = await attempt(
            self._call(event, context), timeout=self._reactor.timeout, name=f"reactor {self.name}"
        )
        emitted, works = context.close()
        if isinstance(result, Failure):
            return result
        # Published before the settling commit: when this process dies in between, the message comes
        # again and the same events go out under the same ids. The other way round they would be lost,
        # for the inbox stops the repeat.
        published = await self._publish(emitted) if emitted else []
        return published if isinstance(published, Failure) else _Tried(works, published)

    async def _call(self, event: Event, context: ReactionContext) -> object:
        # In the handler's own task: its log lines carry these, and nobody else's do.
        structlog.contextvars.bind_contextvars(
            workspace=event.workspace,
            correlation=event.correlation,
            reactor=self.name,
            event_id=event.id,
            attempt=context.attempt,
        )
        reached("reactors.reacting.handle.before")
        result = await self._reactor.handler(event, context)
        reached("reactors.reacting.handle.after")
        return result

    async def _publish(self, events: list[Event]) -> list[tuple[Event, bool]] | Failure:
        """Each event with whether anybody listens to it."""
        errors: dict[int, BusError] = {}
        if events:
            try:
                reached("reactors.reacting.emit.before")
                await self.means.bus.publish(*[publication(event) for event in events])
                reached("reactors.reacting.emit.after")
            except PublishFailed as failed:
                errors = failed.errors
                others = [error for error in errors.values() if not isinstance(error, Unroutable)]
                if others:
                    return Failure.of(others[0])
            except (BusError, ContractError, ConfigurationError) as error:
                # This process's key may not say it, or no broker could carry it: nor at the next attempt.
                return Failure.of(error)
        for index in errors:
            self._nobody_listens(events[index].type)
        return [(event, index not in errors) for index, event in enumerate(events)]

    def _nobody_listens(self, type: str) -> None:
        # An event may have no audience (choreography does not know its own): recorded, no failure.
        if type not in self._unheard:
            self._unheard.add(type)
            self.log.warning("nobody listens to an emitted event; said once for its type", type=type)

    async def _settle_done(self, claim: Claim, claimed: Claimed, tried: _Tried) -> Failure | None:
        done = Settlement(claim.key, claimed, claim.letter, "done", works=tried.works, emitted=tried.emitted)
        try:
            reached("reactors.reacting.settle.before")
            kept = await self.settle(done)
            reached("reactors.reacting.settle.after")
        except Exception as error:  # the handler's own SQL, which may fail in any way; nothing was kept
            return Failure.of(error)
        if kept:
            self._tell_done(claim.letter.event, claimed.attempt, tried)
        return None

    async def _record(self, claim: Claim, tried: _Tried, began: float) -> bool | Failure:
        """Record what was done without a claim; False when it is a repeat."""
        time = asyncio.get_running_loop().time
        ended = time()
        await self._company.wait()

        def record() -> Awaitable[bool]:
            now = time()
            return self.means.inbox.record(Done(claim, now - began, now - ended, tried.works, tried.emitted))

        try:
            try:
                recorded = await record()
            except StoreUnavailable:
                recorded = await self.waiting_for_store(record, "record")
        except Exception as error:  # the handler's own SQL
            return Failure.of(error)
        if recorded:
            self._tell_done(claim.letter.event, 1, tried)
        return recorded

    async def _failed(self, claim: Claim, claimed: Claimed, *, failure: Failure) -> None:
        event = claim.letter.event
        gives_up = failure.terminal or self._reactor.retry.gives_up(claimed.attempt)
        status = "dead" if gives_up else "retrying"
        delay = 0.0 if gives_up else self._delay(claimed.attempt, failure)
        self.log.log(
            _ERROR if gives_up else _WARNING,
            f"reaction {status}",
            event_id=event.id,
            type=event.type,
            workspace=event.workspace,
            correlation=event.correlation,
            attempt=claimed.attempt,
            retry_in=None if gives_up else round(delay, 3),
            error=f"{failure.type}: {failure.message}",
        )
        settlement = Settlement(
            claim.key, claimed, claim.letter, "dead" if gives_up else "retrying", failure=failure, delay=delay
        )
        reached("reactors.reacting.fail.before")
        kept = await self.settle(settlement)
        reached("reactors.reacting.fail.after")
        if not kept:
            return
        self.tell(event, status, attempt=claimed.attempt, error=failure.message[:400])
        if not gives_up:
            # Confirmed before the ack (traps.md, bus 13): a crash in between makes a second copy, which
            # the inbox holds back; the other order would lose the retry.
            await self.send_back(claim.letter.message, delay=delay, attempt=claimed.attempt + 1)

    def _delay(self, attempt: int, failure: Failure) -> float:
        retry = self._reactor.retry
        if failure.retry_after is None:
            return retry.delay(attempt, self.means.rng)
        # Not earlier than the other side asked for, unless that is longer than a message can wait; spread, so
        # that the refused don't return together.
        asked = max(0.0, failure.retry_after) * (1 + retry.jitter * self.means.rng())
        return min(asked, LONGEST_DELAY)

    def _tell_done(self, event: Event, attempt: int, tried: _Tried) -> None:
        self.tell(event, "done", attempt=attempt)
        for emitted, _ in tried.emitted:
            self._tell_event(emitted)

    def _tell_event(self, event: Event) -> None:
        self.means.feed.tell(
            event.workspace,
            {
                "kind": "event",
                "type": event.type,
                "event_id": event.id,
                "source": event.source,
                "correlation": event.correlation,
                "causation": event.causation,
                "at": self.means.clock(),
            },
        )


_ERROR, _WARNING = 40, 30  # logging's levels
