"""Merkle hash trees (RFC 9162, section 2.1): what is said of the root is said of every statement below it.

The leaf of a statement is ``SHA-256(0x00 || statement)``, a node is ``SHA-256(0x01 || left || right)``; what
has no neighbour at its height goes up as it is. A path is the neighbours from a leaf up, 32 bytes each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["HASH_BYTES", "root_and_paths", "root_from"]

HASH_BYTES = 32


def root_and_paths(statements: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """The root over some statements, at least one, and the path of each."""
    level = [_leaf(statement) for statement in statements]
    paths = [bytearray() for _ in statements]
    places = list(range(len(level)))  # of each statement's own branch, at this height
    while len(level) > 1:
        for path, place in zip(paths, places, strict=True):
            if place ^ 1 < len(level):
                path += level[place ^ 1]
        pairs = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = [*pairs, *level[2 * len(pairs) :]]
        places = [place >> 1 for place in places]
    return level[0], [bytes(path) for path in paths]


def root_from(statement: bytes, index: int, size: int, path: bytes) -> bytes | None:
    """The root of a tree of ``size`` leaves with this statement at ``index``; None for what is no path."""
    if not 0 <= index < size:
        return None
    found, at = _leaf(statement), 0
    while size > 1:
        if index ^ 1 < size:
            neighbour = path[at : at + HASH_BYTES]
            at += HASH_BYTES
            found = _node(neighbour, found) if index & 1 else _node(found, neighbour)
        index >>= 1
        size = (size + 1) >> 1
    # Of one that is too short less was there than was counted.
    return found if at == len(path) else None


def _leaf(statement: bytes) -> bytes:
    return hashlib.sha256(b"\0" + statement).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
