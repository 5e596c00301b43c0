"""Signatures over bytes: Ed25519 (RFC 8032) and HMAC-SHA256 (RFC 2104).

Statements that are signed together share an Ed25519 signature (decision 0032). It is over the root of their
Merkle tree (``contracts.trees``), in DSSE's encoding as ``TREE_TYPE``: the number of leaves as eight bytes,
big-endian, and the root. The signature of each statement is then those 64 bytes, its place and the number of
leaves as one byte each, 16 random bytes that stand before the statement in its leaf, and its path. (A path
has hashes of other leaves; without what is random in them, whoever guesses another statement could tell.)
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Literal

import nacl.signing
from nacl.exceptions import CryptoError

from contracts.trees import HASH_BYTES, root_and_paths, root_from

__all__ = [
    "ALGORITHMS",
    "MOST_BYTES",
    "SECRET_BYTES",
    "TREE_TYPE",
    "Algorithm",
    "checker_of",
    "pae",
    "public_of",
    "signer_of",
]

Algorithm = Literal["ed25519", "hmac-sha256"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("ed25519", "hmac-sha256")

SECRET_BYTES = 32  # an Ed25519 seed, and as much for HMAC-SHA256 (RFC 2104 section 3)
TREE_TYPE = "application/vnd.antiphon.messages.v1"

_MOST_LEAVES = 32  # of one tree: with more, the paths cost what is saved of the signature
_SIGNATURE_BYTES = 64
_BLIND_AT = _SIGNATURE_BYTES + 2
_BLIND_BYTES = 16
_PATH_AT = _BLIND_AT + _BLIND_BYTES
MOST_BYTES = _PATH_AT + 5 * HASH_BYTES
_ROOTS_KEPT = 1_000  # of each key, that were found to be well signed


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding of a payload and its type."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def public_of(algorithm: Algorithm, secret: bytes) -> bytes:
    """What verifies: the public key, or the secret of an HMAC."""
    return secret if algorithm == "hmac-sha256" else bytes(nacl.signing.SigningKey(secret).verify_key)


def signer_of(algorithm: Algorithm, secret: bytes) -> Callable[[Sequence[bytes]], list[bytes]]:
    """What makes the signature of each of some statements."""
    if algorithm == "hmac-sha256":
        return lambda statements: [hmac.digest(secret, one, hashlib.sha256) for one in statements]
    private = nacl.signing.SigningKey(secret)

    def sign(statements: Sequence[bytes]) -> list[bytes]:
        size = len(statements)
        if size == 1:
            return [private.sign(statements[0]).signature]
        blinds = [os.urandom(_BLIND_BYTES) for _ in statements]
        root, paths = root_and_paths(list(map(bytes.__add__, blinds, statements)))
        signature = private.sign(_tree(size, root)).signature
        return [
            signature + bytes((index, size)) + blind + path
            for index, (blind, path) in enumerate(zip(blinds, paths, strict=True))
        ]

    return lambda statements: [
        signature
        for first in range(0, len(statements), _MOST_LEAVES)
        for signature in sign(statements[first : first + _MOST_LEAVES])
    ]


def checker_of(algorithm: Algorithm, material: bytes) -> Callable[[bytes, bytes], bool]:
    """What says whether a signature is over exactly this statement. Raises ValueError for what is no key."""
    if algorithm == "hmac-sha256":
        return lambda signature, statement: hmac.compare_digest(
            hmac.digest(material, statement, hashlib.sha256), signature
        )
    public = nacl.signing.VerifyKey(material)

    # What was signed together mostly comes together, and costs one verification. What raises is not kept.
    @lru_cache(_ROOTS_KEPT)
    def check_root(signature: bytes, size: int, root: bytes) -> None:
        public.verify(_tree(size, root), signature)

    def check(signature: bytes, statement: bytes) -> bool:
        try:
            if len(signature) < _PATH_AT:
                public.verify(statement, signature)
                return True
            index, size = signature[_SIGNATURE_BYTES:_BLIND_AT]
            leaf = signature[_BLIND_AT:_PATH_AT] + statement
            root = root_from(leaf, index, size, signature[_PATH_AT:]) if 1 < size <= _MOST_LEAVES else None
            if root is not None:
                check_root(signature[:_SIGNATURE_BYTES], size, root)
        except CryptoError:  # also where it has not the length of a signature
            return False
        return root is not None

    return check


def _tree(size: int, root: bytes) -> bytes:
    return pae(TREE_TYPE, size.to_bytes(8, "big") + root)
