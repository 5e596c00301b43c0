"""What happens to one message: admit, claim, attempt, settle. Reactors and services differ in the rest."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from bus.port import DIRECT, Bus, Delivery, Message, Outgoing
from bus.routing import LONGEST_DELAY
from contracts.crash import reached
from contracts.envelope import Event
from contracts.errors import BusError, StoreUnavailable
from contracts.registry import Registry
from reactors.claims import Claim, Claimed, Crashed, Held, Key, Settled, Suspected, Undone, Verdict
from reactors.feed import Feed
from reactors.inbox import HOLD, Inbox
from reactors.intake import Intake, Refused
from reactors.letter import ATTEMPT_HEADER, REDRIVE_HEADER, Letter
from reactors.patience import patiently
from reactors.quarantine import Quarantine
from reactors.settlements import Settlement

__all__ = ["RETURN_TIMEOUT", "Desk", "Means", "number_in"]

_Attempt = Callable[[Claim, Claimed], Awaitable[None]]

RETURN_TIMEOUT = 2.0  # seconds to give a claim back while stopping
_MOST_REDRIVES = 1_000_000  # what a message says is bounded by what a column holds


@dataclass(frozen=True, slots=True)
class Means:
    """What every desk of a process works with."""

    bus: Bus
    inbox: Inbox
    intake: Intake
    quarantine: Quarantine
    feed: Feed
    registry: Registry
    source: str
    clock: Callable[[], float]
    rng: Callable[[], float]


class Desk(ABC):
    """Handles the messages of one queue; ``name`` stands for it in the inbox."""

    def __init__(self, name: str, queue: str, types: Collection[str], means: Means) -> None:
        self.name = name
        self.queue = queue
        self.types = frozenset(types)
        self.means = means
        self.log = structlog.get_logger("antiphon.reactors").bind(reactor=name)
        self._in_hand: set[Key] = set()
        self._suspects = asyncio.Lock()

    async def process(self, delivery: Delivery) -> None:
        """Bring one message to its end; it may be acked when this returns.

        Waits out a store or a bus that is away. Cancelled, it gives the claim back.
        """
        delivery = _as_far_as_believed(delivery)
        admitted = self.means.intake.admit(delivery, self.types)
        if isinstance(admitted, Refused):
            await self.refuse(delivery, admitted)
            return
        objection = self.object_to(admitted.event)
        if objection is not None:
            await self.refuse(delivery, objection)
            return
        key = Key(self.name, admitted.event.source, admitted.event.id)
        if key in self._in_hand:
            await self._look_again(delivery, HOLD)
            return
        self._in_hand.add(key)
        try:
            letter = Letter(self.name, self.queue, admitted.event, delivery.message)
            claim = Claim(key, letter, self.redrive(letter), undoes=self.undoes(admitted.event))
            await self.handle(delivery, claim)
        finally:
            self._in_hand.discard(key)

    async def handle(self, delivery: Delivery, claim: Claim) -> None:
        """Bring what may be handled to its end."""
        await self.claimed(delivery, claim, self.attempt)

    async def claimed(self, delivery: Delivery, claim: Claim, attempt: _Attempt) -> None:
        """Claim it, and do as the inbox says: ``attempt`` it where that says so."""
        verdict = await self._claim(claim)
        if isinstance(verdict, Suspected):
            # What has crashed workers before is tried with no other suspect beside it, so that of
            # those that died together only the guilty one goes on counting.
            async with self._suspects:
                alone = replace(claim, alone=True)
                await self._follow(delivery, alone, await self._claim(alone), attempt)
        else:
            await self._follow(delivery, claim, verdict, attempt)

    async def _follow(self, delivery: Delivery, claim: Claim, verdict: Verdict, attempt: _Attempt) -> None:
        event = claim.letter.event
        match verdict:
            case Claimed():
                try:
                    await attempt(claim, verdict)
                except asyncio.CancelledError:
                    await self._give_back(claim, verdict)
                    raise
            case Settled():
                await self.settled_before(claim, verdict)
            case Held(seconds):
                await self._look_again(delivery, seconds)
            case Crashed(crashes):
                self.tell_crashed(event, crashes)
                await self.settled_before(claim, Settled("dead", None))
            case Suspected():
                raise TypeError("a claim that stands alone is never suspected")

    @abstractmethod
    async def attempt(self, claim: Claim, claimed: Claimed) -> None:
        """Handle it and settle."""

    @abstractmethod
    async def settled_before(self, claim: Claim, settled: Settled) -> None:
        """It is a repeat of what has ended."""

    def object_to(self, event: Event) -> Refused | None:
        """What else stands against handling this event; nothing, unless a desk says so."""
        return None

    def undoes(self, event: Event) -> Undone | None:
        """What must not be done any more once this is; nothing, unless a desk says so."""
        return None

    def redrive(self, letter: Letter) -> int:
        """The number of the redrive that sent this message; 0 for none."""
        return number_in(letter.message.headers.get(REDRIVE_HEADER))

    async def refuse(self, delivery: Delivery, refused: Refused) -> None:
        """Keep in quarantine what may not be handled."""
        await self.quarantine(delivery.message, refused, redelivered=delivery.deliveries > 0)

    async def quarantine(self, message: Message, refused: Refused, *, redelivered: bool = False) -> None:
        """Keep a message with the reason why it was not handled, however long the store takes."""
        keep = partial(self.means.quarantine.put, self.queue, message, refused, redelivered=redelivered)
        await self.waiting_for_store(keep, "quarantine")

    async def settle(self, settlement: Settlement) -> bool:
        """Settle, however long the store takes. False when another process has it now."""
        inbox = self.means.inbox  # by another name: tests tell it from the first try
        try:
            reached("reactors.desk.settle.before")
            kept = await self.means.inbox.settle(settlement)
            reached("reactors.desk.settle.after")
        except StoreUnavailable:
            kept = await self.waiting_for_store(lambda: inbox.settle(settlement), "settle")
        if not kept:
            self.log.warning(
                "claim lost: the attempt took longer than this process was seen alive; not settled",
                event_id=settlement.key.event_id,
            )
        return kept

    async def send_back(self, message: Message, *, delay: float, attempt: int | None = None) -> None:
        """Put a copy on the own queue; returns when it is confirmed, however long that takes.

        ``attempt`` is the one that it comes for, where that is known; that it came before it says anyway. One
        that comes too early, since no message can wait for so long, is sent back again.
        """
        headers = {ATTEMPT_HEADER: 1, **message.headers}
        if attempt is not None:
            headers[ATTEMPT_HEADER] = attempt
        out = Outgoing(replace(message, headers=headers), self.queue, DIRECT, delay=min(delay, LONGEST_DELAY))
        reached("reactors.desk.send_back.before")
        await patiently(lambda: self.means.bus.publish(out), BusError, what="send back", rng=self.means.rng)
        reached("reactors.desk.send_back.after")

    async def waiting_for_store(self, call: Callable[[], Any], what: str) -> Any:
        """The result of a call to the store, once it answers."""
        return await patiently(call, StoreUnavailable, what=what, rng=self.means.rng)

    def tell(self, event: Event, status: str, *, attempt: int, error: str | None = None) -> None:
        """Tell the live feed how a reaction stands."""
        entry: dict[str, Any] = {
            "kind": "reaction",
            "reactor": self.name,
            "status": status,
            "attempt": attempt,
            "event_id": event.id,
            "type": event.type,
            "correlation": event.correlation,
            "at": self.means.clock(),
        }
        if error is not None:
            entry["error"] = error
        self.means.feed.tell(event.workspace, entry)

    def tell_crashed(self, event: Event, crashes: int) -> None:
        """Log, and tell the live feed, that it is a dead letter now for what it does to its workers."""
        self.log.error("reaction dead: it crashed its worker", event_id=event.id, crashes=crashes)
        self.tell(event, "dead", attempt=crashes, error="crashed its worker")

    async def _claim(self, claim: Claim) -> Verdict:
        inbox, time = self.means.inbox, asyncio.get_running_loop().time
        asked = time()
        try:
            return await inbox.claim(claim)
        except StoreUnavailable:
            verdict: Verdict = await self.waiting_for_store(
                lambda: inbox.claim(claim.later(time() - asked)), "claim"
            )
            return verdict

    async def _look_again(self, delivery: Delivery, seconds: float) -> None:
        await self.send_back(delivery.message, delay=seconds)

    async def _give_back(self, claim: Claim, claimed: Claimed) -> None:
        """Stopping: the next owner need not wait until this process is taken for dead."""
        settlement = Settlement(claim.key, claimed, claim.letter, "returned")
        try:
            async with asyncio.timeout(RETURN_TIMEOUT):
                reached("reactors.desk.give_back.before")
                await self.means.inbox.settle(settlement)
                reached("reactors.desk.give_back.after")
        except (TimeoutError, StoreUnavailable) as error:
            self.log.warning("claim not given back; it lapses with this process", error=str(error))


def _as_far_as_believed(delivery: Delivery) -> Delivery:
    """Without what only who puts messages straight on a queue may say: that an operator sends it again.

    It is taken off, so that no retry, which comes straight, says it for a source.
    """
    headers = delivery.message.headers
    if delivery.exchange == DIRECT or REDRIVE_HEADER not in headers:
        return delivery
    believed = {name: value for name, value in headers.items() if name != REDRIVE_HEADER}
    return replace(delivery, message=replace(delivery.message, headers=believed))


def number_in(value: str | int | None) -> int:
    """A count that a message says; 0 where it says none, or nonsense."""
    try:
        return min(max(0, int(value or 0)), _MOST_REDRIVES)
    except ValueError:
        return 0
