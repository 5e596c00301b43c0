"""Merkle trees: as RFC 9162 has them, and a path proves one statement at one place."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.trees import root_and_paths, root_from


def tree_of_the_rfc(entries: list[bytes]) -> bytes:
    """``MTH`` of RFC 9162, section 2.1.1, in its words."""
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + tree_of_the_rfc(entries[:k]) + tree_of_the_rfc(entries[k:])).digest()


# The leaves and roots with which implementations of RFC 6962 (the same trees) test themselves.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("size", ROOTS)
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    """Known answers."""
    root, _ = root_and_paths([bytes.fromhex(leaf) for leaf in LEAVES[:size]])
    assert root.hex() == ROOTS[size]


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=70))
def test_each_statement_proves_its_own_place(statements: list[bytes]) -> None:
    """Its path leads to the root; another statement there, a longer path or a shorter one does not."""
    root, paths = root_and_paths(statements)
    size = len(statements)
    assert root == tree_of_the_rfc(statements)
    for index, (statement, path) in enumerate(zip(statements, paths, strict=True)):
        assert root_from(statement, index, size, path) == root
        assert root_from(statement + b"!", index, size, path) != root
        assert root_from(statement, index, size, path + bytes(32)) is None
        assert root_from(statement, index, size, path[:-1]) is None or not path
        for other in range(size):
            if statements[other] != statement:
                assert root_from(statements[other], index, size, path) != root
        for place in (-1, size, size + 1):
            assert root_from(statement, place, size, path) is None


def test_an_inner_node_can_not_pose_as_a_statement() -> None:
    """Leaves and nodes are hashed apart: who knows two hashes has not the statement above them."""
    root, paths = root_and_paths([b"a", b"b"])
    left = hashlib.sha256(b"\x00a").digest()
    assert paths[1] == left
    assert root_from(left + paths[0], 0, 1, b"") != root
