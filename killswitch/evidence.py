"""Evidence against a limit, judged at every batch, with a false-alarm rate that holds for ever.

The problem. A guard is looked at after every pair, for days. A test that is valid once ("p < 0.001 on
these 1000 pairs") false-alarms almost surely when it is repeated until it fires, and a sliding window
forgets what it saw.

The idea. Somebody bets against the claim H0: "given the past, the mean of x is at most `limit`". With the
bet λ, wealth is multiplied by 1 + λ(x − limit) at each x. If H0 is true no bet wins on average, whatever
λ > 0, so wealth multiplied by X happens with probability 1/X at most. K bets of different sizes are held
at once, since how wrong H0 may be is unknown. And because a candidate may turn bad late, when the first
stake is long lost, a little fresh money w_j is added at every batch: a restart.

The guarantee. The start (½) and all restarts together (Σ w_j ≤ ½) are worth 1. So e, the mean of the K
wealths, plus the money not yet handed out, is a non-negative supermartingale that starts at 1 or below,
and by Ville's inequality P(e ever reaches 1/α) ≤ α: at any time, at any pace, however often one looks,
and whatever the distribution of x. It needs that the claim holds *given the past*; pairs that copy one
another (one user's burst) break it, which is why a unit has one vote in a window (`killswitch.votes`).

Sources. Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024
(the wealth process); Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential
change detection", NEJSDS 2023 (restarts, mixtures); Ville 1939. docs/statistics.md has the plain words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

START = 0.5
"""Each bet's wealth before the first batch; the other half is what all restarts share."""

RESTART_SUM = 1.307
"""An upper bound of Σ 1 / ((j+1)·ln²(j+2)) over j = 1, 2, 3, …"""


def restart_weight(batch: int) -> float:
    """w_j: the fresh money before batch `batch`. The first batch has number 0 and only the start."""
    if batch == 0:
        return 0.0
    return (1.0 - START) / (RESTART_SUM * (batch + 1) * math.log(batch + 2) ** 2)


@dataclass(frozen=True, slots=True)
class Increment:
    """What one batch does to the evidence. Increments add: order and replica do not matter.

    `growth` holds Σ log(1 + λ_k (x − limit)) for each bet, `count` the number of x, `total` their sum.
    """

    growth: tuple[float, ...]
    count: int
    total: float

    def __add__(self, other: Increment) -> Increment:
        """Both as one batch. Raises ValueError when they come from detectors with other numbers of bets."""
        growth = tuple(mine + theirs for mine, theirs in zip(self.growth, other.growth, strict=True))
        return Increment(growth, self.count + other.count, self.total + other.total)


@dataclass(frozen=True, slots=True)
class Path:
    """One batch of n numbers, number by number.

    `growth`, of shape (bets, n + 1), holds each bet's Σ log(1 + λ_k (x − limit)) over the first 0, 1, … n of
    them, `totals`, of shape (n + 1,), their sums.
    """

    growth: Floats
    totals: Floats

    @property
    def increment(self) -> Increment:
        """What the whole batch does to the evidence."""
        return Increment(tuple(self.growth[:, -1].tolist()), len(self.totals) - 1, float(self.totals[-1]))


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """The log-wealth of each bet, how many batches it took, and how many x of which sum they held."""

    log_wealth: tuple[float, ...]
    batches: int
    count: int
    total: float


class EDetector:
    """Evidence against H0: E[x | past] ≤ `limit`, for x in [`low`, `high`]. Holds no state of its own.

    >>> detector = EDetector(limit=0.01, low=0.0, high=1.0)
    >>> state = detector.start()
    >>> for flips in ([0, 0, 1, 0], [1, 1, 0, 1], [1, 0, 1, 1]):
    ...     state = detector.apply(state, detector.increment(np.array(flips, dtype=float)))
    >>> bool(detector.log_evidence(state) > np.log(1000))
    True
    """

    def __init__(self, limit: float, low: float, high: float, bets: int = 16) -> None:
        """Raises ValueError unless low < limit < high, all finite, and bets ≥ 1."""
        if not all(map(math.isfinite, (limit, low, high))) or not low < limit < high:
            raise ValueError(f"limit {limit!r} must lie strictly between low {low!r} and high {high!r}")
        if bets < 1:
            raise ValueError(f"bets {bets!r} must be 1 or more")
        self.limit = limit
        self.low = low
        self.high = high
        self.bets = bets
        null = (limit - low) / (high - low)
        means = null + np.geomspace(0.3 * min(null, 1 - null), 0.95 * (1 - null), bets)
        self._stakes: Floats = ((means - null) / (null * (1 - null)) / (high - low))[:, np.newaxis]
        self._log_bets = math.log(bets)

    def start(self) -> EvidenceState:
        """No evidence yet: e = ½."""
        return EvidenceState((math.log(START),) * self.bets, 0, 0, 0.0)

    def increment(self, x: npt.ArrayLike) -> Increment:
        """What the numbers `x`, of shape (n,), do to the evidence. Clipped to [low, high].

        Raises ValueError when one is not a number.
        """
        return self.path(x).increment

    def path(self, x: npt.ArrayLike) -> Path:
        """The way the numbers `x`, of shape (n,), lead there. Clipped and refused as by `increment`."""
        clipped: Floats = np.array(x, dtype=np.float64, ndmin=1)
        np.maximum(clipped, self.low, out=clipped)
        np.minimum(clipped, self.high, out=clipped)
        totals = np.zeros(len(clipped) + 1)
        np.add.accumulate(clipped, out=totals[1:])
        # A sum of bounded numbers is NaN only if one of them is.
        if math.isnan(totals[-1]):
            where = int(np.isnan(clipped).argmax())
            raise ValueError(f"value {where + 1} of {len(clipped)} of a signal is not a number")
        growth = np.zeros((self.bets, len(clipped) + 1))
        np.add.accumulate(np.log1p(self._stakes * (clipped - self.limit)), axis=1, out=growth[:, 1:])
        return Path(growth, totals)

    def apply(self, state: EvidenceState, increment: Increment) -> EvidenceState:
        """`state` after one more batch. An empty batch changes nothing, and costs no restart."""
        if not increment.count:
            return state
        wealth = self._restarted(state) + np.array(increment.growth)
        return EvidenceState(
            tuple(wealth.tolist()),
            state.batches + 1,
            state.count + increment.count,
            state.total + increment.total,
        )

    def log_evidence(self, state: EvidenceState) -> float:
        """ln e. A false alarm at ln e ≥ ln(1/α) has a probability of at most α, over all time."""
        return float(np.logaddexp.reduce(np.array(state.log_wealth))) - self._log_bets

    def _restarted(self, state: EvidenceState) -> Floats:
        wealth: Floats = np.array(state.log_wealth)
        if state.batches:
            wealth = np.logaddexp(wealth, math.log(restart_weight(state.batches)))
        return wealth
