"""The keyring's document: what is wrong in it gives nobody rights."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from contracts.errors import ConfigurationError
from contracts.keyring import Key, Keyring, Rights, SigningKey
from contracts.patterns import Patterns

SIGNER = SigningKey("rides/2", "ed25519", bytes(range(32)))
KEY = Key(
    "rides/2",
    "ed25519",
    SIGNER.public(),
    Rights.of(sources=["/acme/rides"], types=["ride.**"], exchanges=["antiphon.events"]),
    not_before=1_732_400_000.25,
    not_after=1_732_500_000.0,
    revoked_at=None,
)


def document() -> dict[str, Any]:
    return copy.deepcopy(Keyring([KEY]).as_json())


def test_what_is_written_is_read() -> None:
    """A keyring survives its document, times and rights and all."""
    assert list(Keyring.from_json(document(), {})) == [KEY]


def test_a_secret_is_never_in_the_document() -> None:
    """An HMAC key is there without its secret, and verifies nothing where that is not."""
    secret = bytes(range(32))
    key = Key("dev/1", "hmac-sha256", secret, Rights.of(), not_before=0.0)
    written = Keyring([key]).as_json()
    assert "public" not in written["keys"][0]
    assert repr(secret) not in repr(key) + repr(SIGNER)
    there, absent = Keyring.from_json(written, {"dev/1": secret}), Keyring.from_json(written, {})
    assert [ring.get("dev/1").standing(1.0) for ring in (there, absent)] == ["valid", "absent"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change",
    [
        {"kid": "rides"},
        {"kid": "rides/x"},
        {"algorithm": "none"},
        {"public": "AAAA"},
        {"source": ["/typo"]},
        {"types": "ride.**"},
        {"types": None},
        {"not_before": "yesterday"},
        {"not_before": None, "hops": [1]},
    ],
)
def test_a_key_that_is_not_as_it_must_be_is_refused(change: dict[str, Any]) -> None:
    """With the file and the key in the message."""
    wrong = document()
    wrong["keys"][0].update(change)
    with pytest.raises(ConfigurationError, match=r"keyring\.json"):
        Keyring.from_json(wrong, {})


def test_a_key_without_rights_named_is_refused() -> None:
    """Nothing is allowed by leaving it out."""
    wrong = document()
    del wrong["keys"][0]["sources"]
    with pytest.raises(ConfigurationError, match="sources"):
        Keyring.from_json(wrong, {})


@pytest.mark.parametrize("wrong", [None, [], {}, {"version": "2", "keys": []}])
def test_what_is_no_keyring_is_refused(wrong: Any) -> None:
    """Another version, too."""
    with pytest.raises(ConfigurationError):
        Keyring.from_json(wrong, {})


@pytest.mark.parametrize(
    ("patterns", "text", "allowed"),
    [
        (["/acme/*"], "/acme/rides", True),
        (["/acme/*"], "/acme/rides/x", False),
        (["/acme/**"], "/acme/rides/x", True),
        (["/acme/**"], "/acmeother", False),
        (["/**", "!/*/flows/**"], "/acme/flows/ride", False),
        (["/**", "!/*/flows/**"], "/acme/web", True),
        (["/a.b"], "/axb", False),
        (["/acme"], "/acme\n", False),
        ([], "", False),
    ],
)
def test_patterns(patterns: list[str], text: str, allowed: bool) -> None:
    """One star is a part of one word, two are any number of words, and ! takes away."""
    assert Patterns(patterns, "/").allow(text) is allowed


def test_a_public_key_with_which_anything_is_signed_verifies_nothing() -> None:
    """The neutral point fits every statement: R the same, S zero (RFC 8032 section 5.1.7 lets it pass)."""
    neutral = bytes([1]) + bytes(31)
    key = Key("anybody/1", "ed25519", neutral, Rights.of(), not_before=0.0)
    assert not key.verifies(base64.b64encode(neutral + bytes(32)).decode(), b"anything")
