"""Certification: evidence that a signal is below its limit, so that a release may move on.

The problem. "No breach so far" is no praise: a candidate that was looked at ten times has not breached
either, and an estimate within the limit is luck half of the time when the truth is at the limit.

The idea. The bet is turned round: somebody bets against "given the past, the mean of y is at least `limit`".
With the stake μ his wealth is multiplied by 1 + μ(limit − y) at each y. If the claim is true no bet wins on
average, so his wealth is X or more with a probability of at most 1/X. At 1/ε the candidate is certified: one
that is not below its limit gets there, ever, with a probability of at most ε.

The price. Nothing can be certified for free: if y is always 0, ln(1/ε) / limit votes are needed at least
(some 300 for ε = 5 % and a limit of 1 %), here about 1.2 times as many, and ln(1/ε) / KL(rate, limit) if it
is not. A rate at its limit is never certified.

Eight stakes share the coin, the largest, which is best while nothing happens at all, half of it. There are no
restarts: the whole past of the trial must speak for the candidate. And the wealth counts as it stands *now*,
so a candidate that turns bad loses its certificate. For a limit on both sides both claims must be refuted,
which needs no smaller ε, since only one of them can be true.

Source. Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024; for
both sides Berger & Hsu, "Bioequivalence trials, intersection-union tests", Statistical Science 1996.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from killswitch.evidence import Floats, clipped, rounded_down

FRACTIONS = np.geomspace(0.97, 0.03, 8)
"""The stakes, as parts of the largest one with which nobody can be ruined."""

_WEIGHTS = np.array([2.0**-k for k in range(1, 8)] + [2.0**-7])
_LOG_WEIGHTS = np.log(_WEIGHTS)

_PRIOR_VOTES = 50
"""So many quiet votes are taken as seen already when it is estimated how many are missing."""

MOST_VOTES = 10**9
"""Where an estimate of the missing votes ends; beyond, there is none."""


class Certifier:
    """Evidence against "E[y | past] ≥ `limit`", for y in [`low`, `high`]; with `two_sided` also against
    "E[y | past] ≤ −`limit`". Holds no state of its own: wealth is `growth`, summed over all votes.

    >>> certifier = Certifier(limit=0.01, low=0.0, high=1.0)
    >>> growth = certifier.growth(np.zeros(400))
    >>> bool(certifier.log_evidence(growth) > np.log(20)), certifier.votes_needed(growth, 400, 0.05)
    (True, 0)
    """

    def __init__(self, limit: float, low: float, high: float, *, two_sided: bool = False) -> None:
        """Raises ValueError unless low < limit < high (and low < −limit for both sides)."""
        if not low < limit < high or (two_sided and not low < -limit < limit):
            raise ValueError(f"limit {limit!r} must lie strictly between low {low!r} and high {high!r}")
        self.limit = limit
        self._low = low
        self._high = high
        stakes = FRACTIONS / (high - limit)
        if two_sided:
            stakes = np.concatenate([stakes, -FRACTIONS / (-limit - low)])
        self._set(stakes, limit * np.abs(stakes))

    def _set(self, stakes: Floats, quiet: Floats) -> None:
        self.bets = len(stakes)
        self.stakes: Floats = stakes[:, np.newaxis]
        self.offsets: Floats = 1.0 + quiet[:, np.newaxis]
        self._quiet: Floats = np.log1p(quiet)

    def growth(self, y: npt.ArrayLike) -> tuple[float, ...]:
        """Σ ln(1 + μ_k (limit − y)) of every bet over the numbers `y`, of shape (n,). Sums of it add."""
        factors = self.offsets - self.stakes * self.clipped(y)
        return tuple(rounded_down(np.log(factors, out=factors)).sum(axis=1).tolist())

    def clipped(self, y: npt.ArrayLike) -> Floats:
        """`y` within [low, high]. Raises ValueError when one is not a number."""
        return clipped(y, self._low, self._high)

    def log_evidence(self, growth: npt.ArrayLike) -> float:
        """ln e; at ln(1/ε) the signal is below its limit, but for a probability of at most ε."""
        wealth = np.array(growth).reshape(-1, len(FRACTIONS)) + _LOG_WEIGHTS
        return float(np.logaddexp.reduce(wealth, axis=1).min())

    def votes_needed(self, growth: npt.ArrayLike, count: int, chance: float) -> int | None:
        """How many more votes certify at the chance ε, if they are like the `count` votes so far.

        0 when it is certified, None when it never will be, going by those.
        """
        goal = math.log(1 / chance)
        if self.log_evidence(growth) >= goal:
            return 0
        grown = np.array(growth).reshape(-1, len(FRACTIONS))
        pace = (grown + _PRIOR_VOTES * self._quiet.reshape(grown.shape)) / (count + _PRIOR_VOTES)
        missing = goal - grown - _LOG_WEIGHTS
        with np.errstate(divide="ignore", invalid="ignore"):
            votes = np.where(pace > 0, np.maximum(missing, 0.0) / pace, math.inf).min(axis=1).max()
        return max(1, math.ceil(votes)) if votes <= MOST_VOTES else None
