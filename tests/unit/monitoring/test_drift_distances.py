"""Distances: known values, what they are never beyond, and bounds that hold as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift import distances
from monitoring.drift.profile import column
from monitoring.drift.sketch import Sketch

SHARES = st.lists(st.integers(0, 50), min_size=6, max_size=6).filter(sum)


def shares(counts: list[int]) -> distances.Floats:
    return np.array(counts, dtype=np.float64) / sum(counts)


@given(SHARES, SHARES)
@settings(deadline=None)
def test_distances_are_zero_for_the_same_and_symmetric(one: list[int], other: list[int]) -> None:
    first, second = shares(one), shares(other)
    for measure in (distances.total_variation, distances.stability_index):
        assert measure(first, first) == pytest.approx(0.0, abs=1e-12)
        assert measure(first, second) == pytest.approx(measure(second, first))
        assert measure(first, second) >= -1e-12
    assert distances.total_variation(first, second) <= 1.0 + 1e-12
    assert math.isfinite(distances.stability_index(first, second))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.floats(-50, 50))
@settings(deadline=None)
def test_moving_all_numbers_moves_them_so_far(values: list[float], by: float) -> None:
    places = np.array(values)
    weights = np.full(len(values), 1 / len(values))
    assert distances.wasserstein(places, weights, places + by, weights) == pytest.approx(abs(by), abs=1e-6)


def test_the_stability_index_is_that_of_the_textbook() -> None:
    """Siddiqi's: 0.1 moved from one of two equal cells is 0.2 ln 1.5 = 0.0811."""
    assert distances.stability_index(np.array([0.5, 0.5]), np.array([0.4, 0.6])) == pytest.approx(
        -0.1 * math.log(0.8) + 0.1 * math.log(1.2)
    )


def test_the_bounds_of_a_shift_are_wrong_as_seldom_as_they_say() -> None:
    random = np.random.default_rng(3)
    truth, moved = np.full(10, 0.1), np.array([0.2] + [0.8 / 9] * 9)
    real = distances.total_variation(truth, moved)
    wrong = 0
    for _ in range(400):
        first = random.multinomial(600, truth) / 600
        second = random.multinomial(300, moved) / 300
        found = distances.bounded_variation(first, second, (600, 300), 0.05)
        assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0
        wrong += not found.low <= real <= found.high
    assert wrong <= 400 * 0.1


def test_bounds_without_rows_say_nothing() -> None:
    cells = np.array([1.0, 0.0])
    assert distances.bounded_variation(cells, np.zeros(2), (10, 0), 0.05)[1:] == (0.0, 1.0)


def test_how_far_numbers_moved_is_seen_beyond_the_outermost_edge() -> None:
    """All that is above the last edge is in one bin: total variation cannot tell one step from a hundred."""
    random = np.random.default_rng(5)
    of = column("x", random.normal(0, 1, 5000).tolist(), 3)
    found = []
    for by in (0.5, 5.0, 50.0):
        live = Sketch(of)
        live.take(random.normal(by, 1, 5000).tolist())
        distance = live.distance(0.01)
        assert distance.moved == pytest.approx(by, rel=0.15)
        found.append(distance.shift.estimate)
    assert found[1] == pytest.approx(found[2], abs=0.05)


def test_the_stability_index_is_not_told_of_few_rows() -> None:
    of = column("x", [float(one) for one in range(1000)], 3)
    live = Sketch(of)
    live.take([1.0] * (distances.PSI_FROM - 1))
    assert live.distance(0.01).stability is None
    live.take([1.0])
    assert live.distance(0.01).stability is not None


def test_values_that_go_missing_are_a_shift_of_the_missing_rate() -> None:
    of = column("x", [1.0, 2.0, 3.0, 4.0, None], 3)
    live = Sketch(of)
    live.take([1.0, None, None, None])
    assert live.distance(0.01).missing == pytest.approx(0.75 - 0.2)
