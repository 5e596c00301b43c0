"""The bus with signatures: the one place that signs, and where each delivery is verified on arrival."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from bus.dead import DEAD_EXCHANGE, DEAD_HEADERS, DEAD_QUEUE, DEAD_ROUTING_KEY
from bus.port import Bus, Delivery, Message, Outgoing, Queue, QueueStats, Subscription
from bus.routing import misrouted
from bus.signer import Signer
from contracts.errors import (
    BusUnavailable,
    ContractError,
    ForgedMessage,
    MalformedMessage,
    PublishFailed,
)
from contracts.keyring import SigningKey
from contracts.signing import (
    ORIGIN_EXCHANGE,
    ORIGIN_ROUTING_KEY,
    Keys,
    Sealed,
    Verifier,
)

__all__ = ["Mode", "SignedBus", "Signing"]

log = structlog.get_logger(__name__)

Mode = Literal["permissive", "strict"]


@dataclass(frozen=True, slots=True)
class Signing:
    """With what to sign and to verify.

    ``signing_key`` gives the key of the moment, None where this process has none (then it publishes
    unsigned, which only ``permissive`` lets through). ``freshness``: see ``contracts.signing.Verifier``.
    """

    mode: Mode
    keys: Keys
    signing_key: Callable[[], SigningKey | None]
    freshness: float | None


class SignedBus:
    """A ``bus.port.Bus`` over another one: signs what goes out, verifies what comes in.

    To an exchange a message goes as said by this process; straight to a queue (DIRECT) it goes as a hop, by
    which this process vouches for what it got: a retry, a redrive, a release. ``strict``: what fails
    carries its refusal. ``permissive``: it is logged and counted in ``refused``, and let through.
    """

    def __init__(self, inner: Bus, signing: Signing, *, clock: Callable[[], float] = time.time) -> None:
        self.refused: Counter[str] = Counter()
        self._inner = inner
        self._signing = signing
        self._verifier = Verifier(signing.keys, misrouted=misrouted, freshness=signing.freshness, clock=clock)
        permit = self._verifier.permit if signing.mode == "strict" else None
        self._signer = Signer(signing.keys, permit=permit, clock=clock)

    async def start(self) -> None:
        """See ``bus.port.Bus``."""
        await self._inner.start()

    async def close(self) -> None:
        """See ``bus.port.Bus``."""
        await self._inner.close()

    async def declare(self, *queues: Queue) -> None:
        """See ``bus.port.Bus``."""
        await self._inner.declare(*queues)

    async def publish(self, *outgoing: Outgoing, timeout: float | None = None) -> None:
        """See ``bus.port.Bus``. Raises ForgedMessage when this process's key may not say that."""
        key = self._signing.signing_key()
        if key is not None:
            await self._inner.publish(*await self._signer.sign_together(outgoing, key), timeout=timeout)
        elif self._signing.mode == "strict":
            # Its key has expired or was revoked: unsigned it would only fill the quarantine of others.
            reason = "this process has no valid key to sign with; give it one: antiphon keys rotate"
            raise PublishFailed({index: BusUnavailable(reason) for index in range(len(outgoing))})
        else:
            await self._inner.publish(*outgoing, timeout=timeout)

    async def subscribe(self, queue: str, *, prefetch: int) -> Subscription:
        """See ``bus.port.Bus``."""
        return _SignedSubscription(await self._inner.subscribe(queue, prefetch=prefetch), self.verified)

    async def stats(self, queue: str) -> QueueStats:
        """See ``bus.port.Bus``."""
        return await self._inner.stats(queue)

    async def purge(self, queue: str) -> int:
        """See ``bus.port.Bus``."""
        return await self._inner.purge(queue)

    @property
    def state(self) -> str:
        """See ``bus.port.Bus``."""
        return self._inner.state

    def verified(self, delivery: Delivery) -> Delivery:
        """The delivery with its refusal, if there is one, and with the way it came in its headers."""
        message = delivery.message
        headers, exchange, key = message.headers, delivery.exchange, delivery.routing_key
        first = delivery.deliveries == 0
        if DEAD_QUEUE in headers and delivery.queue.endswith(".dead"):
            headers, exchange, key = _before_its_end(headers)
            first = False
        sealed = Sealed(headers, message.body, message.content_type, exchange, key)
        refusal = self._judge(delivery, sealed, first=first)
        if delivery.exchange:
            # So that a hop can keep how it came first. What stood there before was covered by the signature.
            way = {ORIGIN_EXCHANGE: delivery.exchange, ORIGIN_ROUTING_KEY: delivery.routing_key}
            headers = {**message.headers, **way}
            message = Message(message.id, message.body, message.content_type, headers, sealed.read)
        return Delivery(
            message,
            delivery.queue,
            delivery.exchange,
            delivery.routing_key,
            delivery.deliveries,
            delivery.token,
            refusal,
            delivery.user,
        )

    def _judge(self, delivery: Delivery, sealed: Sealed, *, first: bool) -> ContractError | None:
        try:
            self._verifier.verify(sealed, first=first)
        except MalformedMessage as error:
            return error
        except ForgedMessage as error:
            self.refused[error.code] += 1
            if self._signing.mode == "strict":
                return error
            log.warning(
                "message_let_through",
                reason=error.code,
                queue=delivery.queue,
                message=delivery.message.id,
                detail=str(error),
                so_far=self.refused.total(),
            )
        except Exception as error:  # one that can't be judged must not take those beside it down
            log.exception("message_not_judged", queue=delivery.queue, message=delivery.message.id)
            return MalformedMessage(f"it can't be judged: {type(error).__name__}: {error}")
        return None


def _before_its_end(headers: Mapping[str, str | int]) -> tuple[dict[str, str | int], str, str]:
    """Headers and way of a message before it was moved to its dead queue, where nobody signs."""
    before = {name: value for name, value in headers.items() if name not in DEAD_HEADERS}
    return before, str(headers.get(DEAD_EXCHANGE, "")), str(headers.get(DEAD_ROUTING_KEY, ""))


class _SignedSubscription:
    """A subscription whose deliveries are verified; below it they are settled as they came."""

    def __init__(self, inner: Subscription, verified: Callable[[Delivery], Delivery]) -> None:
        self._inner = inner
        self._verified = verified
        self._came: dict[Delivery, Delivery] = {}

    async def receive(self, most: int) -> list[Delivery]:
        came = await self._inner.receive(most)
        seen = [self._verified(delivery) for delivery in came]
        self._came.update(zip(seen, came, strict=True))
        return seen

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        await self._inner.ack(self._as_they_came(deliveries))

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._inner.release(self._as_they_came(deliveries))

    async def reject(self, deliveries: Sequence[Delivery]) -> None:
        await self._inner.reject(self._as_they_came(deliveries))

    async def close(self) -> None:
        self._came.clear()
        await self._inner.close()

    def _as_they_came(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return [self._came.pop(delivery, delivery) for delivery in deliveries]
