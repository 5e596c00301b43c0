"""Signatures over every adapter: what comes in is judged, what goes out is signed or refused here."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.envelope import event_of
from bus.port import DIRECT, EVENTS, Binding, Bus, Delivery, Message, Outgoing, Queue, Subscription
from bus.signed import Mode, SignedBus, Signing
from bus.signer import Signer
from contracts.envelope import Event
from contracts.errors import BusUnavailable, ForgedMessage, MalformedMessage, PublishFailed
from contracts.keyring import Key, Keyring, Rights, SigningKey
from contracts.signing import KID, ORIGIN_KID, ORIGIN_ROUTING_KEY, SIGNATURE, Sealed, Verifier
from tests.bus.helpers import gather

RIDES = SigningKey("rides/1", "ed25519", bytes(range(32)))
MAIL = SigningKey("mail/1", "ed25519", bytes(32))
TYPE = "ride.booked.v1"
QUEUE = "reactor.mail"


class Ring:
    """Two services: one says what rides say, one may put again what waits on a queue."""

    def __init__(self) -> None:
        rides = Rights.of(sources=["/rides"], types=["ride.**"], exchanges=[EVENTS])
        mail = Rights.of(hops=[QUEUE])
        self.keys = Keyring(
            [
                Key("rides/1", "ed25519", RIDES.public(), rides, not_before=0),
                Key("mail/1", "ed25519", MAIL.public(), mail, not_before=0),
            ]
        )

    def keyring(self) -> Keyring:
        return self.keys

    look_again = keyring


def over(
    bus: Bus, key: SigningKey | None, mode: Mode = "strict", freshness: float | None = 60.0
) -> SignedBus:
    return SignedBus(bus, Signing(mode, Ring(), lambda: key, freshness))


def booked(id: str = "e-1", **changes: str) -> Outgoing:
    values = {"source": "/rides", "type": TYPE, **changes}
    event = Event.create(values["type"], {"n": 1}, id=id, source=values["source"], at=1.0, workspace="acme")
    message = Message(event.id, event.body, event.datacontenttype, event.headers())
    return Outgoing(message, event.type, EVENTS)


async def opened(bus: Bus) -> Subscription:
    await bus.declare(Queue(QUEUE, (Binding(EVENTS, TYPE),)))
    return await bus.subscribe(QUEUE, prefetch=30)


async def one(subscription: Subscription) -> Delivery:
    (delivery,) = await gather(subscription, 1, ack=False)
    return delivery


async def test_a_signed_message_arrives_without_a_refusal_and_can_be_settled(bus: Bus) -> None:
    """Acked it is gone, released it comes again, rejected it is in the dead queue and still verifiable."""
    rides, mail = over(bus, RIDES), over(bus, MAIL)
    subscription = await opened(mail)
    await rides.publish(booked())
    delivery = await one(subscription)
    assert (delivery.refusal, delivery.message.headers[KID]) == (None, "rides/1")
    await subscription.release([delivery])
    again = await one(subscription)
    assert (again.refusal, again.deliveries) == (None, 1)
    await subscription.reject([again])
    dead = await mail.subscribe(f"{QUEUE}.dead", prefetch=10)
    buried = await one(dead)
    assert buried.refusal is None
    await dead.ack([buried])


async def test_what_is_published_in_one_moment_shares_a_signature(bus: Bus) -> None:
    """Whoever publishes it; what is wrong with one message is said to whoever publishes that one."""
    rides, mail = over(bus, RIDES), over(bus, MAIL)
    subscription = await opened(mail)
    forged = [asyncio.create_task(rides.publish(booked("e-f", source="/payments")))]
    good = [asyncio.create_task(rides.publish(booked(f"e-{n}"), booked(f"e-{n}b"))) for n in range(15)]
    given_up = asyncio.create_task(rides.publish(booked("e-never")))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(*good)
    with pytest.raises(ForgedMessage):
        await asyncio.gather(*forged)
    with pytest.raises(asyncio.CancelledError):
        await given_up
    found = await gather(subscription, 30)
    assert {d.message.id for d in found} == {f"e-{n}{more}" for n in range(15) for more in ("", "b")}
    assert [d.refusal for d in found] == [None] * 30
    assert len({base64.b64decode(str(d.message.headers[SIGNATURE]))[:64] for d in found}) == 1
    await rides.publish(booked("e-later"))
    (later,) = await gather(subscription, 1)
    assert len(base64.b64decode(str(later.message.headers[SIGNATURE]))) == 64


async def test_a_key_that_can_not_sign_is_told_to_everybody_who_waits(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hangs, and the next moment is another."""
    rides, mail = over(bus, RIDES), over(bus, MAIL)
    subscription = await opened(mail)
    broken = replace(RIDES)
    odd = SignedBus(bus, Signing("strict", Ring(), lambda: broken, 60.0))
    monkeypatch.setitem(broken.__dict__, "_sign", lambda statements: 1 / 0)
    tasks = [
        asyncio.create_task(house.publish(booked(f"e-{n}"))) for n, house in enumerate((odd, odd, rides))
    ]
    async with asyncio.timeout(20):
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found] == [ZeroDivisionError, ZeroDivisionError, type(None)]
    del broken.__dict__["_sign"]
    await odd.publish(booked("e-3"))
    await odd.publish()
    assert {d.message.id for d in await gather(subscription, 2)} == {"e-2", "e-3"}


async def test_a_key_that_follows_another_signs_what_comes_after_it(bus: Bus) -> None:
    """Also in the same moment: each message has the signature of the key that it names."""
    keys = [RIDES, SigningKey("rides/2", "ed25519", bytes([7] * 32))]
    ring = Ring()
    rights = ring.keys.get("rides/1")
    assert rights is not None
    ring.keys = ring.keys.with_key(replace(rights, kid="rides/2", material=keys[1].public()))
    now = [0]
    rides = SignedBus(bus, Signing("strict", ring, lambda: keys[now[0]], 60.0))
    mail = SignedBus(bus, Signing("strict", ring, lambda: MAIL, 60.0))
    subscription = await opened(mail)

    async def publish(id: str, key: int) -> None:
        now[0] = key
        await rides.publish(booked(id))

    await asyncio.gather(*(publish(f"e-{n}", n % 2) for n in range(6)))
    found = await gather(subscription, 6)
    assert [d.refusal for d in found] == [None] * 6
    assert {d.message.id: d.message.headers[KID] for d in found} == {
        f"e-{n}": f"rides/{n % 2 + 1}" for n in range(6)
    }


async def test_what_a_stranger_puts_on_the_bus_is_refused(bus: Bus) -> None:
    """Unsigned, altered, and played again straight on the queue."""
    mail = over(bus, MAIL)
    subscription = await opened(mail)
    (real,) = Signer(Ring(), permit=None, clock=time.time).sign([booked()], RIDES)
    altered = replace(real, message=replace(real.message, id="e-2", body=b'{"n":2}'))
    straight = Outgoing(replace(real.message, id="e-3"), QUEUE, DIRECT)
    await bus.publish(booked("e-4"), altered, straight)
    found = {d.message.id: d.refusal for d in await gather(subscription, 3)}
    codes = {id: error.code for id, error in found.items() if isinstance(error, ForgedMessage)}
    assert codes == {"e-2": "bad-signature", "e-3": "bad-signature", "e-4": "unsigned"}
    assert mail.refused == {"bad-signature": 2, "unsigned": 1}


async def test_a_retry_is_signed_again_by_who_makes_it_and_keeps_its_origin(bus: Bus) -> None:
    """Delayed, and again: the last hop's key, the first one's signature, and the way it came first."""
    rides, mail = over(bus, RIDES), over(bus, MAIL)
    subscription = await opened(mail)
    await rides.publish(booked())
    for _ in range(2):
        delivery = await one(subscription)
        await mail.publish(Outgoing(delivery.message, QUEUE, DIRECT, delay=0.05))
        await subscription.ack([delivery])
    final = await one(subscription)
    headers = final.message.headers
    assert final.refusal is None
    assert (headers[KID], headers[ORIGIN_KID], headers[ORIGIN_ROUTING_KEY]) == ("mail/1", "rides/1", TYPE)
    await subscription.ack([final])


@pytest.mark.parametrize(
    ("out", "code"),
    [
        (booked(source="/payments"), "wrong-source"),
        (booked(type="payment.made.v1"), "wrong-type"),
        (replace(booked(), routing_key="ride.ended.v1"), "wrong-routing"),
        (Outgoing(booked().message, QUEUE, DIRECT), "wrong-routing"),
    ],
)
async def test_what_nobody_would_believe_is_not_sent(bus: Bus, out: Outgoing, code: str) -> None:
    """The mistake shows where it was made."""
    with pytest.raises(ForgedMessage) as refused:
        await over(bus, RIDES).publish(out)
    assert refused.value.code == code


async def test_without_a_valid_key_nothing_is_sent_unsigned(bus: Bus) -> None:
    """It counts as a bus that is away: whoever publishes tries again, and nothing is lost."""
    with pytest.raises(PublishFailed) as failed:
        await over(bus, None).publish(booked())
    assert isinstance(failed.value.errors[0], BusUnavailable)


async def test_permissive_lets_through_and_counts(bus: Bus) -> None:
    """Without a key it publishes unsigned, and what would be refused is only counted."""
    loose = over(bus, None, "permissive")
    subscription = await opened(loose)
    await loose.publish(booked())
    delivery = await one(subscription)
    assert delivery.refusal is None
    assert SIGNATURE not in delivery.message.headers
    assert loose.refused == {"unsigned": 1}
    await subscription.ack([delivery])


async def test_permissive_hands_over_also_what_nobody_can_read(bus: Bus) -> None:
    """Two ids in one message: whoever handles it says so, and what came with it is not held up."""
    loose = over(bus, None, "permissive")
    subscription = await opened(loose)
    plain = booked().message
    await bus.publish(
        Outgoing(replace(plain, headers={**plain.headers, "ce-id": "another"}), TYPE, EVENTS), booked("e-2")
    )
    odd, good = await gather(subscription, 2)
    assert (odd.refusal, good.refusal) == (None, None)
    with pytest.raises(MalformedMessage, match="twice"):
        event_of(odd.message)
    assert event_of(good.message).id == "e-2"
    await subscription.ack([odd, good])


async def test_a_backlog_is_not_stale_when_it_comes_again(bus: Bus) -> None:
    """What is old at its first delivery is refused, at its second not."""
    now = time.time()
    old = SignedBus(bus, Signing("strict", Ring(), lambda: RIDES, None), clock=lambda: now - 3600)
    mail = over(bus, MAIL)
    subscription = await opened(mail)
    await old.publish(booked())
    first = await one(subscription)
    assert isinstance(first.refusal, ForgedMessage)
    assert first.refusal.code == "stale"
    await subscription.release([first])
    second = await one(subscription)
    assert second.refusal is None
    await subscription.ack([second])


async def test_what_can_not_be_judged_takes_nobody_down(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with one, those beside it are handed out."""
    rides, mail = over(bus, RIDES), over(bus, MAIL)
    subscription = await opened(mail)
    verify = Verifier.verify

    def broken(self: Verifier, sealed: Sealed, *, first: bool) -> Key:
        if sealed.attributes["id"] == "e-1":
            raise RecursionError("too deep")
        return verify(self, sealed, first=first)

    monkeypatch.setattr(Verifier, "verify", broken)
    await rides.publish(booked("e-1"), booked("e-2"))
    found = await gather(subscription, 2)
    assert [type(delivery.refusal) for delivery in found] == [MalformedMessage, type(None)]


async def test_well_signed_rubbish_is_malformed(bus: Bus) -> None:
    """A structured event that is no JSON, under a signature that holds."""
    rides, mail = over(bus, RIDES, "permissive"), over(bus, MAIL)
    subscription = await opened(mail)
    rubbish = Message("e-1", b"{", "application/cloudevents+json")
    await rides.publish(Outgoing(rubbish, TYPE, EVENTS))
    delivery = await one(subscription)
    assert isinstance(delivery.refusal, MalformedMessage)
    await subscription.ack([delivery])


values = st.one_of(st.text(max_size=20), st.integers(-(2**63), 2**63 - 1))
names = st.one_of(
    st.sampled_from([KID, SIGNATURE, "x-antiphon-signed-at", "cloudEvents:id", "ce-id", "cloudEvents:type"]),
    st.text(max_size=20),
)


@given(
    st.dictionaries(names, values, max_size=6),
    st.binary(max_size=40),
    st.sampled_from(["application/json", "application/cloudevents+json", "", "é"]),
    st.sampled_from(["", EVENTS, "elsewhere"]),
    st.text(max_size=10),
    st.sampled_from([QUEUE, f"{QUEUE}.dead"]),
)
def test_whatever_comes_is_refused_and_breaks_nothing(
    headers: dict[str, str | int], body: bytes, content_type: str, exchange: str, key: str, queue: str
) -> None:
    """No header, body or way makes a verifier raise, or believe; nor one that lets it through."""
    message = Message("m", body, content_type, {KID: "rides/1", SIGNATURE: "AAAA", **headers})
    delivery = Delivery(message, queue, exchange, key, 0, None)
    assert over(cast(Bus, None), None).verified(delivery).refusal is not None
    over(cast(Bus, None), None, "permissive").verified(delivery)
