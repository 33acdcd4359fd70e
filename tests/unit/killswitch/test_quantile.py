"""The running quantile: predictable, bounded, right within a bucket, and the same whoever counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.quantile import LatencyProfile, RunningQuantile, counted

latencies = st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=100)


def learned(values: list[float], capacity: int = 2000) -> LatencyProfile:
    profile = LatencyProfile(capacity)
    for value in values:
        profile.learn(counted(np.array([value])))
    return profile


def test_there_is_no_value_before_the_minimum() -> None:
    profile = learned([0.010] * 99)
    quantile = RunningQuantile(profile, 0.95, minimum=100)
    assert quantile.value is None
    profile.learn(counted(np.array([0.010])))
    assert quantile.value == pytest.approx(0.010, rel=0.01)
    assert profile.seen == 100


@settings(deadline=None)
@given(values=latencies, level=st.floats(0.05, 0.99))
def test_it_is_the_order_statistic_at_most_a_bucket_above(values: list[float], level: float) -> None:
    quantile = RunningQuantile(learned(values), level, minimum=1)
    exact = sorted(values)[math.ceil(level * len(values)) - 1]
    assert quantile.value is not None
    assert exact * (1 - 1e-9) <= quantile.value <= exact * 1.0101


@settings(deadline=None)
@given(values=latencies, parts=st.integers(1, 5))
def test_counts_of_several_processes_add_up_to_those_of_one(values: list[float], parts: int) -> None:
    whole, shared = LatencyProfile(), LatencyProfile()
    whole.learn(counted(np.array(values)))
    total: dict[int, int] = {}
    for part in range(parts):
        for bucket, count in counted(np.array(values[part::parts])).items():
            total[bucket] = total.get(bucket, 0) + count
    shared.learn(total)
    assert shared.keep() == whole.keep()


def test_old_latencies_are_forgotten() -> None:
    quantile = RunningQuantile(learned([9.0] * 1000 + [1.0] * 400, capacity=200), 0.95, minimum=100)
    assert quantile.value == pytest.approx(1.0, rel=0.01)


def test_latencies_that_never_came_are_above_everything() -> None:
    profile = learned([0.01] * 100 + [math.inf] * 10)
    assert RunningQuantile(profile, 0.95, minimum=100).value == math.inf
    assert RunningQuantile(profile, 0.5, minimum=100).value == pytest.approx(0.01, rel=0.01)


def test_it_goes_on_after_being_kept() -> None:
    profile = learned([0.01 * n for n in range(1, 300)], capacity=100)
    again = LatencyProfile(100)
    assert LatencyProfile.holds(profile.keep())
    again.restore(profile.keep())
    assert (again.quantile(0.9), again.seen) == (profile.quantile(0.9), profile.seen)
    assert not LatencyProfile.holds((1, {99999: 1}, {}))


def test_no_latency_and_odd_ones_change_little() -> None:
    profile = LatencyProfile()
    profile.learn(counted(np.array([])))
    assert (profile.seen, profile.quantile(0.5)) == (0, math.inf)
    profile.learn(counted(np.array([0.0, 1e300])))
    assert profile.seen == 2


@pytest.mark.parametrize(("level", "minimum"), [(0.0, 10), (1.0, 10), (0.5, 0)])
def test_impossible_numbers_are_refused(level: float, minimum: int) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        RunningQuantile(LatencyProfile(), level, minimum)


def test_an_impossible_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        LatencyProfile(0)
