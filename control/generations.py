"""Generation numbers: never used twice, across restarts, and above all that a worker has served.

They are reserved in the store by the block, so that a trip takes its number from memory and waits for no
disk. If a block runs out while the store is out of reach, counting goes on without one: a kill needs a
number now. The workers' own memory then keeps the numbers rising: each names its generation in its Hello.
"""

from __future__ import annotations

BLOCK = 1000


class Generations:
    """Hands out rising numbers."""

    def __init__(self) -> None:
        self._last = 0
        self._end = 0

    @property
    def last(self) -> int:
        """The number handed out last."""
        return self._last

    @property
    def wanting(self) -> int:
        """How many numbers should be reserved now; 0 while half a block is left."""
        left = self._end - self._last
        return BLOCK - min(left, 0) if left < BLOCK // 2 else 0

    def block(self, first: int, count: int) -> None:
        """The numbers from `first` to `first + count - 1` are ours."""
        self._last = max(self._last, first - 1)
        self._end = max(self._end, first + count - 1)

    def above(self, generation: int) -> None:
        """The next number is above `generation`."""
        self._last = max(self._last, generation)

    def next(self) -> int:
        """A number above all before."""
        self._last += 1
        return self._last
