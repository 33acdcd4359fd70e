"""Bounds for the mean: they hold at every look, and narrow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.bounds import _FRACTIONS, _log_wealth, bounds, share_of_error


@settings(deadline=None)
@given(x=st.lists(st.floats(-1, 1), max_size=60), low=st.sampled_from([-1.0]))
def test_they_enclose_the_mean_of_what_was_seen(x: list[float], low: float) -> None:
    found = bounds(len(x), sum(x), sum(map(abs, x)), low, 1.0, 0.05)
    mean = sum(x) / len(x) if x else 0.0
    assert low <= found[0] <= mean + 1e-9
    assert mean - 1e-9 <= found[1] <= 1.0


def test_nothing_seen_leaves_everything_possible() -> None:
    assert bounds(0, 0.0, 0.0, -1.0, 1.0, 0.05) == (-1.0, 1.0)


def test_they_narrow_with_votes_and_widen_with_certainty() -> None:
    widths = [
        (lambda b: b[1] - b[0])(bounds(n, n / 10, n / 10, 0.0, 1.0, 0.05)) for n in (10, 100, 1000, 10_000)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.03
    wide, narrow = (bounds(1000, 100, 100, 0.0, 1.0, error) for error in (0.001, 0.05))
    assert wide[0] < narrow[0] < 0.1 < narrow[1] < wide[1]


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3])
def test_they_are_never_left_by_a_steady_mean_but_for_their_error(rate: float) -> None:
    """A look after every 25 of 500 votes, in 50 streams."""
    generator = np.random.default_rng(21)
    missed = 0
    for _ in range(50):
        x = (generator.random(500) < rate).cumsum()
        found = [bounds(n, x[n - 1], x[n - 1], 0.0, 1.0, 0.1) for n in range(25, 501, 25)]
        missed += any(not low <= rate <= high for low, high in found)
    assert missed <= 13  # binomial(50, 0.1) is above that once in 1000


def test_a_signal_of_both_signs_is_bounded_as_tightly_as_its_events_allow() -> None:
    low, high = bounds(1000, 0.0, 4.0, -1.0, 1.0, 0.05)
    assert -0.02 < low < 0 < high < 0.02


def test_the_shares_of_all_stretches_are_worth_one_error() -> None:
    total = sum(share_of_error(votes) for votes in range(200_000))
    assert 0.5 < total <= 1.0


@settings(deadline=None, max_examples=100)
@given(count=st.integers(1, 10**6), share=st.floats(0, 1), sign=st.floats(-1, 1))
def test_a_bound_is_where_the_bets_stop_refuting(count: int, share: float, sign: float) -> None:
    absolute = share * count
    low, high = bounds(count, sign * absolute, absolute, -1.0, 1.0, 0.05)
    above, below = (absolute + sign * absolute) / 2, (absolute - sign * absolute) / 2

    def refutes(m: float, side: float) -> bool:
        stakes = side * _FRACTIONS / (m + 1 if side > 0 else 1 - m)
        return _log_wealth(count, above, below, m, -1.0, 1.0, stakes) >= math.log(2 / 0.05)

    for bound, side in ((low, 1.0), (high, -1.0)):
        # At the bound itself the last bit decides, and it depends on the order of a sum.
        beyond, inside = bound - side * 1e-9, bound + side * 1e-8
        assert abs(bound) == 1.0 or refutes(beyond, side), "what lies beyond is refuted"
        assert abs(inside - sign * share) < 2e-8 or not refutes(inside, side), "and no more than that"
