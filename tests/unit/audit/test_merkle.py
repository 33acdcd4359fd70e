"""The tree against the definitions of RFC 9162, written down once more as they stand there."""

from __future__ import annotations

import random
from functools import cache
from hashlib import sha256

import pytest

from audit import merkle
from audit.merkle import Frontier

SIZES = range(258)
ENTRIES = [f"entry {number}".encode() * (1 + number % 3) for number in SIZES]
LEAVES = [merkle.leaf(entry) for entry in ENTRIES]

# The test vectors of Certificate Transparency (RFC 9162 keeps the trees of RFC 6962):
# google/certificate-transparency, merkletree/merkle_tree_test.cc.
KNOWN_ENTRIES = [bytes.fromhex(one) for one in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
KNOWN_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


# RFC 9162, section 2.1: as it is defined there, entry by entry.


def split(entries: list[bytes]) -> int:
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return k


def mth(entries: list[bytes]) -> bytes:
    return hashed(tuple(entries))


@cache
def hashed(entries: tuple[bytes, ...]) -> bytes:
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = split(list(entries))
    return sha256(b"\x01" + hashed(entries[:k]) + hashed(entries[k:])).digest()


def path(m: int, entries: list[bytes]) -> list[bytes]:
    if len(entries) == 1:
        return []
    k = split(entries)
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m: int, entries: list[bytes], complete: bool) -> list[bytes]:
    if m == len(entries):
        return [] if complete else [mth(entries)]
    k = split(entries)
    if m <= k:
        return [*subproof(m, entries[:k], complete), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


def test_the_roots_of_the_published_vectors() -> None:
    leaves = [merkle.leaf(entry) for entry in KNOWN_ENTRIES]
    assert [merkle.root(leaves[: size + 1]).hex() for size in range(len(leaves))] == list(KNOWN_ROOTS)


@pytest.mark.parametrize("size", SIZES)
def test_root_and_frontier_are_those_of_the_definition(size: int) -> None:
    frontier = Frontier().add(LEAVES[:size])
    assert frontier.root() == merkle.root(LEAVES[:size]) == mth(ENTRIES[:size])
    assert Frontier.decode(size, frontier.encode()) == frontier
    assert len(frontier.subtrees) == size.bit_count()


@pytest.mark.parametrize("size", range(1, 258))
def test_inclusion_proofs_are_those_of_the_definition_and_hold(size: int) -> None:
    leaves, root = LEAVES[:size], mth(ENTRIES[:size])
    for index in {0, size // 3, size // 2, size - 1, *random.Random(size).sample(range(size), min(size, 6))}:
        proof = merkle.inclusion_proof(leaves, index)
        assert list(proof) == path(index, ENTRIES[:size])
        assert merkle.verify_inclusion(leaves[index], index, size, proof, root)


@pytest.mark.parametrize("size", range(1, 258))
def test_consistency_proofs_are_those_of_the_definition_and_hold(size: int) -> None:
    leaves, root = LEAVES[:size], mth(ENTRIES[:size])
    for earlier in {1, (size + 1) // 2, size, *random.Random(size).sample(range(1, size + 1), min(size, 6))}:
        proof = merkle.consistency_proof(leaves, earlier)
        assert list(proof) == subproof(earlier, ENTRIES[:size], True)
        assert merkle.verify_consistency(earlier, size, proof, mth(ENTRIES[:earlier]), root)


def test_ten_thousand_wrong_proofs_do_not_hold() -> None:  # five or six in each round
    draw = random.Random(9162)
    for _ in range(2000):
        size = draw.randrange(2, 258)
        index = draw.randrange(size)
        leaves, root = LEAVES[:size], merkle.root(LEAVES[:size])
        proof = list(merkle.inclusion_proof(leaves, index))
        other = draw.randrange(size)
        if other != index:
            assert not merkle.verify_inclusion(leaves[other], index, size, proof, root)
            assert not merkle.verify_inclusion(leaves[index], other, size, proof, root)
        assert not merkle.verify_inclusion(leaves[index], index, size, spoilt(proof, draw), root)
        earlier = draw.randrange(1, size)
        proof = list(merkle.consistency_proof(leaves, earlier))
        before = merkle.root(leaves[:earlier])
        assert not merkle.verify_consistency(earlier, size, spoilt(proof, draw), before, root)
        assert not merkle.verify_consistency(earlier, size, proof, merkle.leaf(b"else"), root)
        assert not merkle.verify_consistency(earlier, size, proof, before, merkle.leaf(b"else"))


def spoilt(proof: list[bytes], draw: random.Random) -> list[bytes]:
    how = draw.randrange(3)
    at = draw.randrange(len(proof))
    if how == 0:
        return [*proof[:at], *proof[at + 1 :]]
    if how == 1:
        return [*proof[:at], merkle.leaf(b"else"), *proof[at + 1 :]]
    return [*proof[:at], merkle.leaf(b"else"), *proof[at:]]


@pytest.mark.parametrize("index", [-1, 3])
def test_a_leaf_that_is_not_there_has_no_proof(index: int) -> None:
    with pytest.raises(ValueError):
        merkle.inclusion_proof(LEAVES[:3], index)


@pytest.mark.parametrize("earlier", [0, 4])
def test_a_tree_that_is_no_beginning_has_no_proof(earlier: int) -> None:
    with pytest.raises(ValueError):
        merkle.consistency_proof(LEAVES[:3], earlier)


def test_a_frontier_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError):
        Frontier.decode(3, bytes(32))
