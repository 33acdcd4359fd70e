"""Merkle trees over the records, as Certificate Transparency grows them.

A hash chain shows that nothing was changed in the middle, but whoever can rewrite the whole store can work
out a new chain from the first change on. A tree head, signed and kept elsewhere, stops that: it commits to
every record up to its size in 32 bytes. Two short proofs make heads useful to people who do not hold the log:
that a record is in the tree (inclusion), and that a later tree only added to an earlier one (consistency).

Guarantee: finding two logs with one root, or a false proof, is finding a collision of SHA-256.

Source: RFC 9162, sections 2.1.1 (tree), 2.1.3 (inclusion) and 2.1.4 (consistency).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

EMPTY = sha256(b"").digest()
"""The root of the tree without leaves."""

HASH_SIZE = 32


def leaf(data: bytes) -> bytes:
    """The hash of a leaf that holds `data`."""
    return sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that appending to a tree takes: its size, and the roots of its full subtrees, largest first.

    There is one subtree for every bit that is set in `size`: O(log size) hashes.
    """

    size: int = 0
    subtrees: tuple[bytes, ...] = ()

    def add(self, leaves: Iterable[bytes]) -> Frontier:
        """With more leaves (their hashes) at the end."""
        growing = Growing(self)
        growing.extend(leaves)
        return growing.frontier()

    def root(self) -> bytes:
        """The root of the tree."""
        if not self.subtrees:
            return EMPTY
        root = self.subtrees[-1]
        for one in reversed(self.subtrees[:-1]):
            root = node(one, root)
        return root

    def encode(self) -> bytes:
        """The subtrees in a row; `decode` reads it with the size."""
        return b"".join(self.subtrees)

    @staticmethod
    def decode(size: int, subtrees: bytes) -> Frontier:
        """Raises ValueError when these cannot be the subtrees of a tree of `size` leaves."""
        if size < 0 or len(subtrees) != HASH_SIZE * size.bit_count():
            raise ValueError(f"{len(subtrees)} bytes of subtrees do not fit a tree of {size} leaves")
        cuts = range(0, len(subtrees), HASH_SIZE)
        return Frontier(size, tuple(subtrees[at : at + HASH_SIZE] for at in cuts))


class Growing:
    """A frontier that grows in place: half a microsecond a leaf, for reading whole logs."""

    def __init__(self, frontier: Frontier | None = None) -> None:
        start = frontier or Frontier()
        self.size = start.size
        self._subtrees = list(start.subtrees)

    def extend(self, hashes: Iterable[bytes]) -> None:
        """More leaves, by their hashes."""
        subtrees, size, hashing = self._subtrees, self.size, sha256
        for one in hashes:
            hashed, full = one, size
            while full & 1:
                hashed = hashing(b"\x01" + subtrees.pop() + hashed).digest()
                full >>= 1
            subtrees.append(hashed)
            size += 1
        self.size = size

    def frontier(self) -> Frontier:
        """As it is now."""
        return Frontier(self.size, tuple(self._subtrees))


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over `leaves`, which are hashes of leaves."""
    return Frontier().add(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The path of leaf `index` (from 0) in the tree over `leaves`, deepest first. Raises ValueError."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"leaf {index}: the tree has leaves 0 to {len(leaves) - 1}")
    path: list[bytes] = []
    first, size = 0, len(leaves)
    while size > 1:
        half = _split(size)
        if index < half:
            path.append(root(leaves[first + half : first + size]))
            size = half
        else:
            path.append(root(leaves[first : first + half]))
            first, index, size = first + half, index - half, size - half
    return tuple(reversed(path))


def verify_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes
) -> bool:
    """Whether `proof` shows that leaf `index` of a tree of `size` leaves is `leaf_hash` (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf_hash
    for one in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node(one, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, one)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root_hash


def consistency_proof(leaves: Sequence[bytes], earlier: int) -> tuple[bytes, ...]:
    """That the tree over `leaves` only added to its first `earlier` (1 or more) leaves. Raises ValueError."""
    if not 0 < earlier <= len(leaves):
        raise ValueError(f"a tree of {earlier} leaves is no beginning of one of {len(leaves)}")
    path: list[bytes] = []
    first, size, whole = 0, len(leaves), True
    while earlier != size:
        half = _split(size)
        if earlier <= half:
            path.append(root(leaves[first + half : first + size]))
            size = half
        else:
            path.append(root(leaves[first : first + half]))
            first, size, earlier, whole = first + half, size - half, earlier - half, False
    if not whole:
        path.append(root(leaves[first : first + size]))
    return tuple(reversed(path))


def verify_consistency(
    earlier: int, later: int, proof: Sequence[bytes], earlier_root: bytes, later_root: bytes
) -> bool:
    """Whether `proof` shows that the tree of `later` leaves only added to that of `earlier` (2.1.4.2)."""
    if not 0 < earlier <= later:
        return False
    if earlier == later:
        return not proof and earlier_root == later_root
    path = list(proof) if earlier & (earlier - 1) else [earlier_root, *proof]
    if not path:
        return False
    at, last = earlier - 1, later - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node(one, before), node(one, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node(after, one)
        at, last = at >> 1, last >> 1
    return last == 0 and before == earlier_root and after == later_root


def _split(size: int) -> int:
    """The largest power of two below `size`, which is 2 or more."""
    return 1 << ((size - 1).bit_length() - 1)
