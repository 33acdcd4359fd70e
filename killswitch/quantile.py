"""Running quantiles of the incumbent's latency.

The latency guards ask whether the candidate exceeds r times this quantile more often than the incumbent
exceeds the quantile itself. Their guarantee holds for any threshold that was fixed before the pairs it
judges, so this one needs to be timely and cheap, not exact: the latest latencies, counted in buckets that are
1 % wide, looked at again after every batch.

Counts add. Several processes that count their own latencies and add the counts have the same quantile as one
process that saw them all, whatever the order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from killswitch.evidence import Floats

_SHORTEST = 1e-6
_WIDTH = 1.01
_LAST = 2600
"""The bucket of everything above 170 000 seconds, and of what never came."""


def counted(latencies: Floats) -> dict[int, int]:
    """How many of `latencies` (seconds; infinity for one that never came) lie in each bucket."""
    buckets, counts = np.unique(_bucket(latencies), return_counts=True)
    return dict(zip(buckets.tolist(), counts.tolist(), strict=True))


def _bucket(latencies: Floats) -> npt.NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        places = np.ceil(np.log(latencies / _SHORTEST) / math.log(_WIDTH))
    whole: npt.NDArray[np.int64] = np.clip(places, 0, _LAST).astype(np.int64)
    return whole


class LatencyProfile:
    """The latest latencies: at least `capacity` of them as soon as there are that many, in bounded memory.

    They are kept in two parts. When the younger is full, it becomes the older and a new one is begun.
    """

    def __init__(self, capacity: int = 2000) -> None:
        """Raises ValueError for a capacity below 1."""
        if capacity < 1:
            raise ValueError(f"capacity {capacity!r} must be 1 or more")
        self.seen = 0
        self._capacity = capacity
        self._younger, self._older = np.zeros((2, _LAST + 1), dtype=np.int64)
        self._up_to = np.zeros(_LAST + 1, dtype=np.int64)

    def learn(self, counts: Mapping[int, int]) -> None:
        """Take latencies into account that were `counted`."""
        if not counts:
            return
        self._younger[list(counts)] += list(counts.values())
        self.seen += sum(counts.values())
        self._renew()

    def quantile(self, level: float) -> float:
        """In seconds, at most 1 % too long; infinity when it is a latency that never came, or none is
        known."""
        held = int(self._up_to[-1])
        rank = max(1, math.ceil(level * held))
        bucket = int(np.searchsorted(self._up_to, rank))
        return _SHORTEST * _WIDTH**bucket if bucket < _LAST else math.inf

    def keep(self) -> tuple[int, dict[int, int], dict[int, int]]:
        """Everything `restore` needs to go on."""
        return self.seen, _sparse(self._younger), _sparse(self._older)

    @staticmethod
    def holds(kept: tuple[int, Mapping[int, int], Mapping[int, int]]) -> bool:
        """Whether all buckets of `kept` exist."""
        return all(0 <= bucket <= _LAST for counts in kept[1:] for bucket in counts)

    def restore(self, kept: tuple[int, Mapping[int, int], Mapping[int, int]]) -> None:
        """Go on from `kept`, which `holds`."""
        self.seen, younger, older = kept
        for counts, part in ((younger, self._younger), (older, self._older)):
            part[:] = 0
            part[list(counts)] = list(counts.values())
        self._renew()

    def _renew(self) -> None:
        np.cumsum(self._younger + self._older, out=self._up_to)
        if self._younger.sum() >= self._capacity:
            self._younger, self._older = np.zeros_like(self._younger), self._younger


class RunningQuantile:
    """The `level` quantile of a profile, once it has seen `minimum` latencies."""

    def __init__(self, profile: LatencyProfile, level: float, minimum: int) -> None:
        """Raises ValueError for impossible numbers."""
        if not (0 < level < 1 and minimum >= 1):
            raise ValueError(f"no quantile {level!r} of {minimum!r} or more latencies")
        self.profile = profile
        self.level = level
        self.minimum = minimum

    @property
    def value(self) -> float | None:
        """In seconds; None until enough latencies were seen."""
        return None if self.profile.seen < self.minimum else self.profile.quantile(self.level)


def _sparse(counts: npt.NDArray[np.int64]) -> dict[int, int]:
    filled = np.flatnonzero(counts)
    return dict(zip(filled.tolist(), counts[filled].tolist(), strict=True))
