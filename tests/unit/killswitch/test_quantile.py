"""The running quantile: predictable, bounded, right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.quantile import RunningQuantile


def test_there_is_no_value_before_the_minimum() -> None:
    quantile = RunningQuantile(0.95, minimum=100)
    for latency in range(99):
        quantile.learn(float(latency))
        assert quantile.value is None
    quantile.learn(99.0)
    assert quantile.value == 94.0
    assert quantile.seen == 100


@settings(deadline=None)
@given(latencies=st.lists(st.floats(0, 1e6), min_size=20, max_size=120), level=st.floats(0.05, 0.99))
def test_it_is_the_order_statistic_of_the_last_latencies(latencies: list[float], level: float) -> None:
    quantile = RunningQuantile(level, minimum=20, capacity=40, every=1)
    for latency in latencies:
        quantile.learn(latency)
    held = sorted(latencies[-40:])
    assert quantile.value == held[math.ceil(level * len(held)) - 1]


def test_old_latencies_are_forgotten() -> None:
    quantile = RunningQuantile(0.95, minimum=100, capacity=200, every=10)
    for latency in np.full(1000, 9.0):
        quantile.learn(latency)
    for latency in np.full(210, 1.0):
        quantile.learn(latency)
    assert quantile.value == 1.0


def test_latencies_that_never_came_are_above_everything() -> None:
    quantile = RunningQuantile(0.95, minimum=100, every=1)
    for _ in range(100):
        quantile.learn(0.01)
    for _ in range(10):
        quantile.learn(math.inf)
    assert quantile.value == math.inf


@pytest.mark.parametrize(
    ("level", "minimum", "every"), [(0.0, 10, 1), (1.0, 10, 1), (0.5, 0, 1), (0.5, 3000, 1), (0.5, 9, 0)]
)
def test_impossible_numbers_are_refused(level: float, minimum: int, every: int) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        RunningQuantile(level, minimum, every=every)
