"""The hashes that assignments stick by.

MurmurHash3 (x86, 32 bits, unsigned) of `group:identifier`, as every Unleash SDK computes it, so that a unit
which the flag platform exposes elsewhere is exposed here too, and so that the answer needs no memory.

Rollouts use `normalized(..., 100)`, variants `normalized(..., 1000, VARIANT_SEED)`. Two independent hashes
keep the variants of a flag balanced within the rolled-out part (Unleash client specification 5.0.0). A
release's weight uses `bucket`, whose group is the release: each release draws its own units.

The text is hashed as UTF-8. Text that has no UTF-8 (a lone surrogate, which JSON can spell) is hashed by its
surrogates' bytes. It must never reach mmh3 as `str`: mmh3 5.3 crashes the process on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import mmh3

from domain.routing import FULL_WEIGHT

try:
    from routing import _murmur
except ImportError:  # as everywhere but in an accelerated worker
    _murmur = None  # type: ignore[assignment]

_hash: Final = mmh3.hash
_hashed: Final[Callable[[str, str, int], int] | None] = None if _murmur is None else _murmur.hashed
VARIANT_SEED: Final = 86_028_157
"""The seed of variant assignment in the Unleash client specification; a rollout has seed 0."""


def normalized(identifier: str, group: str, modulus: int, seed: int = 0) -> int:
    """1..modulus, as Unleash normalises: `murmur3(group:identifier) % modulus + 1`.

    >>> normalized("123", "gr1", 100)
    73
    """
    if _hashed is not None:
        return _hashed(group, identifier, seed) % modulus + 1
    try:
        return _hash(f"{group}:{identifier}".encode(), seed, False) % modulus + 1
    except UnicodeEncodeError:
        return _hash(_surrogates(f"{group}:{identifier}"), seed, False) % modulus + 1


def bucket(release: str, unit: str) -> int:
    """0..9999: the unit is inside a release's weight when its bucket is below it."""
    if _hashed is not None:
        return _hashed(release, unit, 0) % FULL_WEIGHT
    try:
        return _hash(f"{release}:{unit}".encode(), 0, False) % FULL_WEIGHT
    except UnicodeEncodeError:
        return _hash(_surrogates(f"{release}:{unit}"), 0, False) % FULL_WEIGHT


def _surrogates(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
