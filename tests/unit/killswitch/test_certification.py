"""The reverse bet: when a signal is certified, how often wrongly, and what is still missing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.certification import FRACTIONS, MOST_VOTES, Certifier


@settings(deadline=None)
@given(
    left=st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=40),
    right=st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=40),
)
def test_growth_adds_to_the_last_bit_in_any_order(left: list[float], right: list[float]) -> None:
    certifier = Certifier(0.02, 0.0, 1.0)
    added = np.array(certifier.growth(left)) + np.array(certifier.growth(right))
    assert added.tolist() == list(certifier.growth((left + right)[::-1]))


def test_the_expected_wealth_of_what_is_at_its_limit_never_exceeds_one() -> None:
    """Exact, over all 2^10 streams with a mean of exactly the limit."""
    limit = 0.3
    certifier = Certifier(limit, 0.0, 1.0)
    expected = 0.0
    for y in itertools.product((0.0, 1.0), repeat=10):
        chance = limit ** sum(y) * (1 - limit) ** (10 - sum(y))
        expected += chance * math.exp(certifier.log_evidence(certifier.growth(y)))
    assert 1 - 1e-6 < expected <= 1 + 1e-12


@pytest.mark.parametrize(("limit", "most"), [(0.01, 1.35), (0.001, 1.35), (0.1, 1.35)])
def test_without_any_event_it_takes_little_more_than_the_least_that_can_do(limit: float, most: float) -> None:
    certifier = Certifier(limit, 0.0, 1.0)
    least = math.log(20) / -math.log1p(-limit)
    quiet = np.array(certifier.growth([0.0]))
    votes = next(n for n in range(1, 10**5) if certifier.log_evidence(n * quiet) >= math.log(20))
    assert least < votes < most * least
    assert votes == pytest.approx(certifier.votes_needed(np.zeros(8), 0, 0.05), rel=0.15)


def test_what_is_missing_falls_to_nothing_and_never_comes_at_the_limit() -> None:
    certifier = Certifier(0.01, 0.0, 1.0)
    growth = np.zeros(len(FRACTIONS))
    seen = []
    for count in range(0, 2000, 100):
        seen.append(certifier.votes_needed(growth, count, 0.05))
        growth += certifier.growth([0.0] * 99 + [float(count % 400 == 0)])
    assert seen[-1] == 0
    known = [one for one in seen if one is not None]
    assert known[0] < 500
    assert known[-5:] == [0] * 5
    bad = certifier.growth([1.0] * 20 + [0.0] * 980)
    assert certifier.votes_needed(bad, 1000, 0.05) is None


def test_an_estimate_beyond_all_measure_is_none() -> None:
    certifier = Certifier(1e-12, 0.0, 1.0)
    assert certifier.votes_needed(np.zeros(8), 0, 0.05) is None
    assert MOST_VOTES == 10**9


def test_two_sides_both_have_to_be_refuted() -> None:
    certifier = Certifier(0.05, -0.1, 0.1, two_sided=True)
    assert certifier.log_evidence(certifier.growth(np.full(40, 0.01))) > math.log(1000)
    for shift in (0.06, -0.06):
        assert certifier.log_evidence(certifier.growth(np.full(400, shift))) < 0
        assert certifier.votes_needed(certifier.growth(np.full(400, shift)), 400, 0.05) is None


@pytest.mark.parametrize(("limit", "low", "high", "both"), [(0.0, 0.0, 1.0, False), (0.05, 0.0, 0.1, True)])
def test_an_impossible_limit_is_refused(limit: float, low: float, high: float, both: bool) -> None:
    with pytest.raises(ValueError, match="strictly between"):
        Certifier(limit, low, high, two_sided=both)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        Certifier(0.1, 0.0, 1.0).growth([0.0, math.nan])
