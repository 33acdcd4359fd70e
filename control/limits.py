"""How often somebody may do something: a bucket of turns for each, filled again steadily."""

from __future__ import annotations

from collections import OrderedDict

MOST_KEYS = 10_000
"""Buckets that are remembered; beyond it the one that was asked for longest ago is forgotten."""


class Turns:
    """`most` turns at once, and as many again in `seconds`, for each key."""

    def __init__(self, most: int, seconds: float, keys: int = MOST_KEYS) -> None:
        self._most = float(most)
        self._rate = most / seconds
        self._keys = keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take a turn at `now` (monotonic): 0.0, or the seconds until there is one; then none was taken."""
        left = self._left(key, now)
        wait = self._wait(left)
        self._buckets[key] = (left if wait else left - 1.0, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return wait

    def wait(self, key: str, now: float) -> float:
        """Seconds until there is a turn, without taking it."""
        return self._wait(self._left(key, now))

    def _left(self, key: str, now: float) -> float:
        left, then = self._buckets.get(key, (self._most, now))
        return min(self._most, left + max(0.0, now - then) * self._rate)

    def _wait(self, left: float) -> float:
        return 0.0 if left >= 1.0 else (1.0 - left) / self._rate
