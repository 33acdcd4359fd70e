"""Bounds are right as often as they say, and never change for the same data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from gates.confidence import bootstrap_bounds, difference_bounds, quantile_bounds, rate_bounds


@given(st.integers(1, 3000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
@settings(deadline=None, max_examples=30)
def test_a_rate_has_the_bounds_of_clopper_and_pearson(seen: tuple[int, int]) -> None:
    count, of = seen
    low, high = rate_bounds(count, of, 0.05)
    assert low == pytest.approx(beta.ppf(0.05, count, of - count + 1) if count else 0.0, abs=1e-8)
    assert high == pytest.approx(beta.ppf(0.95, count + 1, of - count) if count < of else 1.0, abs=1e-8)


@pytest.mark.parametrize(("count", "of"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_rate_is_refused(count: int, of: int) -> None:
    with pytest.raises(ValueError, match="no rate"):
        rate_bounds(count, of, 0.05)


def test_the_true_quantile_is_missed_on_either_side_no_more_often_than_the_error() -> None:
    draw = np.random.default_rng(11)
    samples = np.sort(draw.exponential(size=(400, 800)), axis=1)
    true = -np.log(0.05)
    found = [quantile_bounds(row, 0.95, 0.05) for row in samples]
    assert np.mean([low > true for low, _ in found]) <= 0.075
    assert np.mean([high < true for _, high in found]) <= 0.075


def test_too_few_values_bound_no_quantile_from_above() -> None:
    assert quantile_bounds(np.arange(298.0), 0.99, 0.05)[1] == np.inf
    assert quantile_bounds(np.arange(299.0), 0.99, 0.05)[1] == 298.0


def test_the_true_difference_is_missed_no_more_often_than_the_error() -> None:
    draw = np.random.default_rng(5)
    found = []
    for _ in range(300):
        better, worse, _ = draw.multinomial(400, (0.05, 0.08, 0.87))
        low, high = difference_bounds(int(better), int(worse), 400, 0.05)
        found.append((low > -0.03, high < -0.03))
    assert np.mean(found, axis=0).max() <= 0.05


def test_a_bootstrap_gives_the_same_bounds_for_the_same_seed() -> None:
    values = np.random.default_rng(3).normal(0.1, 1.0, 500)
    both = [bootstrap_bounds(lambda places: float(values[places].mean()), 500, 0.05, 9) for _ in range(2)]
    assert both[0] == both[1]
    low, high = both[0]
    assert low < values.mean() < high


def test_a_bootstrap_without_scores_bounds_nothing() -> None:
    with pytest.raises(ValueError, match="400 of 400 resamples"):
        bootstrap_bounds(lambda places: float("nan"), 200, 0.05, 1)
