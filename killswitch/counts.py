"""Errors without pairs: evidence from how many requests of each arm failed.

The problem. Where no request reaches both arms there is no pair to compare. The incumbent's error rate is
unknown, and it may change at any time for both arms alike.

The idea. If both arms fail at the same rate, then of the errors in a batch the candidate has its share of the
traffic, whatever the rate is: given their total, the candidate's number is binomial. The bet on a larger
share multiplies wealth by (1 + λ) for each error of the candidate and by (1 − λ/r) for each of the
incumbent's, with r the incumbent's requests for each of the candidate's: exactly the likelihood ratio of
that binomial. What is tolerated is paid for: exp(−λδ) for each of the candidate's requests.

The guarantee. With the rates p_c and p_i a batch multiplies wealth by
    (1 + λp_c)^n_c · (1 − (λ/r)p_i)^n_i · exp(−λδn_c) ≤ exp(λ n_c (p_c − p_i − δ)) on average,
so at most by 1 if p_c − p_i ≤ δ: for every p_i, another one in each batch, and every share of the traffic
that was chosen beforehand. The reverse bet is the same with the signs changed. Everything else (the mixture
of bets, the restarts, Ville's inequality) is that of `killswitch.evidence`.

It knows nothing of who asked: one user's burst counts as often as it comes. Pairs are better, where there
are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from killswitch.bounds import bounds
from killswitch.certification import FRACTIONS, Certifier
from killswitch.evidence import GRAIN, Floats, Path, rounded_down

_STAKES = np.geomspace(0.05, 50.0, 16)
"""By how much larger than its fair one the candidate's share of the errors may be."""

_MOST_OF_RUIN = 0.95
"""No stake is more than this part of the one with which a single error of the incumbent ruins."""


class ArmCounts(NamedTuple):
    """How many requests of an arm ended in a stretch of time, and how many of them failed."""

    requests: int
    errors: int


class CountDetector:
    """Evidence against "the candidate fails no more than `limit` more often than the incumbent"."""

    bets = len(_STAKES)

    def __init__(self, limit: float) -> None:
        """Raises ValueError for a limit that is not between 0 and 1."""
        if not 0 < limit < 1:
            raise ValueError(f"limit {limit!r} must lie strictly between 0 and 1")
        self.limit = limit

    def path(self, incumbent: ArmCounts, candidate: ArmCounts) -> Path:
        """One stretch as one step of as many votes as the arm with fewer requests had; empty without any.

        Their sum divided by their number is the excess of the candidate's error rate. Raises ValueError for
        counts that cannot be.
        """
        ratio = asked(incumbent, candidate)
        if not ratio:
            return Path(np.zeros((self.bets, 1)), np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1))
        stakes = np.minimum(_STAKES, _MOST_OF_RUIN * ratio)
        growth = candidate.errors * np.log1p(stakes) + incumbent.errors * np.log1p(-stakes / ratio)
        growth -= candidate.requests * self.limit * stakes
        votes = min(candidate.requests, incumbent.requests)
        mine = votes / candidate.requests * candidate.errors
        theirs = votes / incumbent.requests * incumbent.errors
        return Path(
            np.stack([np.zeros(self.bets), rounded_down(growth)], axis=1),
            np.array([0, votes]),
            _on_grains([0.0, mine - theirs]),
            _on_grains([0.0, mine + theirs]),
        )


class CountCertifier(Certifier):
    """The reverse bet: evidence that the candidate's errors exceed the incumbent's by less than `limit`."""

    def __init__(self, limit: float) -> None:
        """Raises ValueError for a limit that is not between 0 and 1."""
        super().__init__(limit, 0.0, 1.0)
        self._set(FRACTIONS, np.expm1(FRACTIONS * limit))

    def growth_of(self, incumbent: ArmCounts, candidate: ArmCounts) -> tuple[float, ...]:
        """What one stretch adds to the logarithm of every bet's wealth."""
        ratio = asked(incumbent, candidate)
        if not ratio:
            return (0.0,) * self.bets
        growth = candidate.errors * np.log1p(-FRACTIONS) + incumbent.errors * np.log1p(FRACTIONS / ratio)
        growth += candidate.requests * self.limit * FRACTIONS
        return tuple(rounded_down(growth).tolist())


def asked(incumbent: ArmCounts, candidate: ArmCounts) -> float:
    """The incumbent's requests for each of the candidate's, 0 when an arm had none.

    Raises ValueError for counts that cannot be.
    """
    for arm in (incumbent, candidate):
        if not 0 <= arm.errors <= arm.requests:
            raise ValueError(f"{arm.errors} errors of {arm.requests} requests cannot be")
    return incumbent.requests / candidate.requests if candidate.requests else 0.0


def excess_bounds(count: int, total: float, absolute: float, error: float) -> tuple[float, float]:
    """The lowest and the highest excess of the candidate's error rate, from the votes of a CountDetector.

    Each arm's rate has its own bounds, with half of `error`. (A rate from more requests than there are votes
    is taken for one from as many as there are votes: wider, never narrower.)
    """
    mine, theirs = (absolute + total) / 2, (absolute - total) / 2
    low, high = bounds(count, mine, mine, 0.0, 1.0, error / 2)
    lowest, highest = bounds(count, theirs, theirs, 0.0, 1.0, error / 2)
    return low - highest, high - lowest


def _on_grains(values: Sequence[float]) -> Floats:
    rounded: Floats = np.rint(np.array(values) / GRAIN) * GRAIN
    return rounded
