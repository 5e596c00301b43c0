"""One signature over many messages: each of them still stands for itself."""

from __future__ import annotations

import base64
from dataclasses import replace

import nacl.signing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.keyring import SigningKey
from contracts.signatures import MOST_BYTES
from contracts.signing import SIGNATURE, Sealed, about_to_be_signed
from tests.contracts.test_signing import EVENTS, NOW, event, key_of, reason, signing_key, verifier


def sealed_together(number: int, signer: SigningKey) -> list[Sealed]:
    """Events that were signed in one moment."""
    events = [event(id=f"e-{count}") for count in range(number)]
    plain = [Sealed(one.headers(), one.body, one.datacontenttype, EVENTS, one.type) for one in events]
    ready = [about_to_be_signed(sealed, signer.kid, NOW) for sealed in plain]
    signatures = signer.sign(*(statement for _, statement in ready))
    return [
        replace(sealed, headers={**headers, SIGNATURE: signature})
        for sealed, (headers, _), signature in zip(plain, ready, signatures, strict=True)
    ]


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


def test_a_message_can_not_pose_as_a_tree_nor_a_tree_as_a_message() -> None:
    """What is signed says which of the two it is."""
    signer = signing_key()
    alone, (one, _) = sealed_together(1, signer)[0], sealed_together(2, signer)
    check = verifier(key_of(signer))
    assert reason(check, with_raw(one, raw(one)[:64])) == "bad-signature"
    assert reason(check, with_raw(alone, raw(alone) + bytes((0, 1)))) == "bad-signature"


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
