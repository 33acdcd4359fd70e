"""Distances between numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.kind import compare_one
from comparators.prediction import Prediction
from comparators.regression import Regression
from domain.errors import ComparatorFault
from domain.observation import Divergence, RowFinding
from domain.routing import Arm
from settings.schema import CompareSettings

KIND = Regression(CompareSettings("regression", tolerance=0.1, scale=2.0))
NUMBERS = st.floats(width=64) | st.sampled_from(
    [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 5e-324]
)


def column(numbers: Sequence[float]) -> Prediction:
    return Prediction("p", len(numbers), 1, tuple(numbers))


def compare(trusted: Sequence[float], tried: Sequence[float]) -> Divergence:
    return compare_one(KIND, column(trusted), column(tried))


@pytest.mark.parametrize(
    ("trusted", "tried", "score", "flip", "reason"),
    [
        ([12.3], [12.4], 0.05, False, "12.3 → 12.4, distance 0.05 within the tolerance 0.1"),
        ([12.0], [12.5], 0.25, True, "12 → 12.5, distance 0.25 beyond the tolerance 0.1"),
        ([12.0], [17.0], 1.0, True, "12 → 17, distance 2.5 beyond the tolerance 0.1"),
        (
            [1.0, 2.0],
            [1.0, 3.0],
            0.25,
            True,
            "1 of 2 numbers beyond the tolerance 0.1, at most 2 → 3, mean distance 0.25",
        ),
        ([math.nan], [math.nan], 0.0, False, "NaN → NaN, distance 0 within the tolerance 0.1"),
        ([math.nan], [1.0], 1.0, True, "NaN → 1, distance Infinity beyond the tolerance 0.1"),
        ([math.inf], [math.inf], 0.0, False, "Infinity → Infinity, distance 0 within the tolerance 0.1"),
        (
            [math.inf],
            [-math.inf],
            1.0,
            True,
            "Infinity → -Infinity, distance Infinity beyond the tolerance 0.1",
        ),
        ([1e308], [-1e308], 1.0, True, "1e+308 → -1e+308, distance Infinity beyond the tolerance 0.1"),
    ],
)
def test_the_finding_in_words(
    trusted: list[float], tried: list[float], score: float, flip: bool, reason: str
) -> None:
    found = compare(trusted, tried)
    assert found.score == pytest.approx(score)
    assert (found.flip, found.reason) == (flip, reason)


def test_one_wild_row_in_a_batch_is_a_flip() -> None:
    found = compare([1.0] * 100, [1.0] * 99 + [9.0])
    assert found.flip
    assert found.score == pytest.approx(0.01)


def test_shapes_that_differ_are_as_far_apart_as_can_be() -> None:
    found = compare_one(KIND, Prediction("p", 1, 2, (1.0, 2.0)), column([1.0, 2.0]))
    assert (found.score, found.flip) == (1.0, True)
    assert found.reason == "the shapes differ: 1 × 2 numbers → 2 × 1"


def test_whole_numbers_are_compared_as_numbers() -> None:
    integers = Prediction("p", 1, 1, (3.0,), ("3",))
    assert compare_one(KIND, integers, column([3.1])).score == pytest.approx(0.05)


def test_text_is_the_fault_of_the_arm_that_sent_it() -> None:
    text = Prediction("output 'p'", 1, 1, None, ("x",))
    for trusted, tried, arm in ((text, text, Arm.INCUMBENT), (column([1.0]), text, Arm.CANDIDATE)):
        with pytest.raises(ComparatorFault, match="output 'p' is text where numbers are needed") as caught:
            compare_one(KIND, trusted, tried)
        assert caught.value.arm is arm


PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8)


@settings(deadline=None)
@given(PAIRS)
def test_the_score_is_symmetric_and_within_its_bounds(pairs: list[tuple[float, float]]) -> None:
    trusted, tried = zip(*pairs, strict=True)
    there, back = compare(trusted, tried), compare(tried, trusted)
    assert 0.0 <= there.score <= 1.0
    assert (there.score, there.flip) == (back.score, back.flip)


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_equal_predictions_are_not_apart(numbers: list[float]) -> None:
    found = compare(numbers, list(numbers))
    assert (found.score, found.flip) == (0.0, False)


@settings(deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pairs: list[tuple[float, float]], random: object) -> None:
    before = compare(*zip(*pairs, strict=True))
    random.shuffle(pairs)  # type: ignore[attr-defined]  # hypothesis hands out random.Random as object
    after = compare(*zip(*pairs, strict=True))
    assert after.score == pytest.approx(before.score)
    assert after.flip == before.flip


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6),
    st.integers(0, 5),
    st.floats(0, 1e3),
    st.floats(0, 1e3),
)
def test_a_larger_perturbation_never_scores_lower(
    numbers: list[float], at: int, shift: float, more: float
) -> None:
    def perturbed(by: float) -> list[float]:
        return [value + by if index == at % len(numbers) else value for index, value in enumerate(numbers)]

    smaller, larger = compare(numbers, perturbed(shift)), compare(numbers, perturbed(shift + more))
    assert smaller.score <= larger.score
    assert smaller.flip <= larger.flip


@settings(deadline=None)
@given(PAIRS)
def test_many_numbers_are_judged_as_few_are(pairs: list[tuple[float, float]]) -> None:
    trusted, tried = zip(*pairs, strict=True)
    few, many = compare(trusted, tried), compare(trusted * 65, tried * 65)
    assert (many.score, many.flip) == (pytest.approx(few.score), few.flip)


def test_each_row_of_a_batch_has_a_finding_of_its_own() -> None:
    table = Prediction("p", 2, 2, (1.0, 2.0, 3.0, 4.0))
    found = compare_one(KIND, table, table._replace(numbers=(1.0, 2.0, 3.0, 6.0)))
    assert found.rows == (RowFinding(0.0, False), RowFinding(0.5, True))
    assert (found.score, found.flip) == (0.25, True)
    assert compare([1.0], [2.0]).rows == ()
    equal = compare_one(KIND, table, table)
    assert (equal.reason, equal.rows) == ("equal bytes", (RowFinding(0.0, False),) * 2)


def test_numbers_of_a_binary_tensor_are_compared_in_place() -> None:
    few, many = column([1.0] * 40), Prediction("p", 40, 1, array=np.full((40, 1), 1.5, dtype=np.float32))
    assert compare_one(KIND, few, many) == compare([1.0] * 40, [1.5] * 40)
    assert compare_one(KIND, many, few).score == 0.25


def test_people_see_numbers_rows_and_how_many_are_left_out() -> None:
    assert KIND.describe(column([1.5])) == 1.5
    assert KIND.describe(column([math.nan, -math.inf])) == ["NaN", "-Infinity"]
    assert KIND.describe(Prediction("p", 2, 2, (1.0, 2.0, 3.0, 4.0))) == [[1.0, 2.0], [3.0, 4.0]]
    shown = KIND.describe(column([0.0] * 1000))
    assert isinstance(shown, list)
    assert len(shown) == 51
    assert shown[-1] == "… 950 more"
