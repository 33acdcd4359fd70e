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

Both sides. For H0: "the mean lies between −limit and limit" half of the bets are against each side. Their
mean is still a fair game, so the two sides share one α.

Merging. What a batch does to the logarithms is a sum, so it does not matter who saw which pair. That holds to
the last bit, because each number is rounded to a multiple of `GRAIN` first (logarithms downwards, which only
takes evidence away): floating-point addition of such numbers is exact below 2²¹, in any order.

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

HEAD_START = 20
"""The fresh money falls as if so many batches had gone by already: less for a change within the first ones,
which the start covers, and four times as much for a late one. Σ 1 / ((j+20)·ln²(j+20)) over j = 1, 2, 3, … is
below its integral from 0 on, 1 / ln 20."""

GRAIN = 2.0**-32
"""Sums of multiples of this are exact in floating point while they are below 2²¹."""


def restart_weight(batch: int) -> float:
    """w_j: the fresh money before batch `batch`. The first batch has number 0 and only the start."""
    if batch == 0:
        return 0.0
    late = batch + HEAD_START
    return (1.0 - START) * math.log(HEAD_START) / (late * math.log(late) ** 2)


def rounded_down(logarithms: Floats) -> Floats:
    """To multiples of GRAIN, in place."""
    logarithms /= GRAIN
    np.floor(logarithms, out=logarithms)
    logarithms *= GRAIN
    return logarithms


def clipped(x: npt.ArrayLike, low: float, high: float) -> Floats:
    """`x`, of shape (n,), within [low, high]. Raises ValueError when one is not a number."""
    within: Floats = np.array(x, dtype=np.float64, ndmin=1)
    np.maximum(within, low, out=within)
    np.minimum(within, high, out=within)
    # A sum of bounded numbers is NaN only if one of them is.
    if math.isnan(np.add.reduce(within)):
        where = int(np.isnan(within).argmax())
        raise ValueError(f"value {where + 1} of {len(within)} of a signal is not a number")
    return within


def running_sums(x: Floats) -> tuple[Floats, Floats]:
    """The sums of the first 0, 1, … n numbers, and of their absolute values, each rounded to a grain."""
    grains = np.rint(x / GRAIN) * GRAIN
    totals, absolutes = np.zeros((2, len(x) + 1))
    np.add.accumulate(grains, out=totals[1:])
    np.add.accumulate(np.abs(grains), out=absolutes[1:])
    return totals, absolutes


@dataclass(frozen=True, slots=True)
class Increment:
    """What one batch does to the evidence. Increments add: order and replica do not matter.

    `growth` holds Σ log(1 + λ_k (x − limit)) for each bet, `count` the number of x, `total` their sum and
    `absolute` the sum of their |x|.
    """

    growth: tuple[float, ...]
    count: int
    total: float
    absolute: float

    def __add__(self, other: Increment) -> Increment:
        """Both as one batch. Raises ValueError when they come from detectors with other numbers of bets."""
        growth = tuple(mine + theirs for mine, theirs in zip(self.growth, other.growth, strict=True))
        return Increment(
            growth, self.count + other.count, self.total + other.total, self.absolute + other.absolute
        )


@dataclass(frozen=True, slots=True)
class Path:
    """One batch, step by step; a step is one vote, or many that are only known as counts.

    `growth`, of shape (bets, steps + 1), holds each bet's Σ log(1 + λ_k (x − limit)) after 0, 1, … steps;
    `counts`, `totals` and `absolutes`, of shape (steps + 1,), how many votes these are, their sum and that
    of their |x|.
    """

    growth: Floats
    counts: npt.NDArray[np.int64]
    totals: Floats
    absolutes: Floats

    @property
    def increment(self) -> Increment:
        """What the whole batch does to the evidence."""
        return Increment(
            tuple(self.growth[:, -1].tolist()),
            int(self.counts[-1]),
            float(self.totals[-1]),
            float(self.absolutes[-1]),
        )


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """The log-wealth of each bet, how many batches it took, and how many x of which sums they held."""

    log_wealth: tuple[float, ...]
    batches: int
    count: int
    total: float
    absolute: float


def start(bets: int) -> EvidenceState:
    """No evidence yet: e = ½."""
    return EvidenceState((math.log(START),) * bets, 0, 0, 0.0, 0.0)


def apply(state: EvidenceState, increment: Increment) -> EvidenceState:
    """`state` after one more batch. An empty batch changes nothing, and costs no restart."""
    if not increment.count:
        return state
    wealth = np.array(state.log_wealth)
    if state.batches:
        wealth = np.logaddexp(wealth, math.log(restart_weight(state.batches)))
    return EvidenceState(
        tuple((wealth + np.array(increment.growth)).tolist()),
        state.batches + 1,
        state.count + increment.count,
        state.total + increment.total,
        state.absolute + increment.absolute,
    )


def log_evidence(state: EvidenceState) -> float:
    """ln e. A false alarm at ln e ≥ ln(1/α) has a probability of at most α, over all time."""
    return float(np.logaddexp.reduce(np.array(state.log_wealth))) - math.log(len(state.log_wealth))


class EDetector:
    """Evidence against H0: E[x | past] ≤ `limit`, for x in [`low`, `high`]. Holds no state of its own.

    With `two_sided` against H0: −`limit` ≤ E[x | past] ≤ `limit`, and with twice as many bets.

    >>> detector = EDetector(limit=0.01, low=0.0, high=1.0)
    >>> state = detector.start()
    >>> for flips in ([0, 0, 1, 0], [1, 1, 0, 1], [1, 0, 1, 1]):
    ...     state = detector.apply(state, detector.increment(np.array(flips, dtype=float)))
    >>> bool(detector.log_evidence(state) > np.log(1000))
    True
    """

    def __init__(
        self, limit: float, low: float, high: float, bets: int = 16, *, two_sided: bool = False
    ) -> None:
        """Raises ValueError unless low < limit < high, all finite, and bets ≥ 1.

        For both sides low < −limit is needed, too.
        """
        if not all(map(math.isfinite, (limit, low, high))) or not low < limit < high:
            raise ValueError(f"limit {limit!r} must lie strictly between low {low!r} and high {high!r}")
        if two_sided and not (limit > 0 and low < -limit):
            raise ValueError(f"limit {limit!r} has two sides in [{low!r}, {high!r}] only if both lie inside")
        if bets < 1:
            raise ValueError(f"bets {bets!r} must be 1 or more")
        self.limit = limit
        self.low = low
        self.high = high
        stakes = _stakes(limit, low, high, bets)
        centres = np.full(bets, limit)
        if two_sided:
            stakes = np.concatenate([stakes, -_stakes(limit, -high, -low, bets)])
            centres = np.concatenate([centres, -centres])
        self.bets = len(stakes)
        self.stakes: Floats = stakes[:, np.newaxis]
        self.offsets: Floats = 1.0 - (stakes * centres)[:, np.newaxis]

    def start(self) -> EvidenceState:
        """No evidence yet: e = ½."""
        return start(self.bets)

    def increment(self, x: npt.ArrayLike) -> Increment:
        """What the numbers `x`, of shape (n,), do to the evidence. Clipped to [low, high].

        Raises ValueError when one is not a number.
        """
        return self.path(x).increment

    def path(self, x: npt.ArrayLike) -> Path:
        """The way the numbers `x`, of shape (n,), lead there. Clipped and refused as by `increment`."""
        clipped = self.clipped(x)
        totals, absolutes = running_sums(clipped)
        factors = self.stakes * clipped
        factors += self.offsets
        growth = np.zeros((self.bets, len(clipped) + 1))
        np.add.accumulate(rounded_down(np.log(factors, out=factors)), axis=1, out=growth[:, 1:])
        return Path(growth, np.arange(len(totals)), totals, absolutes)

    def clipped(self, x: npt.ArrayLike) -> Floats:
        """`x` within [low, high]. Raises ValueError when one is not a number."""
        return clipped(x, self.low, self.high)

    def apply(self, state: EvidenceState, increment: Increment) -> EvidenceState:
        """`state` after one more batch. An empty batch changes nothing, and costs no restart."""
        return apply(state, increment)

    def log_evidence(self, state: EvidenceState) -> float:
        """ln e. A false alarm at ln e ≥ ln(1/α) has a probability of at most α, over all time."""
        return log_evidence(state)


def _stakes(limit: float, low: float, high: float, bets: int) -> Floats:
    null = (limit - low) / (high - low)
    means = null + np.geomspace(0.3 * min(null, 1 - null), 0.95 * (1 - null), bets)
    stakes: Floats = (means - null) / (null * (1 - null)) / (high - low)
    return stakes
