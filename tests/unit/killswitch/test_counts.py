"""Errors by counts: the conditional binomial as evidence, whatever the incumbent's rate is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.verdict import Verdict
from killswitch.counts import ArmCounts, CountCertifier, CountDetector, excess_bounds
from killswitch.evidence import apply, log_evidence, start
from killswitch.guard import CountGuard, Sight
from killswitch.signals import unpaired_errors
from settings.schema import ErrorsGuard, GuardSettings

rates = st.floats(0, 0.9)


def binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@settings(deadline=None, max_examples=60)
@given(theirs=rates, limit=st.floats(0.01, 0.09), incumbent=st.integers(1, 6), candidate=st.integers(1, 6))
def test_at_the_limit_no_bet_wins_on_average(
    theirs: float, limit: float, incumbent: int, candidate: int
) -> None:
    """Exact, over every pair of counts: forward at p_c = p_i + δ, and so is the reverse bet."""
    mine = theirs + limit
    detector, certifier = CountDetector(limit), CountCertifier(limit)
    forward, reverse = np.zeros(detector.bets), np.zeros(certifier.bets)
    for a, b in itertools.product(range(incumbent + 1), range(candidate + 1)):
        chance = binomial(incumbent, a, theirs) * binomial(candidate, b, mine)
        counts = ArmCounts(incumbent, a), ArmCounts(candidate, b)
        forward += chance * np.exp(detector.path(*counts).growth[:, -1])
        reverse += chance * np.exp(certifier.growth_of(*counts))
    assert (forward <= 1 + 1e-12).all()
    assert (reverse <= 1 + 1e-12).all()


def test_without_tolerance_it_is_the_likelihood_ratio_of_a_binomial() -> None:
    """Given 7 errors in all, 5 are the candidate's, which has a fifth of the traffic."""
    detector = CountDetector(1e-9)
    growth = detector.path(ArmCounts(400, 2), ArmCounts(100, 5)).growth[:, -1]
    fair = 0.2
    stakes = np.minimum(np.geomspace(0.05, 50, 16), 0.95 * 4)
    claimed = fair * (1 + stakes)
    ratio = 5 * np.log(claimed / fair) + 2 * np.log((1 - claimed) / (1 - fair))
    assert growth == pytest.approx(ratio, abs=1e-6)


def guard(limit: float = 0.005, threshold: float = 1000.0) -> CountGuard:
    signal = unpaired_errors(GuardSettings(errors=ErrorsGuard(limit), mirrored=False))
    assert signal is not None
    return CountGuard(signal, threshold)


def feed(one: CountGuard, stretches: int, incumbent: float, candidate: float, seed: int = 3) -> int | None:
    """Seconds of 90 and 10 requests; how many it took to the breach."""
    generator = np.random.default_rng(seed)
    for second in range(stretches):
        theirs, mine = generator.binomial(90, incumbent), generator.binomial(10, candidate)
        increment = one.read_counts(ArmCounts(90, int(theirs)), ArmCounts(10, int(mine)), float(second))
        assert increment is not None
        one.add([increment])
        if one.breaches:
            one.latch(Sight())
            return second + 1
    return None


def test_a_candidate_that_fails_more_often_breaches_and_one_that_does_not_is_certified() -> None:
    bad = guard()
    took = feed(bad, 400, 0.01, 0.10)
    assert took is not None
    assert took < 60
    assert bad.breach is not None
    assert bad.breach.estimate > 0.03
    assert bad.breach.bound_low < 0.09 < bad.breach.bound_high
    good = guard()
    assert feed(good, 400, 0.0, 0.0) is None
    assert good.verdict(500, Sight()) is Verdict.PASS
    assert good.state.count == 4000


def test_a_rate_that_changes_for_both_arms_alike_says_nothing() -> None:
    one = guard()
    for rate in (0.0, 0.3, 0.02, 0.6, 0.0):
        assert feed(one, 100, rate, rate, seed=int(100 * rate)) is None


def test_an_arm_without_requests_says_nothing() -> None:
    one = guard()
    assert one.read_counts(ArmCounts(0, 0), ArmCounts(10, 10), 0.0) is None
    assert one.read_counts(ArmCounts(10, 0), ArmCounts(0, 0), 0.0) is None
    assert CountCertifier(0.01).growth_of(ArmCounts(0, 0), ArmCounts(5, 0)) == (0.0,) * 8


def test_with_more_traffic_than_the_incumbent_the_scarcer_arm_votes() -> None:
    path = CountDetector(0.01).path(ArmCounts(10, 1), ArmCounts(90, 18))
    assert path.increment.count == 10
    assert path.increment.total == pytest.approx(10 * (0.2 - 0.1))
    state = apply(start(16), path.increment)
    assert math.isfinite(log_evidence(state))


def test_bounds_of_the_excess_enclose_it() -> None:
    path = CountDetector(0.01).path(ArmCounts(900, 9), ArmCounts(100, 5)).increment
    low, high = excess_bounds(path.count, path.total, path.absolute, 0.05)
    assert -0.1 < low < 0.04 < high < 0.25


@pytest.mark.parametrize("counts", [ArmCounts(3, 4), ArmCounts(3, -1)])
def test_counts_that_cannot_be_are_refused(counts: ArmCounts) -> None:
    for pair in ((counts, ArmCounts(9, 0)), (ArmCounts(9, 0), counts)):
        with pytest.raises(ValueError, match="cannot be"):
            guard().read_counts(*pair, 0.0)


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_an_impossible_limit_is_refused(limit: float) -> None:
    for made in (CountDetector, CountCertifier):
        with pytest.raises(ValueError, match="strictly between"):
            made(limit)
