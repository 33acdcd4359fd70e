"""Votes that repeat one another are noticed, and independent ones are not suspected."""

from __future__ import annotations

import numpy as np
import pytest

from killswitch.clusters import MOST_UNITS, SAMPLED, Clusters


def fed(per_unit: int, alike: float, units: int = 3000) -> Clusters:
    """Each unit votes `per_unit` times; with the chance `alike` it follows its own habit, else it is new."""
    generator = np.random.default_rng(5)
    habits = generator.random(units) < 0.3
    voters = np.repeat(np.arange(units), per_unit)
    generator.shuffle(voters)
    fresh = generator.random(len(voters)) < 0.3
    values = np.where(generator.random(len(voters)) < alike, habits[voters], fresh).astype(float)
    clusters = Clusters()
    numbers = ((voters + 1) * SAMPLED).tolist()
    for start in range(0, len(voters), 100):
        clusters.take(numbers[start : start + 100], values[start : start + 100].tolist())
    return clusters


@pytest.mark.parametrize("alike", [0.0, 0.6, 1.0])
def test_the_correlation_within_a_unit_is_estimated(alike: float) -> None:
    found = fed(4, alike).found(every_pair_votes=True, block=1)
    assert found.within_unit == pytest.approx(alike**2, abs=0.06)
    assert found.per_unit == pytest.approx(4.0)
    assert found.neighbours == pytest.approx(0.0, abs=0.06)


def test_a_warning_names_the_way_out() -> None:
    clusters = fed(4, 1.0)
    (warning,) = clusters.found(every_pair_votes=True, block=1).warnings
    assert "per: unit" in warning
    (warning,) = clusters.found(every_pair_votes=False, block=1).warnings
    assert "longer vote.window" in warning
    assert fed(4, 0.0).found(every_pair_votes=True, block=1).warnings == ()


def test_bursts_without_units_are_noticed() -> None:
    generator = np.random.default_rng(6)
    values = np.repeat(generator.random(400) < 0.2, 20).astype(float)
    clusters = Clusters()
    clusters.take([0] * len(values), values.tolist())
    (warning,) = clusters.found(every_pair_votes=True, block=1).warnings
    assert "vote.block" in warning
    assert clusters.found(every_pair_votes=True, block=20).warnings == ()


def test_too_little_or_nothing_that_varies_is_unknown() -> None:
    clusters = Clusters()
    clusters.take([], [])
    clusters.take([SAMPLED] * 10, [0.5] * 10)
    found = clusters.found(every_pair_votes=True, block=1)
    assert (found.within_unit, found.neighbours, found.warnings) == (None, None, ())
    clusters.take([SAMPLED] * 1000, [0.5] * 1000)
    assert clusters.found(every_pair_votes=True, block=1).within_unit is None


def test_memory_is_bounded() -> None:
    clusters = Clusters()
    units = [SAMPLED * number for number in range(1, 3 * MOST_UNITS)]
    clusters.take(units, [0.0] * len(units))
    assert len(clusters._last) == MOST_UNITS
