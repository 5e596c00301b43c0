"""Messages as somebody signed them."""

from __future__ import annotations

from contracts.keyring import SigningKey
from contracts.signing import SIGNATURE, Sealed, about_to_be_signed

__all__ = ["signed", "signed_together"]


def signed(sealed: Sealed, key: SigningKey, now: float) -> dict[str, str | int]:
    """The headers of one with the signature of ``key``; ``now`` in seconds since the epoch."""
    return signed_together([sealed], key, now)[0]


def signed_together(messages: list[Sealed], key: SigningKey, now: float) -> list[dict[str, str | int]]:
    """The headers of some that are signed in one moment."""
    ready = [about_to_be_signed(sealed, key.kid, now) for sealed in messages]
    signatures = key.sign(*(statement for _, statement in ready))
    return [
        {**headers, SIGNATURE: signature} for (headers, _), signature in zip(ready, signatures, strict=True)
    ]
