"""Verification: whether the records that are there are the records that were written, and if not, where.

What is found, always: a record that was edited, deleted, added, repeated, or moved, because the hash of each
record covers the one before, and its content names its place. What only signed heads find: records cut off at
the end, and a chain that was worked out anew from some record on. So verify with heads from elsewhere.

A record whose time is over may lose its content but not its hash (`erased`): the chain goes on over it. That
is allowed only below a head that was signed before, since its hash cannot be checked against anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import orjson

from audit.event import ORIGIN
from audit.heads import Head
from audit.merkle import Growing
from domain.errors import PointsmanError

_TAIL = 64
"""Bytes at the end of a record that hold its number and its wall time."""


class BrokenChain(PointsmanError):  # noqa: N818 - named after what was found
    """The chain is not the one that was written. `sequence`: the first record that shows it."""

    def __init__(self, sequence: int, reason: str) -> None:
        super().__init__(f"record {sequence}: {reason}")
        self.sequence = sequence
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found to be in order: `size` records, of which `erased` have no content any more."""

    size: int
    chain: bytes
    root: bytes
    erased: int
    heads: int


class Verification:
    """Reads a chain from its first record; then `end`. Holds a few hashes, however long the chain is."""

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        """Raises BrokenChain when two of `heads` say different things about the same size."""
        self._heads: dict[int, Head] = {}
        for head in heads:
            known = self._heads.setdefault(head.size, head)
            if (known.root, known.chain) != (head.root, head.chain):
                raise BrokenChain(head.size, "two signed heads of this size contradict each other")
        self._highest = max(self._heads, default=0)
        self._met = 0
        self._previous = ORIGIN
        self._growing = Growing()
        self._erased = 0

    def read(self, rows: Iterable[tuple[bytes | None, bytes]]) -> None:
        """The next records: content (None where it was erased) and hash. Raises BrokenChain."""
        previous, growing, heads = self._previous, self._growing, self._heads
        hashing, loads = sha256, orjson.loads
        sequence, leaves = growing.size, []
        for content, hashed in rows:
            sequence += 1
            if content is None:
                self._erase(sequence, hashed)
            else:
                if hashing(b"\x00" + previous + content).digest() != hashed:
                    raise BrokenChain(sequence, self._difference(content, sequence))
                # The last two keys, where no text can look like them: reading it all costs as much as a hash.
                stands = b',"sequence":%d,"wall":' % sequence in content[-_TAIL:]
                if not stands and loads(content).get("sequence") != sequence:
                    raise BrokenChain(sequence, _misplaced(content, sequence))
            leaves.append(hashed)
            previous = hashed
            if sequence in heads:
                growing.extend(leaves)
                leaves = []
                self._meet(heads[sequence], hashed)
        growing.extend(leaves)
        self._previous = previous

    def end(self) -> Verified:
        """Nothing follows. Raises BrokenChain when a head knows more records than there are."""
        size = self._growing.size
        if self._highest > size:
            raise BrokenChain(
                size + 1,
                f"it is missing, and so is all that follows: a signed head knows {self._highest} records, "
                f"here are {size}",
            )
        root = self._growing.frontier().root()
        return Verified(size, self._previous, root, self._erased, self._met)

    @property
    def size(self) -> int:
        """Records read so far."""
        return self._growing.size

    def _meet(self, head: Head, hashed: bytes) -> None:
        self._met += 1
        if head.size == 0 or (head.chain == hashed and head.root == self._growing.frontier().root()):
            return
        raise BrokenChain(
            head.size,
            "up to here the chain agrees with itself, but not with the head that was signed when it had "
            f"{head.size} records: something at or before it was replaced, and the chain worked out anew",
        )

    def _erase(self, sequence: int, hashed: bytes) -> None:
        if len(hashed) != len(ORIGIN):
            raise BrokenChain(sequence, "its content was erased and its hash is no hash")
        if sequence > self._highest:
            raise BrokenChain(
                sequence, "its content was erased, and no signed head covers it; verify with the heads"
            )
        self._erased += 1

    def _difference(self, content: bytes, sequence: int) -> str:
        try:
            found = orjson.loads(content).get("sequence")
        except (ValueError, AttributeError):
            return "its content is damaged: it is no JSON any more"
        if found != sequence:
            return _misplaced(content, sequence)
        return "its content or its hash was changed, or the record before it was"


def _misplaced(content: bytes, sequence: int) -> str:
    found: Mapping[str, object] = orjson.loads(content)
    other = found.get("sequence")
    if isinstance(other, int) and other > sequence:
        return f"it is missing: record {other} stands in its place"
    return f"record {other} stands in its place: records were moved or repeated"
