"""Many independent guards at once, with a look after every single vote.

The recursion is written here anew, in plain numbers, from the formula in docs/statistics.md; a test holds the
real detector equal to it. Wealth has the shape (bets, streams), so that one vote in each stream is a few
operations on whole rows.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]

BETS = 16


class Streams:
    """Evidence against "the mean of x in [low, high] is at most `limit`" in many streams.

    With `two_sided` against "its mean lies between −limit and limit".
    """

    def __init__(
        self, limit: float, low: float, high: float, streams: int, *, two_sided: bool = False
    ) -> None:
        stakes = _stakes(limit, low, high)
        centres = np.full(BETS, limit)
        if two_sided:
            stakes = np.concatenate([stakes, -_stakes(limit, -high, -low)])
            centres = np.concatenate([centres, -centres])
        self.stakes: Floats = stakes[:, np.newaxis]
        self.quiet: Floats = 1.0 - (stakes * centres)[:, np.newaxis]
        self.wealth: Floats = np.full((len(stakes), streams), 0.5)
        self.votes = 0

    def step(self, x: Floats) -> Floats:
        """One more vote in every stream, `x` of shape (streams,). Answers e, of the same shape."""
        self.wealth += fresh_money(self.votes)
        self.votes += 1
        self.wealth *= self.quiet + self.stakes * x
        return self.e

    @property
    def e(self) -> Floats:
        """The evidence in every stream."""
        mean: Floats = self.wealth.mean(axis=0)
        return mean


class RareStreams:
    """The same for one limit and x that is 0 nearly always: only the votes that are not 0 cost anything.

    Between them a bet's wealth W shrinks by the factor `quiet` with each vote and gains the fresh money, the
    same in all streams. With G the wealth of a stream that began with nothing and saw only zeros,
    W − G = (W₀ − G₀) · quiet^n after n votes of 0. So W − G is kept as it was at the last other vote.
    """

    def __init__(self, limit: float, low: float, high: float, streams: int) -> None:
        dense = Streams(limit, low, high, 1)
        self._stakes: Floats = dense.stakes[:, 0]
        self._quiet: Floats = dense.quiet[:, 0]
        self._log_quiet: Floats = np.log(self._quiet)
        self._over: Floats = np.full((streams, BETS), 0.5)
        self._seen: Whole = np.zeros(streams, dtype=np.int64)
        self._floor: Floats = np.zeros(BETS)
        self.votes = 0

    def step(self, where: Whole, x: Floats | float) -> Floats:
        """One more vote in every stream: `x` in the streams `where`, 0 in all others.

        Answers e of the streams `where`. In the others a vote of 0 has made e smaller, but for the fresh
        money, which is less than any threshold.
        """
        before = self._floor + fresh_money(self.votes)
        idle = self.votes - self._seen[where]
        self.votes += 1
        self._floor = before * self._quiet
        if not len(where):
            return np.zeros(0)
        wealth = self._over[where] * np.exp(idle[:, np.newaxis] * self._log_quiet) + before
        wealth *= self._quiet + self._stakes * (np.full(len(where), x)[:, np.newaxis])
        self._over[where] = wealth - self._floor
        self._seen[where] = self.votes
        e: Floats = wealth.mean(axis=1)
        return e

    @property
    def e(self) -> Floats:
        """The evidence in every stream."""
        idle = self.votes - self._seen
        wealth = self._over * np.exp(idle[:, np.newaxis] * self._log_quiet) + self._floor
        mean: Floats = wealth.mean(axis=1)
        return mean


def fresh_money(vote: int) -> float:
    """w_j: what every bet gets before the vote with the number `vote`, counted from 0."""
    return 0.5 * math.log(20) / ((vote + 20) * math.log(vote + 20) ** 2) if vote else 0.0


def _stakes(limit: float, low: float, high: float) -> Floats:
    q = (limit - low) / (high - low)
    first, last = 0.3 * min(q, 1 - q), 0.95 * (1 - q)
    steps = first * (last / first) ** (np.arange(BETS) / (BETS - 1))
    stakes: Floats = steps / (q * (1 - q)) / (high - low)
    return stakes
