"""What stands for a unit in a pair: a number from which nobody without the key finds the unit.

BLAKE2b (RFC 7693) with a key, of eight bytes: fast, and a MAC by itself. Workers of one supervisor share the
key, so one unit is one number in all of them, compiled or not.
"""

from __future__ import annotations

import hashlib


class PythonUnitHash:
    """Digests under `key`, of 1 to 64 bytes."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(digest_size=8, key=key)

    def digest(self, unit: str) -> int:
        """64 bits."""
        digest = self._keyed.copy()
        digest.update(unit.encode("utf-8", "replace"))
        return int.from_bytes(digest.digest(), "big")


try:
    from shadow._mirrored import UnitHash
except ImportError:  # as everywhere but in an accelerated worker
    UnitHash = PythonUnitHash  # type: ignore[assignment, misc]

__all__ = ["PythonUnitHash", "UnitHash"]
