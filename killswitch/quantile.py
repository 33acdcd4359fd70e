"""A running quantile of the incumbent's latency.

The latency guards ask whether the candidate exceeds r times this quantile more often than the incumbent
exceeds the quantile itself. Their guarantee holds for any threshold that was fixed before the pair it
judges, so this one needs to be timely and cheap, not exact: a ring of the last latencies, looked at again
every so often.
"""

from __future__ import annotations

import math

import numpy as np


class RunningQuantile:
    """The `level` quantile of the last `capacity` latencies, renewed after every `every` of them."""

    def __init__(self, level: float, minimum: int, capacity: int = 2000, every: int = 50) -> None:
        """`value` is None until `minimum` latencies were seen. Raises ValueError for impossible numbers."""
        if not (0 < level < 1 and 1 <= minimum <= capacity and every >= 1):
            raise ValueError(f"no quantile {level!r} of {minimum!r} to {capacity!r} numbers, every {every!r}")
        self.level = level
        self.minimum = minimum
        self.value: float | None = None
        self._ring = np.zeros(capacity)
        self._every = every
        self._seen = 0
        self._due = minimum

    @property
    def seen(self) -> int:
        """How many latencies were learned since the start."""
        return self._seen

    def learn(self, latency: float) -> None:
        """Take one latency into account, in seconds; infinity for one that never came."""
        capacity = len(self._ring)
        self._ring[self._seen % capacity] = latency
        self._seen += 1
        if self._seen >= self._due:
            self._due = self._seen + self._every
            held = min(self._seen, capacity)
            rank = math.ceil(self.level * held) - 1
            self.value = float(np.partition(self._ring[:held], rank)[rank])
