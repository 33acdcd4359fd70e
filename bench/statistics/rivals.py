"""What else one could watch a flip rate with. Each is given the best of chances.

* A sliding window: alarm when the last `width` pairs hold `count` flips. The smallest count is chosen with
  which a candidate at its limit alarms with a probability of at most α within a horizon; beyond it, it
  promises nothing.
* Mann-Whitney per minute, as automated canary analysis does: each minute gives one point per arm, and after
  each the two series are compared. The control arm's points are those of a healthy candidate at its limit.
* mSPRT, the mixture sequential probability ratio test of A/B platforms: the likelihood of the flips so far,
  averaged over rates, against that at the limit. With a normal approximation, as it is used, and exactly, for
  rates above the limit, with the conjugate Beta prior.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Protocol

import numpy as np

from bench.statistics.streams import Floats, RareStreams, Truth, Whole

MINUTE = 1200
"""Pairs in a minute, where a rival thinks in minutes."""


class Detector(Protocol):
    """Watches many streams of flips, a pair at a time in each."""

    def step(self, flips: Truth) -> Truth:
        """One more pair in every stream; in which of them there is an alarm now."""


class Pointsman:
    """The guard."""

    def __init__(self, limit: float, alpha: float, streams: int) -> None:
        self._streams = RareStreams(limit, 0.0, 1.0, streams)
        self._threshold = 1 / alpha

    def step(self, flips: Truth) -> Truth:
        alarms = np.zeros(len(flips), dtype=bool)
        where = np.flatnonzero(flips)
        alarms[where] = self._streams.step(where, 1.0) >= self._threshold
        return alarms


class Window:
    """`count` flips or more among the last `width` pairs."""

    def __init__(self, width: int, count: int, streams: int) -> None:
        self._count = count
        self._last = np.zeros((width, streams), dtype=bool)
        self._sum: Whole = np.zeros(streams, dtype=np.int64)
        self._at = 0

    def step(self, flips: Truth) -> Truth:
        row = self._last[self._at]
        self._sum += flips
        self._sum -= row
        row[:] = flips
        self._at = (self._at + 1) % len(self._last)
        alarms: Truth = self._sum >= self._count
        return alarms


def window_count(width: int, limit: float, alpha: float, pairs: float) -> int:
    """The smallest count with which at most α of the candidates at their limit alarm within `pairs` pairs.

    By Naus's approximation of the distribution of a scan statistic, which is good to a few per cent
    ("Approximations for distributions of scan statistics", Journal of the American Statistical Association
    77, 1982).
    """
    count = 3
    while _alarms(width, limit, count, pairs) > alpha:
        count += 1
    return count


def _alarms(width: int, limit: float, count: int, pairs: float) -> float:
    """The chance that some `width` of so many pairs hold `count` flips or more."""
    m, p, k = width, limit, count
    chance = [
        math.exp(_log_binomial(m, n) + n * math.log(p) + (m - n) * math.log1p(-p)) for n in range(m + 1)
    ]
    upto = np.cumsum(chance)

    def b(n: int) -> float:
        return chance[n] if 0 <= n <= m else 0.0

    def f(n: int) -> float:
        return float(upto[min(n, m)]) if n >= 0 else 0.0

    def g(r: int) -> float:
        return (r - 1) * f(r - 2) - m * p * f(r - 3)

    two = f(k - 1) ** 2 - b(k) * g(k)
    once_more = (k - 1) * (k - 2) * f(k - 3) - 2 * (k - 2) * m * p * f(k - 4) + (m * p) ** 2 * f(k - 5)
    three = (
        f(k - 1) ** 3
        - 2 * b(k) * f(k - 1) * g(k)
        + 0.5 * b(k) ** 2 * once_more
        + sum(b(2 * k - r) * f(r - 1) ** 2 for r in range(1, k))
        - sum(b(2 * k - r) * b(r) * g(r) for r in range(2, k))
    )
    if not 0 < three <= two:
        return 1.0  # So few flips are common, and the approximation says nothing.
    return 1.0 - two * math.exp((pairs / m - 2) * math.log(three / two))


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


class MannWhitney:
    """One point per arm and minute; alarm when the candidate's are higher with P ≤ `alpha`, one-sided."""

    def __init__(self, limit: float, alpha: float, streams: int, seed: int, most: int = 60) -> None:
        self._alpha = alpha
        self._limit = limit
        self._generator = np.random.default_rng(seed)
        self._sum = np.zeros(streams)
        self._candidate: list[Floats] = []
        self._control: list[Floats] = []
        self._pairs = 0
        self._most = most

    def step(self, flips: Truth) -> Truth:
        self._sum += flips
        self._pairs += 1
        if self._pairs % MINUTE:
            return np.zeros(len(flips), dtype=bool)
        self._candidate = [*self._candidate, self._sum][-self._most :]
        control = self._generator.binomial(MINUTE, self._limit, len(flips)).astype(float)
        self._control = [*self._control, control][-self._most :]
        self._sum = np.zeros(len(flips))
        return self._significant(np.array(self._candidate), np.array(self._control))

    def _significant(self, candidate: Floats, control: Floats) -> Truth:
        n = len(candidate)
        above = candidate[:, np.newaxis] > control
        equal = candidate[:, np.newaxis] == control
        u = above.sum(axis=(0, 1)) + 0.5 * equal.sum(axis=(0, 1))
        alarms: Truth = u >= _critical(n, self._alpha)
        return alarms


@cache
def _critical(n: int, alpha: float) -> float:
    """The smallest U of two samples of `n` with P(U ≥ it) ≤ α; infinite when even n² is not rare enough."""
    tails = np.cumsum(_arrangements(n)) / math.comb(2 * n, n)
    rare = int(np.searchsorted(tails, alpha, side="right"))
    return n * n - rare + 1 if rare else math.inf


@cache
def _arrangements(n: int) -> Floats:
    """In how many ways two samples of `n` without ties give U = 0, 1, … (as many as give n² − U).

    The Gaussian binomial coefficient: the product of (1 − q^(n+k)) / (1 − q^k) over k = 1 … n, as a series.
    """
    ways = np.zeros(n * n + 1)
    ways[0] = 1.0
    for k in range(1, n + 1):
        if n + k < len(ways):
            ways[n + k :] -= ways[: -(n + k)].copy()
        for first in range(k):
            np.cumsum(ways[first::k], out=ways[first::k])
    return ways


class NormalMixture:
    """mSPRT for a mean with normal mixing of the standard deviation `spread` around the limit.

    Λ = √(V/(V + n·spread²)) · exp(n²·spread²·(mean − limit)² / (2V(V + n·spread²))), V = limit·(1 − limit);
    alarm at Λ ≥ 1/α and a mean above the limit.
    """

    def __init__(self, limit: float, alpha: float, streams: int, spread: float = 0.01) -> None:
        self._limit = limit
        self._goal = math.log(1 / alpha)
        self._spread = spread**2
        self._sum = np.zeros(streams)
        self._pairs = 0

    def step(self, flips: Truth) -> Truth:
        self._sum += flips
        self._pairs += 1
        n, variance = self._pairs, self._limit * (1 - self._limit)
        total = variance + n * self._spread
        excess = self._sum - n * self._limit
        log_ratio = 0.5 * math.log(variance / total) + self._spread * excess**2 / (2 * variance * total)
        alarms: Truth = (log_ratio >= self._goal) & (excess > 0)
        return alarms


class BetaMixture:
    """mSPRT for a coin, exactly: the likelihood averaged over a Beta(1, 3) prior cut off below the limit."""

    def __init__(self, limit: float, alpha: float, streams: int) -> None:
        self._goal = math.log(1 / alpha)
        rates = limit + (1 - limit) * (np.arange(400) + 0.5) ** 3 / 400**3
        edges = limit + (1 - limit) * np.arange(401) ** 3 / 400**3
        weights = (1 - edges[:-1]) ** 3 - (1 - edges[1:]) ** 3
        self._log_prior = np.log(weights / weights.sum())
        self._of_flip = np.log(rates / limit)
        self._of_none = np.log((1 - rates) / (1 - limit))
        self._sum: Whole = np.zeros(streams, dtype=np.int64)
        self._pairs = 0
        self._needed = 0

    def step(self, flips: Truth) -> Truth:
        self._sum += flips
        self._pairs += 1
        # The ratio rises with the number of flips, so there is a number from which on it is an alarm.
        while self._log_ratio(self._needed) < self._goal:
            self._needed += 1
        alarms: Truth = self._sum >= self._needed
        return alarms

    def _log_ratio(self, flips: int) -> float:
        growth = flips * self._of_flip + (self._pairs - flips) * self._of_none
        return float(np.logaddexp.reduce(self._log_prior + growth))
