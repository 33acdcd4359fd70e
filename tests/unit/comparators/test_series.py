"""Distances between forecasts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.kind import compare_one
from comparators.prediction import Prediction
from comparators.series import Series
from domain.errors import ComparatorFault
from domain.observation import Divergence
from settings.schema import CompareSettings

KIND = Series(CompareSettings("series"))
FIXED = Series(CompareSettings("series", scale=2.0, tolerance=0.5))


def series(numbers: Sequence[float]) -> Prediction:
    return Prediction("p", 1, len(numbers), tuple(map(float, numbers)))


def compare(trusted: Sequence[float], tried: Sequence[float]) -> Divergence:
    return compare_one(KIND, series(trusted), series(tried))


def test_errors_are_in_units_of_the_incumbents_mean_step() -> None:
    # Steps of 2, 4 and 6: a mean step of 4; the candidate is 1 off at one of four steps.
    found = compare([10, 12, 16, 22], [10, 12, 17, 22])
    assert (found.score, found.flip) == (0.25 / 4, False)
    assert found.reason == "mean scaled error 0.0625, at most 0.25 steps off at step 3"


def test_the_step_from_which_forecasts_part_is_told() -> None:
    found = compare([10, 12, 16, 22], [10, 12, 21, 32])
    assert found.flip
    assert found.reason == "beyond the tolerance 1 from step 3 of 4, at most 2.5 steps off at step 4"
    assert found.score == pytest.approx((0 + 0 + 1 + 1) / 4)


def test_a_flat_forecast_is_measured_by_its_size() -> None:
    assert compare([20, 20, 20], [20.01, 20, 20]).score == pytest.approx(0.05 / 3)
    assert compare([20, 20, 20], [21, 20, 20]).flip
    found = compare([0, 0, 0], [1e-300, 0, 0])
    assert (found.score, found.flip) == (pytest.approx(1 / 3), True)
    assert compare([5], [5]).score == 0.0
    assert compare([5], [6]).flip


def test_a_fixed_scale_takes_the_place_of_the_step() -> None:
    found = compare_one(FIXED, series([0, 100]), series([1, 100]))
    assert (found.score, found.flip) == (0.25, False)
    assert compare_one(FIXED, series([0, 100]), series([1.5, 100])).flip


@pytest.mark.parametrize(
    ("trusted", "tried", "score", "flip"),
    [
        ([1.0, math.nan, 3.0], [1.0, math.nan, 3.0], 0.0, False),
        ([1.0, 2.0, 3.0], [1.0, math.nan, 3.0], 1 / 3, True),
        ([math.nan, math.nan], [1.0, math.nan], 0.5, True),
        ([math.inf, 2.0], [math.inf, 2.0], 0.0, False),
        ([1e308, -1e308], [1e308, -1e308], 0.0, False),
    ],
)
def test_missing_steps(trusted: list[float], tried: list[float], score: float, flip: bool) -> None:
    found = compare(trusted, tried)
    assert (found.score, found.flip) == (pytest.approx(score), flip)


def test_another_horizon_is_a_flip_and_text_a_fault() -> None:
    found = compare([1, 2, 3], [1, 2])
    assert (found.score, found.flip) == (1.0, True)
    assert found.reason == "1 series of 3 steps → 1 series of 2 steps"
    with pytest.raises(ComparatorFault, match="text where numbers are needed"):
        compare_one(KIND, Prediction("p", 1, 1, None, ("x",)), series([1]))


def test_a_column_is_one_series_and_a_batch_has_a_row_a_series() -> None:
    column = Prediction("p", 3, 1, (1.0, 2.0, 3.0))
    assert compare_one(KIND, column, series([1, 2, 3])).score == 0.0
    both = Prediction("p", 2, 2, (0.0, 1.0, 0.0, 1.0))
    found = compare_one(KIND, both, both._replace(numbers=(0.0, 1.0, 0.0, 5.0)))
    assert [(row.score, row.flip) for row in found.rows] == [(0.0, False), (0.5, True)]
    assert found.reason.endswith("at most 4 steps off at step 2 of series 1")


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8)


@settings(deadline=None)
@given(PAIRS)
def test_the_score_is_within_its_bounds(pairs: list[tuple[float, float]]) -> None:
    trusted, tried = zip(*pairs, strict=True)
    found = compare(trusted, tried)
    assert 0.0 <= found.score <= 1.0
    assert found.reason.isprintable()
    same = compare(trusted, list(trusted))
    assert (same.score, same.flip) == (0.0, False)


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8),
    st.integers(0, 7),
    st.floats(0, 1e3),
    st.floats(0, 1e3),
)
def test_a_larger_perturbation_never_scores_lower(
    numbers: list[float], at: int, shift: float, more: float
) -> None:
    def perturbed(by: float) -> list[float]:
        return [value + by if index == at % len(numbers) else value for index, value in enumerate(numbers)]

    near, far = compare(numbers, perturbed(shift)), compare(numbers, perturbed(shift + more))
    assert near.score <= far.score + 1e-12
    assert near.flip <= far.flip


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.floats(-10, 10))
def test_the_unit_does_not_matter(numbers: list[float], shift: float) -> None:
    tried = [value + shift for value in numbers]
    before = compare(numbers, tried)
    after = compare([1024 * value for value in numbers], [1024 * value for value in tried])
    assert after.score == pytest.approx(before.score)


def test_people_see_the_steps() -> None:
    assert KIND.describe(series([1, math.nan])) == [1.0, "NaN"]
    shown = KIND.describe(series(range(60)))
    assert isinstance(shown, list)
    assert shown[-1] == "… 10 more"
    json.dumps(shown, allow_nan=False)
