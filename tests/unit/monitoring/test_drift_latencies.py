"""Latency by slice: quantiles to within a bin, bounded slices, and a slow one is found, a fast one not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift import latencies
from monitoring.drift.latencies import EVERY, GROWTH, MOST_VALUES, OTHER, Latencies


@given(st.lists(st.floats(1e-4, 500.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
@settings(deadline=None)
def test_a_quantile_is_right_to_within_a_bin(seconds: list[float], share: float) -> None:
    found = Latencies()
    found.take("", [""] * len(seconds), np.array(seconds))
    told = latencies.quantile(found.counts[EVERY], share)
    real = float(np.quantile(seconds, share, method="inverted_cdf"))
    assert abs(math.log(told / real)) <= math.log(GROWTH) + 1e-9


def drawn(count: int, slow: float, seed: int) -> Latencies:
    """Requests of four countries, of which one takes `slow` times as long."""
    random = np.random.default_rng(seed)
    countries = random.choice(["de", "fr", "it", "pt"], count)
    seconds = random.lognormal(math.log(0.02), 0.4, count) * np.where(countries == "pt", slow, 1.0)
    found = Latencies()
    found.take(*EVERY[:1], [EVERY[1]] * count, seconds)
    found.take("header:x-country", countries.tolist(), seconds)
    return found


def test_the_slow_slice_is_found_and_comes_first() -> None:
    every, *slices = drawn(2000, 4.0, 1).slices()
    assert every.slice == EVERY
    assert slices[0].slice == ("header:x-country", "pt")
    assert [one.slow for one in slices] == [True, False, False, False]
    assert slices[0].p50 > 2.5 * every.p50


def test_slices_that_are_alike_are_not_slow() -> None:
    for seed in range(60):
        assert not any(one.slow for one in drawn(500, 1.0, seed).slices())


def test_a_slice_of_few_requests_is_not_certain() -> None:
    assert not latencies.lower_bound(1.0, 1) > latencies.SLOW
    assert latencies.lower_bound(0.5, 100) > latencies.SLOW
    assert latencies.lower_bound(0.0, 0) == 0.0


def test_values_of_a_cohort_without_end_are_counted_together() -> None:
    found = Latencies()
    for at in range(1000):
        found.take("header:x-id", [f"id-{at}"], np.array([0.01]))
    mine = {value: int(counts.sum()) for (by, value), counts in found.counts.items() if by == "header:x-id"}
    assert len(mine) == MOST_VALUES + 1
    assert mine[OTHER] == 1000 - MOST_VALUES


def test_latencies_that_are_no_time_are_counted_all_the_same() -> None:
    found = Latencies()
    found.take("", [""] * 5, np.array([math.nan, math.inf, -1.0, 0.0, 1e9]))
    assert found.counts[EVERY].sum() == 5
    assert found.slices()[0].rows == 5


def test_merging_and_keeping_change_nothing() -> None:
    one, other = drawn(300, 2.0, 1), drawn(300, 2.0, 2)
    kept = one.keep()
    one.add(latencies.restored(other.keep()))
    again = latencies.restored(kept)
    again.add(other)
    assert one.keep() == again.keep()
    with pytest.raises(ValueError, match="latency bin"):
        latencies.restored([("", "", [(10_000, 1)])])
    assert Latencies().slices() == []
