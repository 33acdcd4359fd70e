"""One vote per unit, guard and window.

The evidence counts pairs as separate witnesses. One user who sends a hundred times the same request is
one witness, heard a hundred times: measured, such bursts raise a false-alarm rate of 0.1 % to 14–41 %.
So in a window each guard hears a unit once: the first of its pairs that says something to that guard. The
others are compared, shown and kept, but not counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

ALL = -1
"""Every guard: each of the bits stands for one."""


class Votes:
    """Who has voted, in windows of `window` seconds that begin with a unit's first vote.

    A unit of 0 means that the request had none: each such pair votes. So does every pair when `window` is 0.
    At most `capacity` units are remembered (about 250 bytes each, 25 MB in all); beyond, the one whose window
    began first is forgotten and may vote again before it is over. A restart forgets them all.
    """

    def __init__(self, window: float, capacity: int = 100_000) -> None:
        """Raises ValueError for a negative window or a capacity below 1."""
        if not window >= 0:
            raise ValueError(f"window {window!r} must be 0 seconds or more")
        if capacity < 1:
            raise ValueError(f"capacity {capacity!r} must be 1 or more")
        self._window = window
        self._capacity = capacity
        self._cast: OrderedDict[int, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._cast)

    def admit(self, unit: int, now: float, wants: int = ALL) -> int:
        """Cast a vote of `unit` at `now` (seconds on a monotonic clock) for the guards with bits in `wants`.

        Answers the bits of those for which it counts.
        """
        return self.admit_all((unit,), (wants,), now)[0]

    def admit_all(self, units: Sequence[int], wants: Sequence[int], now: float) -> list[int]:
        """The same for a batch, one after another."""
        if not self._window:
            return list(wants)
        cast = self._cast
        window = self._window
        admitted = []
        for unit, wanted in zip(units, wants, strict=True):
            granted = wanted
            if unit and wanted:
                before = cast.get(unit)
                if before is None or now - before[0] >= window:
                    cast[unit] = (now, wanted)
                    cast.move_to_end(unit)
                else:
                    granted = wanted & ~before[1]
                    if granted:
                        cast[unit] = (before[0], before[1] | wanted)
            admitted.append(granted)
        while cast and (len(cast) > self._capacity or now - next(iter(cast.values()))[0] >= window):
            cast.popitem(last=False)
        return admitted
