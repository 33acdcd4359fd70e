"""One vote per unit in a window.

The evidence counts pairs as separate witnesses. One user who sends a hundred times the same request is
one witness, heard a hundred times: measured, such bursts raise a false-alarm rate of 0.1 % to 14–41 %.
So a unit's first pair in a window votes, and its others are compared, shown and kept, but not counted.
"""

from __future__ import annotations

from collections import OrderedDict


class Votes:
    """Who has voted within the last `window` seconds.

    A unit of 0 means that the request had none: each such pair votes. So does every pair when `window` is 0.
    At most `capacity` units are remembered (about 150 bytes each); beyond, the one that voted longest ago
    is forgotten and may vote again before its window is over. A restart forgets them all.
    """

    def __init__(self, window: float, capacity: int = 100_000) -> None:
        """Raises ValueError for a negative window or a capacity below 1."""
        if not window >= 0:
            raise ValueError(f"window {window!r} must be 0 seconds or more")
        if capacity < 1:
            raise ValueError(f"capacity {capacity!r} must be 1 or more")
        self._window = window
        self._capacity = capacity
        self._cast: OrderedDict[int, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._cast)

    def has_vote(self, unit: int, now: float) -> bool:
        """Whether a pair of `unit` counts at `now` (seconds on a monotonic clock)."""
        if not unit or not self._window:
            return True
        cast = self._cast.get(unit)
        return cast is None or now - cast >= self._window

    def cast(self, unit: int, now: float) -> None:
        """Note that `unit` voted at `now`; earlier votes that are out of their window are forgotten."""
        if not unit or not self._window:
            return
        cast = self._cast
        cast[unit] = now
        cast.move_to_end(unit)
        while len(cast) > self._capacity or now - next(iter(cast.values())) >= self._window:
            cast.popitem(last=False)
