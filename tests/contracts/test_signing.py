"""Signatures: what was not signed as it stands, here and by this key, is refused with its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import Event
from contracts.errors import ForgedMessage, MalformedMessage
from contracts.keyring import Key, Keyring, Rights, SigningKey
from contracts.signatures import pae
from contracts.signing import KID, SIGNATURE, SIGNED_AT, Sealed, Verifier
from tests.sealing import signed

NOW = 1_732_400_000.0
EVENTS = "events"
SECRET = bytes(range(32))


class Ring:
    """Keys that a test can change."""

    def __init__(self, *keys: Key) -> None:
        self.ring = Keyring(keys)
        self.fresh = self.ring

    def keyring(self) -> Keyring:
        return self.ring

    def look_again(self) -> Keyring:
        self.ring = self.fresh
        return self.ring


def signing_key(kid: str = "rides/1", algorithm: str = "ed25519", secret: bytes = SECRET) -> SigningKey:
    return SigningKey(kid, "ed25519" if algorithm == "ed25519" else "hmac-sha256", secret)


def key_of(signer: SigningKey, **options: object) -> Key:
    rights = Rights.of(
        sources=["/acme/rides", "/acme/rides/*"],
        types=["ride.**", "!ride.secret.*"],
        exchanges=[EVENTS],
        hops=["reactor.*"],
        workspaces=["acme"],
    )
    given: dict[str, object] = {"rights": rights, "not_before": NOW - 1000, **options}
    return Key(signer.kid, signer.algorithm, signer.public(), **given)  # type: ignore[arg-type]


def misrouted(exchange: str, routing_key: str, type: str) -> str | None:
    return None if routing_key == type else "routed by something else"


def verifier(*keys: Key, now: float = NOW, freshness: float | None = 100.0) -> Verifier:
    return Verifier(Ring(*keys), misrouted=misrouted, freshness=freshness, clock=lambda: now)


def event(**changes: object) -> Event:
    made = Event.create(
        "ride.booked.v1", {"ride_id": "r-1"}, id="e-1", source="/acme/rides", at=NOW, workspace="acme"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def sealed_of(made: Event, signer: SigningKey, exchange: str = EVENTS, at: float = NOW) -> Sealed:
    plain = Sealed(made.headers(), made.body, made.datacontenttype, exchange, made.type)
    return replace(plain, headers=signed(plain, signer, at))


def reason(check: Verifier, sealed: Sealed, *, first: bool = True) -> str:
    with pytest.raises(ForgedMessage) as refused:
        check.verify(sealed, first=first)
    return refused.value.code


def test_pae_is_that_of_the_specification() -> None:
    """The example of DSSE's protocol.md."""
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ],
)
def test_ed25519_is_that_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    """The first two test vectors of RFC 8032 section 7.1."""
    import base64

    signer = signing_key(secret=bytes.fromhex(seed))
    assert signer.public().hex() == public
    (made,) = signer.sign(bytes.fromhex(message))
    assert base64.b64decode(made).hex() == signature
    assert key_of(signer).verifies(made, bytes.fromhex(message))


def test_hmac_is_that_of_rfc_4231() -> None:
    """Test case 3's construction, checked against the standard library's one-shot digest."""
    import base64
    import hashlib
    import hmac

    signer = signing_key(algorithm="hmac-sha256", secret=b"\xaa" * 32)
    expected = hmac.new(b"\xaa" * 32, b"\xdd" * 50, hashlib.sha256).digest()
    assert base64.b64decode(*signer.sign(b"\xdd" * 50)) == expected
    assert key_of(signer).verifies(base64.b64encode(expected).decode(), b"\xdd" * 50)


@pytest.mark.parametrize("algorithm", ["ed25519", "hmac-sha256"])
def test_what_was_signed_and_not_touched_is_let_in(algorithm: str) -> None:
    """The verifier names the key."""
    signer = signing_key(algorithm=algorithm)
    assert verifier(key_of(signer)).verify(sealed_of(event(), signer), first=True).kid == "rides/1"


@given(st.data())
def test_no_bit_of_the_body_can_be_flipped(data: st.DataObject) -> None:
    """Whatever bit it is."""
    signer = signing_key(algorithm="hmac-sha256")
    sealed = sealed_of(event(), signer)
    at = data.draw(st.integers(0, len(sealed.body) * 8 - 1))
    body = bytearray(sealed.body)
    body[at // 8] ^= 1 << at % 8
    assert reason(verifier(key_of(signer)), replace(sealed, body=bytes(body))) == "bad-signature"


@given(st.data())
def test_no_header_that_is_read_can_be_changed_added_or_taken_out(data: st.DataObject) -> None:
    """Neither an attribute, in any of its spellings, nor a header of ours."""
    signer = signing_key(algorithm="hmac-sha256")
    made = event(subject="", extensions={"workspace": "acme", "correlationid": "c", "traceparent": "t"})
    sealed = sealed_of(made, signer)
    headers = dict(sealed.headers)
    kind = data.draw(st.sampled_from(["change", "add", "drop"]))
    if kind == "add":
        prefix = data.draw(st.sampled_from(["cloudEvents:", "cloudEvents_", "ce-", "x-antiphon-"]))
        name = prefix + data.draw(st.text("abcxyz-", min_size=1, max_size=12))
        headers.setdefault(name, data.draw(st.text(max_size=5)))
        if headers == dict(sealed.headers):
            return
    else:
        name = data.draw(st.sampled_from(sorted(headers)))
        before = headers.pop(name)
        if kind == "change":
            after = data.draw(st.text(max_size=20))
            headers[name] = after if after != before else f"{after}x"
    assert reason(verifier(key_of(signer)), replace(sealed, headers=headers)) in {
        "bad-signature",
        "unknown-key",
        "unsigned",
    }


@pytest.mark.parametrize("change", [{"routing_key": "ride.ended.v1"}, {"exchange": "commands"}])
def test_a_message_counts_on_its_own_way_only(change: dict[str, str]) -> None:
    """Played again on another exchange or with another routing key it is refused."""
    signer = signing_key()
    assert reason(verifier(key_of(signer)), replace(sealed_of(event(), signer), **change)) == "bad-signature"  # type: ignore[arg-type]


def test_a_content_type_is_signed() -> None:
    """A body can't be passed off as something else."""
    signer = signing_key()
    sealed = replace(sealed_of(event(), signer), content_type="text/plain")
    assert reason(verifier(key_of(signer)), sealed) == "bad-signature"


def test_absent_is_not_empty() -> None:
    """An event without subject and one with an empty subject have different statements."""
    absent, empty = (
        Sealed(made.headers(), made.body, "application/json", EVENTS, made.type)
        for made in (event(), event(subject=""))
    )
    assert absent.statement(absent.attributes) != empty.statement(empty.attributes)


names = st.text(st.characters(codec="utf-8"), max_size=6)
extensions = st.dictionaries(names, names, max_size=4)


@given(extensions, names, names, st.binary(max_size=8), extensions, names, names, st.binary(max_size=8))
def test_two_messages_never_share_a_statement(
    a: dict[str, str], ax: str, ak: str, ab: bytes, b: dict[str, str], bx: str, bk: str, bb: bytes
) -> None:
    """However the texts are cut, lengths keep them apart."""
    one, two = Sealed({}, ab, "", ax, ak), Sealed({}, bb, "", bx, bk)
    same = (a, ab, ax, ak) == (b, bb, bx, bk)
    assert (one.statement(a) == two.statement(b)) == same


def test_an_attribute_can_not_pose_as_a_header_of_ours() -> None:
    """An attribute called like a header has a name of its own in what is signed."""
    plain = Sealed({KID: "rides/1"}, b"", "", "", "")
    posing = Sealed({f"cloudEvents:{KID}": "rides/1"}, b"", "", "", "")
    assert plain.statement(plain.attributes) != posing.statement(posing.attributes)


def test_keys_are_asked_for_their_standing() -> None:
    """Unknown, revoked, not yet and no more valid keys are refused, each with its reason."""
    signer = signing_key()
    sealed = sealed_of(event(), signer)
    assert reason(verifier(), sealed) == "unknown-key"
    assert reason(verifier(key_of(signer, revoked_at=NOW - 1)), sealed) == "revoked-key"
    assert reason(verifier(key_of(signer, not_after=NOW)), sealed) == "expired-key"
    assert reason(verifier(key_of(signer, not_before=NOW + 100)), sealed) == "expired-key"
    assert reason(verifier(replace(key_of(signer), material=None)), sealed) == "unknown-key"


def test_a_revoked_key_stays_revoked_whatever_it_signed_before() -> None:
    """The message's own time of signing saves nothing: whoever has the key can write any time."""
    signer = signing_key()
    sealed = sealed_of(event(), signer, at=NOW - 90)
    assert reason(verifier(key_of(signer, revoked_at=NOW - 10)), sealed) == "revoked-key"


def test_the_algorithm_is_the_keys() -> None:
    """The public key of an Ed25519 key, used as an HMAC secret, signs nothing."""
    public = signing_key().public()
    confused = SigningKey("rides/1", "hmac-sha256", public)
    assert reason(verifier(key_of(signing_key())), sealed_of(event(), confused)) == "bad-signature"


def test_a_key_that_was_just_made_is_looked_for() -> None:
    """An unknown key makes the verifier read its keyring again before it refuses."""
    signer = signing_key()
    ring = Ring()
    ring.fresh = Keyring([key_of(signer)])
    check = Verifier(ring, misrouted=misrouted, freshness=None, clock=lambda: NOW)
    assert check.verify(sealed_of(event(), signer), first=True).kid == "rides/1"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": "/acme/payments"}, "wrong-source"),
        ({"source": "/acme/rides/a/b"}, "wrong-source"),
        ({"extensions": {"workspace": "other"}}, "wrong-source"),
        ({"type": "payment.made.v1"}, "wrong-type"),
        ({"type": "ride.secret.v1"}, "wrong-type"),
    ],
)
def test_a_key_says_only_what_is_its_own(changes: dict[str, object], code: str) -> None:
    """A good signature over another's source, workspace or type is refused."""
    signer = signing_key()
    assert reason(verifier(key_of(signer)), sealed_of(event(**changes), signer)) == code


def test_a_way_must_fit_type_and_key() -> None:
    """An exchange that is not the key's, and a routing key that is not the type's."""
    signer = signing_key()
    made = event()
    assert reason(verifier(key_of(signer)), sealed_of(made, signer, exchange="commands")) == "wrong-routing"
    plain = Sealed(made.headers(), made.body, made.datacontenttype, EVENTS, "ride.ended.v1")
    odd = replace(plain, headers=signed(plain, signer, NOW))
    assert reason(verifier(key_of(signer)), odd) == "wrong-routing"


def test_freshness_counts_for_the_first_time_only() -> None:
    """What is old is refused when it is new here, and not when it comes again."""
    signer = signing_key()
    check = verifier(key_of(signer))
    old = sealed_of(event(), signer, at=NOW - 101)
    assert reason(check, old) == "stale"
    assert reason(check, sealed_of(event(), signer, at=NOW + 400)) == "stale"
    assert check.verify(old, first=False).kid == "rides/1"
    assert verifier(key_of(signer), freshness=None).verify(old, first=True).kid == "rides/1"


def test_a_hop_vouches_for_what_others_said_on_its_own_queues() -> None:
    """The first signature is kept and can still be verified; another queue is refused."""
    rides, reactors = signing_key(), signing_key("reactors/1", secret=bytes(32))
    rights = Rights.of(hops=["reactor.*"])
    ring = (key_of(rides), Key("reactors/1", "ed25519", reactors.public(), rights, not_before=0))
    check = verifier(*ring)
    came = sealed_of(event(), rides)
    way = {"x-antiphon-origin-exchange": came.exchange, "x-antiphon-origin-routing-key": came.routing_key}

    def hop(sealed: Sealed, queue: str, **more: str) -> Sealed:
        plain = replace(sealed, headers={**sealed.headers, **more}, exchange="", routing_key=queue)
        return replace(plain, headers=signed(plain, reactors, NOW + 1))

    once = hop(replace(came, headers={**came.headers, **way}), "reactor.mail", **{"x-antiphon-attempt": "2"})
    assert check.verify(once, first=True).kid == "reactors/1"
    origin = check.origin(once)
    assert origin is not None
    assert origin.kid == "rides/1"
    twice = hop(once, "reactor.mail", **{"x-antiphon-attempt": "3"})
    assert check.verify(twice, first=True).kid == "reactors/1"
    assert check.origin(twice) == origin
    assert reason(check, hop(once, "partition.1")) == "wrong-routing"
    assert check.origin(came) is None
    with pytest.raises(ForgedMessage):
        check.origin(replace(twice, body=b"{}"))


def test_structured_events_are_signed_as_bytes() -> None:
    """Source and type are read from the body, after its signature was found to hold."""
    signer = signing_key()
    form = "application/cloudevents+json"
    body = b'{"specversion":"1.0","id":"1","source":"/acme/rides","type":"ride.booked.v1","workspace":"acme"}'
    plain = Sealed({}, body, form, EVENTS, "ride.booked.v1")
    good = replace(plain, headers=signed(plain, signer, NOW))
    assert verifier(key_of(signer)).verify(good, first=True).kid == "rides/1"
    assert reason(verifier(key_of(signer)), replace(good, body=body + b" ")) == "bad-signature"
    broken = replace(plain, body=b"{")
    with pytest.raises(MalformedMessage):
        verifier(key_of(signer)).verify(replace(broken, headers=signed(broken, signer, NOW)), first=True)


@pytest.mark.parametrize(
    "headers",
    [{}, {KID: "rides/1"}, {SIGNATURE: "x"}, {KID: "", SIGNATURE: "", SIGNED_AT: "1"}],
)
def test_without_kid_or_signature_a_message_is_unsigned(headers: dict[str, str]) -> None:
    """Half a signature is none."""
    made = event()
    sealed = Sealed({**made.headers(), **headers}, made.body, made.datacontenttype, EVENTS, made.type)
    assert reason(verifier(key_of(signing_key())), sealed) == "unsigned"


@pytest.mark.parametrize("text", ["", "AAAA", "*" * 88, "A" * 5000, "é"])
def test_whatever_poses_as_a_signature_is_refused(text: str) -> None:
    """Without a crash, and without decoding what is too long."""
    signer = signing_key()
    sealed = sealed_of(event(), signer)
    odd = replace(sealed, headers={**sealed.headers, SIGNATURE: text or "="})
    assert reason(verifier(key_of(signer)), odd) == "bad-signature"
