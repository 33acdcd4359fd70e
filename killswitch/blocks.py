"""Block means: votes that come in bursts count as one.

Requests that arrive together may be alike without sharing a unit: a retry storm, a batch job, one broken
upstream. The mean of a block of votes has the same range and, under the claim, the same bound on its mean as
each of them, however much they depend on one another. So blocks may vote where votes may not, if a block says
little about the next one: it must hold several bursts, since the one at its end is cut in two. Measured with
bursts of 20 at α = 5 %: 46 % false alarms with blocks of 10, 7 % with 20, 2 % with 40.
"""

from __future__ import annotations

import numpy as np

from killswitch.columns import Numbers
from killswitch.evidence import Floats


class Blocks:
    """Turns votes into means of `size` in a row; what is left over waits for the next batch.

    A restart forgets the open block, and several processes have one each.
    """

    def __init__(self, size: int) -> None:
        """Raises ValueError for a size below 1."""
        if size < 1:
            raise ValueError(f"size {size!r} must be 1 or more")
        self._size = size
        self._open: Floats = np.zeros((3, 0))

    def take(self, votes: Numbers, at: Floats) -> tuple[Numbers, Floats]:
        """The blocks that `votes`, by pairs that began at `at`, complete: means, and when each began."""
        if self._size == 1:
            return votes, at
        certified = votes.x if votes.certified is None else votes.certified
        held = np.concatenate([self._open, np.stack([votes.x, at, certified])], axis=1)
        whole = held.shape[1] // self._size * self._size
        self._open = held[:, whole:]
        blocks = held[:, :whole].reshape(3, -1, self._size)
        means = blocks.mean(axis=2)
        # A block belongs to no single pair, and whose votes it holds is settled: the index has no meaning.
        numbers = Numbers(means[0], np.arange(len(means[0])), None if votes.certified is None else means[2])
        return numbers, blocks[1, :, 0]
