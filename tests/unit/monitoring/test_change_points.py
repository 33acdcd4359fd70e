"""Change points: found where they are, never too certain, and the same whatever the values look like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.diagnosis.points import (
    CERTAIN,
    SHORTEST,
    above,
    changes,
    coincidence,
    fit,
    gains,
    ranks,
    split,
)

VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=60)


def kl(p: float, q: float) -> float:
    total = 0.0
    for mine, other in ((p, q), (1 - p, 1 - q)):
        total += mine * math.log(mine / other) if mine > 0 else 0.0
    return total


@settings(deadline=None)
@given(VALUES)
def test_the_gain_is_that_of_two_levels_against_one(values: list[float]) -> None:
    found = gains(np.array(values))
    mean = sum(values) / len(values)
    for place in range(1, len(values)):
        first, then = values[:place], values[place:]
        expected = 0.0
        if 0 < mean < 1:
            expected = sum(
                len(part) * max(0.0, kl(min(1.0, sum(part) / len(part)), mean)) for part in (first, then)
            )
        assert found[place - 1] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_step_is_found_where_it_is_and_its_interval_holds_it(seed: int) -> None:
    chance = np.random.default_rng(seed)
    values = np.concatenate([chance.random(900) < 0.02, chance.random(300) < 0.3]).astype(float)
    (found,) = changes(values)
    assert abs(found.place - 900) < 40
    assert found.low <= 900 <= found.high
    assert found.p < 1e-10
    assert (found.start, found.end) == (0, 1200)


def test_an_episode_has_a_beginning_and_an_end() -> None:
    chance = np.random.default_rng(1)
    parts = [chance.random(600) < 0.01, chance.random(150) < 0.5, chance.random(600) < 0.01]
    first, then = changes(np.concatenate(parts).astype(float))
    assert abs(first.place - 600) < 10
    assert abs(then.place - 750) < 10
    assert (first.end, then.start) == (then.place, first.place)


def test_two_rare_events_near_an_end_are_no_change() -> None:
    """The trap of tests that think in standard deviations: z would be 8 here."""
    values = np.zeros(5000)
    values[[7, 12]] = 1.0
    found = split(values)
    assert found is not None
    assert found.p > CERTAIN


@pytest.mark.parametrize("rate", [0.002, 0.05, 0.5])
def test_where_nothing_changes_a_change_is_seen_no_more_often_than_it_is_said_to(rate: float) -> None:
    chance = np.random.default_rng(7)
    found = [split((chance.random(400) < rate).astype(float)) for _ in range(400)]
    for level in (0.05, 0.2):
        assert sum(one is not None and one.p <= level for one in found) <= level * 400


@pytest.mark.parametrize("count", [0, 1, 2 * SHORTEST - 1])
def test_too_few_values_have_no_change(count: int) -> None:
    assert split(np.arange(count) / max(1, count)) is None
    assert changes(np.ones(count)) == ()


def test_values_that_are_all_the_same_have_no_change() -> None:
    assert changes(np.full(100, 0.3)) == ()
    assert fit(np.full(100, 0.3), 50) == 0.0


def test_a_step_fits_best_at_its_own_place_and_the_less_the_further_away() -> None:
    values = np.concatenate([np.zeros(200), np.ones(200)])
    found = [fit(values, place) for place in (200, 210, 250, 350)]
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
    assert coincidence(values, 200) == 1.0
    assert coincidence(values, 250) < 0.5 * found[2] + 0.01  # it could have acted at once, and did not
    assert fit(values, 0) == fit(values, 400) == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=40))
def test_ranks_keep_the_order_and_lie_within_0_and_1(values: list[float]) -> None:
    found = ranks(np.array(values))
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    for one in range(len(values)):
        for other in range(len(values)):
            assert (values[one] < values[other]) == (found[one] < found[other])


def test_a_mean_above_the_limit_is_certain_with_enough_values_and_never_below_it() -> None:
    assert above(np.array([0.0] * 90 + [1.0] * 10), 0.2) == 1.0
    assert above(np.array([1.0, 1.0]), 0.5) == pytest.approx(0.25)
    assert above(np.array([0.0] * 50 + [1.0] * 50), 0.01) < 1e-30
    assert above(np.array([]), 0.1) == 1.0
