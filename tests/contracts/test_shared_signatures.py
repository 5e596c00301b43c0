"""One signature over many messages: each of them still stands for itself."""

from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import sha256

import nacl.signing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ForgedMessage
from contracts.keyring import Key, Rights, SigningKey
from contracts.signatures import MOST_BYTES
from contracts.signing import ORIGIN_EXCHANGE, ORIGIN_ROUTING_KEY, SIGNATURE, Sealed
from tests.contracts.test_signing import EVENTS, NOW, event, key_of, reason, signing_key, verifier
from tests.sealing import signed_together


def sealed_together(number: int, signer: SigningKey) -> list[Sealed]:
    """Events that were signed in one moment."""
    events = [event(id=f"e-{count}") for count in range(number)]
    plain = [Sealed(one.headers(), one.body, one.datacontenttype, EVENTS, one.type) for one in events]
    headers = signed_together(plain, signer, NOW)
    return [replace(sealed, headers=its) for sealed, its in zip(plain, headers, strict=True)]


def raw(sealed: Sealed) -> bytes:
    return base64.b64decode(str(sealed.headers[SIGNATURE]))


def with_raw(sealed: Sealed, signature: bytes) -> Sealed:
    return replace(sealed, headers={**sealed.headers, SIGNATURE: base64.b64encode(signature).decode()})


@pytest.mark.parametrize("number", [1, 2, 3, 31, 32, 33, 70])
def test_each_is_let_in_by_itself(number: int) -> None:
    """In any order, by whoever sees one of them only; a tree has 32 leaves at the most."""
    signer = signing_key()
    made = sealed_together(number, signer)
    for sealed in reversed(made):
        assert verifier(key_of(signer)).verify(sealed, first=True).kid == "rides/1"
    assert len({raw(sealed)[:64] for sealed in made}) == -(-number // 32)
    assert max(len(raw(sealed)) for sealed in made) <= MOST_BYTES
    if number == 1:
        assert len(raw(made[0])) == 64  # as anybody else would sign it


def test_those_of_one_moment_cost_one_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public key is asked once for each tree; and again for another key, which knows nothing of it."""
    asked: list[bytes] = []
    real = nacl.signing.VerifyKey.verify

    def verify(self: nacl.signing.VerifyKey, *of: bytes) -> bytes:
        asked.append(of[0])
        return real(self, *of)

    monkeypatch.setattr(nacl.signing.VerifyKey, "verify", verify)
    signer = signing_key()
    made = sealed_together(40, signer)
    check = verifier(key_of(signer))
    for _ in range(2):
        for sealed in made:
            check.verify(sealed, first=True)
    assert len(asked) == 2
    other = verifier(key_of(replace(signer, secret=bytes(32))))
    assert reason(other, made[0]) == "bad-signature"
    assert len(asked) == 3


@settings(max_examples=300)
@given(st.data())
def test_no_bit_of_it_can_be_flipped(data: st.DataObject) -> None:
    """Neither of the signature, nor of the place, the number of leaves, the path; the others came before."""
    signer = signing_key()
    made = sealed_together(data.draw(st.integers(2, 11)), signer)
    check = verifier(key_of(signer))
    for sealed in made:
        check.verify(sealed, first=True)
    chosen = data.draw(st.sampled_from(made))
    signature = bytearray(raw(chosen))
    signature[data.draw(st.integers(0, len(signature) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert reason(check, with_raw(chosen, bytes(signature))) == "bad-signature"


@given(st.integers(2, 11), st.data())
def test_it_is_of_no_other_message(number: int, data: st.DataObject) -> None:
    """Not of another one of its moment, not of one that was changed, not in part, and with nothing behind."""
    signer = signing_key()
    made = sealed_together(number, signer)
    check = verifier(key_of(signer))
    for sealed in made:
        check.verify(sealed, first=True)
    one, other = data.draw(st.permutations(made))[:2]
    assert reason(check, with_raw(one, raw(other))) == "bad-signature"
    assert reason(check, replace(one, body=one.body + b" ")) == "bad-signature"
    assert reason(check, replace(one, headers={**one.headers, "cloudEvents:id": "e-99"})) == "bad-signature"
    cut = data.draw(st.integers(1, len(raw(one)) - 1))
    assert reason(check, with_raw(one, raw(one)[:cut])) == "bad-signature"
    assert reason(check, with_raw(one, raw(one) + bytes(data.draw(st.integers(1, 64))))) == "bad-signature"


def test_it_is_made_as_the_documents_say() -> None:
    """In words of its own: leaves, nodes, what is signed of the root, and how that stands in a signature."""
    secret = bytes(range(32))
    statements = [b"one", b"two", b"three"]
    made = [base64.b64decode(text) for text in SigningKey("rides/1", "ed25519", secret).sign(*statements)]
    signature = made[0][:64]
    assert [one[:66] for one in made] == [signature + bytes((place, 3)) for place in range(3)]
    blinds = [one[66:82] for one in made]
    assert len(set(blinds)) == 3
    leaves = [sha256(b"\x00" + blind + text).digest() for blind, text in zip(blinds, statements, strict=True)]
    pair = sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    assert [one[82:] for one in made] == [leaves[1] + leaves[2], leaves[0] + leaves[2], pair]
    root = sha256(b"\x01" + pair + leaves[2]).digest()
    said = b"DSSEv1 36 application/vnd.antiphon.messages.v1 40 " + b"\0\0\0\0\0\0\0\x03" + root
    nacl.signing.SigningKey(secret).verify_key.verify(said, signature)


def test_the_number_of_leaves_is_signed() -> None:
    """Also where a path is as long in a tree of another size; and there are never more than 32."""
    signer = signing_key()
    check = verifier(key_of(signer))
    made = sealed_together(5, signer)
    for sealed in made:
        for size in range(256):
            changed = bytearray(raw(sealed))
            changed[65] = size
            if size != 5:
                assert reason(check, with_raw(sealed, bytes(changed))) == "bad-signature", size
    assert check.verify(made[0], first=True)


def test_a_message_can_not_pose_as_a_tree_nor_a_tree_as_a_message() -> None:
    """What is signed says which of the two it is, also where all else is the same bytes."""
    signer = signing_key()
    key = key_of(signer)
    statements = [b"one", b"two"]
    tree = base64.b64decode(signer.sign(*statements)[0])
    leaves = [tree[66:82] + b"one", tree[82:]]
    root = sha256(b"\x01" + sha256(b"\x00" + leaves[0]).digest() + leaves[1]).digest()
    said = b"DSSEv1 36 application/vnd.antiphon.messages.v1 40 " + (2).to_bytes(8, "big") + root
    for posing in (root, (2).to_bytes(8, "big") + root):
        # Signed as what a message's statement could be, if it began as no statement does.
        alone = base64.b64decode(*signer.sign(posing))
        assert not key.verifies(base64.b64encode(alone + tree[64:]).decode(), b"one")
        assert not key.verifies(base64.b64encode(tree[:64]).decode(), posing)
    assert key.verifies(base64.b64encode(tree).decode(), b"one")
    # The one statement that would do is none of a message's: those begin with another type.
    assert key.verifies(base64.b64encode(tree[:64]).decode(), said)
    sealed = sealed_together(1, signer)[0]
    assert sealed.statement(sealed.attributes).startswith(b"DSSEv1 35 application/vnd.antiphon.message.v1 ")


def test_a_path_does_not_tell_what_a_neighbour_says() -> None:
    """Whoever guesses another message of the moment finds no hash of it in what came with this one."""
    signer = signing_key()
    one, other = sealed_together(2, signer)
    guessed = other.statement(other.attributes)
    assert sha256(b"\x00" + guessed).digest() not in raw(one)
    assert raw(one)[82:] == sha256(b"\x00" + raw(other)[66:82] + guessed).digest()
    assert raw(sealed_together(2, signer)[0])[66:] != raw(one)[66:]


def test_a_hop_keeps_it_and_the_origin_can_still_be_verified() -> None:
    """Far from all that it was signed with."""
    rides, reactors = signing_key(), signing_key("reactors/1", secret=bytes(32))
    rights = Rights.of(hops=["reactor.*"])
    check = verifier(key_of(rides), Key("reactors/1", "ed25519", reactors.public(), rights, not_before=0))
    came = sealed_together(3, rides)[1]
    way = {ORIGIN_EXCHANGE: came.exchange, ORIGIN_ROUTING_KEY: came.routing_key}
    plain = replace(came, headers={**came.headers, **way}, exchange="", routing_key="reactor.mail")
    hop = replace(plain, headers=signed_together([plain, plain], reactors, NOW + 1)[0])
    assert check.verify(hop, first=True).kid == "reactors/1"
    origin = check.origin(hop)
    assert origin is not None
    assert origin.kid == "rides/1"
    with pytest.raises(ForgedMessage):
        check.origin(replace(hop, body=b"{}"))


def test_an_hmac_key_has_none() -> None:
    """It costs no more to sign each one, and what looks like a tree is refused."""
    signer = signing_key(algorithm="hmac-sha256")
    made = sealed_together(3, signer)
    assert [len(raw(sealed)) for sealed in made] == [32, 32, 32]
    check = verifier(key_of(signer))
    for sealed in made:
        assert check.verify(sealed, first=True).kid == "rides/1"
    tree = sealed_together(3, replace(signer, algorithm="ed25519"))[0]
    assert reason(check, tree) == "bad-signature"
