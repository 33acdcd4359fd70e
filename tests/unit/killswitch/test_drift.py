"""Feature drift: seen, warned of, and not tripped on."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from domain.verdict import Verdict
from killswitch.drift import DriftGuard, FeatureReference, KeptDrift
from killswitch.guard import Sight

SEEING = Sight()
QUARTERS = FeatureReference("heat", (-0.6745, 0.0, 0.6745), (0.25, 0.25, 0.25, 0.25, 0.0))
HALVES = FeatureReference("wet", (0.5,), (0.5, 0.5, 0.0))


def drift(window: float = 600.0) -> DriftGuard:
    return DriftGuard([QUARTERS, HALVES], 0.1, 0.001, window)


def fed(guard: DriftGuard, count: int, shift: float, seed: int = 1) -> None:
    generator = np.random.default_rng(seed)
    for start in range(0, count, 50):
        values = np.stack([generator.normal(shift, 1, 50), generator.random(50)], axis=1)
        units = list(range(start + 1, start + 51))
        guard.add([guard.read(units, values, [float(unit) for unit in units], 0.0)])


def test_requests_like_the_reference_pass() -> None:
    guard = drift()
    assert guard.report(0, SEEING).verdict is Verdict.INCONCLUSIVE
    fed(guard, 2000, 0.0)
    report = guard.report(1000, SEEING)
    assert report.verdict is Verdict.PASS
    assert report.soft
    assert not report.certified
    assert guard.verdict(3000, SEEING) is Verdict.INCONCLUSIVE


def test_a_shift_is_found_and_its_feature_named() -> None:
    guard = drift()
    fed(guard, 2000, 1.0)
    report = guard.report(500, SEEING)
    assert report.verdict is Verdict.FAIL
    assert report.cohort == "feature:heat"
    assert report.sentence.startswith("feature heat: features drifted by ")
    # P(N(1, 1) > 0.6745) = 0.627: the last quarter holds 38 % too much, the others too little.
    assert report.estimate == pytest.approx(0.377, abs=0.03)
    assert 0.1 < report.bound_low < 0.377
    assert guard.variations()["wet"] < 0.05


def test_it_is_not_latched() -> None:
    guard = drift(window=0.0)
    fed(guard, 300, 1.0)
    assert guard.breaches
    fed(guard, 10_000, 0.0, seed=2)
    assert not guard.breaches


def test_a_unit_has_one_vote_in_its_window() -> None:
    guard = drift()
    found = guard.read([5, 5, 6], np.zeros((3, 2)), [0.0, 1.0, 2.0], 0.0)
    assert sum(found["heat"].counts) == 2
    assert guard.read([5], np.zeros((1, 2)), [3.0], 1.0) == {}


def test_a_value_at_an_edge_is_below_it_and_what_is_no_number_is_last() -> None:
    values = np.array([-9.0, -0.6745, 0.0, 0.1, math.inf, math.nan, -math.inf])
    assert QUARTERS.bins(values).tolist() == [0, 0, 1, 2, 3, 4, 0]


def test_a_merge_of_parts_is_the_whole_and_goes_on_after_being_kept() -> None:
    whole, shared = drift(), drift()
    generator = np.random.default_rng(4)
    for start in range(0, 300, 60):
        values = generator.normal(0.3, 1, (60, 2))
        units, at = list(range(start + 1, start + 61)), [float(n) for n in range(60)]
        whole.add([whole.read(units, values, at, 0.0)])
        shared.add([shared.read(units[part::2], values[part::2], at[part::2], 0.0) for part in range(2)])
    for name in ("heat", "wet"):
        assert shared.keep().guards[name].log_wealth == whole.keep().guards[name].log_wealth
        assert shared.keep().counts == whole.keep().counts
    again = drift()
    kept = msgspec.json.decode(msgspec.json.encode(whole.keep()), type=KeptDrift)
    assert again.fits(kept)
    again.restore(kept)
    assert again.report(10, SEEING) == whole.report(10, SEEING)
    assert not DriftGuard([HALVES], 0.1, 0.001, 600.0).fits(kept)
    assert not DriftGuard([QUARTERS, HALVES], 0.2, 0.001, 600.0).fits(kept)


@pytest.mark.parametrize(
    ("edges", "shares", "words"),
    [
        ((0.0,), (0.5, 0.5), "need 3 shares"),
        ((1.0, 0.0), (0.25, 0.25, 0.5, 0.0), "ascend"),
        ((0.0,), (0.5, 0.6, 0.0), "sum to 1"),
        ((0.0,), (1.5, -0.5, 0.0), "sum to 1"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(
    edges: tuple[float, ...], shares: tuple[float, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        FeatureReference("heat", edges, shares)


def test_other_features_than_referred_to_are_refused() -> None:
    with pytest.raises(ValueError, match="not of 2 features"):
        drift().read([1], np.zeros((1, 3)), [0.0], 0.0)
    for features in ([], [HALVES, HALVES]):
        with pytest.raises(ValueError, match="each once"):
            DriftGuard(features, 0.1, 0.001, 600.0)
