"""Distances between class predictions."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.classification import Classification
from comparators.kind import compare_one
from comparators.prediction import Prediction
from domain.errors import ComparatorFault
from domain.observation import Divergence, RowFinding
from domain.routing import Arm
from settings.schema import CompareSettings

RAIN = Classification(CompareSettings("classification", labels=("no-rain", "rain")))
BARE = Classification(CompareSettings("classification"))
WARY = Classification(CompareSettings("classification", labels=("no-rain", "rain"), threshold=0.3))
THREE = Classification(CompareSettings("classification", labels=("a", "b", "c")))


def rows(*values: Sequence[float]) -> Prediction:
    return Prediction(
        "output 'p'", len(values), len(values[0]), tuple(float(v) for row in values for v in row)
    )


def texts(*labels: str) -> Prediction:
    return Prediction("output 'p'", len(labels), 1, None, labels)


def integers(*numbers: int, width: int = 1) -> Prediction:
    labels = tuple(map(str, numbers))
    return Prediction("output 'p'", len(numbers) // width, width, tuple(map(float, numbers)), labels)


def alone(kind: Classification, prediction: Prediction) -> Divergence:
    return compare_one(kind, prediction, prediction)


class TestProbabilities:
    def test_a_flip_in_words(self) -> None:
        assert compare_one(RAIN, rows([0.81, 0.19]), rows([0.36, 0.64])) == Divergence(
            pytest.approx(0.45),
            True,
            "class no-rain 0.81 → rain 0.64, total variation 0.45",
            0.81,
            0.64,
            "no-rain",
            "rain",
        )

    def test_the_same_class_in_words(self) -> None:
        found = compare_one(BARE, rows([0.812, 0.188]), rows([0.8, 0.2]))
        assert (found.flip, found.reason) == (False, "same class, total variation 0.012")
        assert (found.incumbent_label, found.candidate_label) == ("0", "0")

    def test_equal_bytes_keep_label_and_confidence(self) -> None:
        assert alone(RAIN, rows([0.3, 0.7])) == Divergence(
            0.0, False, "equal bytes", 0.7, 0.7, "rain", "rain"
        )

    def test_several_rows_have_a_label_only_when_they_share_it(self) -> None:
        found = compare_one(RAIN, rows([0.9, 0.1], [0.8, 0.2]), rows([0.9, 0.1], [0.2, 0.8]))
        assert found.score == pytest.approx(0.3)
        assert (
            found.reason
            == "1 of 2 rows change class, first no-rain 0.80 → rain 0.80, mean total variation 0.3"
        )
        assert (found.incumbent_label, found.candidate_label) == ("no-rain", None)
        assert (found.incumbent_confidence, found.candidate_confidence) == pytest.approx((0.85, 0.85))
        same = compare_one(RAIN, rows([0.9, 0.1], [0.8, 0.2]), rows([0.9, 0.1], [0.7, 0.3]))
        assert same.reason == "same classes in 2 rows, mean total variation 0.05"

    def test_one_number_a_row_is_the_probability_of_class_one(self) -> None:
        one, two = (
            compare_one(RAIN, rows([0.2], [0.7]), rows([0.3], [0.4])),
            compare_one(RAIN, rows([0.8, 0.2], [0.3, 0.7]), rows([0.7, 0.3], [0.6, 0.4])),
        )
        assert one.score == pytest.approx(two.score) == pytest.approx(0.2)
        assert (one.flip, one.incumbent_label, one.candidate_label) == (True, None, "no-rain")
        assert one.incumbent_confidence == pytest.approx(0.75)

    def test_the_threshold_decides_the_class_of_one_number(self) -> None:
        found = compare_one(WARY, rows([0.29]), rows([0.3]))
        assert found.reason == "class no-rain 0.71 → rain 0.30, total variation 0.01"
        assert found.candidate_confidence == 0.3

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ([0.5, 0.6], "it sums to 1.1, not 1"),
            ([1.2, -0.2], "it has a probability of -0.2"),
            ([math.nan, 0.5], "it sums to NaN, not 1"),
            ([math.inf, 0.5], "it sums to Infinity, not 1"),
            ([math.inf, -math.inf], "it has a probability of -Infinity"),
            ([1e308, 1e308], "it sums to Infinity, not 1"),
            ([1.5], "1.5 is not a probability"),
            ([math.nan], "NaN is not a probability"),
        ],
    )
    @pytest.mark.parametrize("many", [1, 100])
    def test_what_is_no_distribution_is_a_flip_of_the_candidate_and_a_fault_of_the_incumbent(
        self, row: list[float], reason: str, many: int
    ) -> None:
        fine = [0.5] if len(row) == 1 else [0.9, 0.1]
        good, bad = rows(*[fine] * many), rows(*[fine] * (many - 1), row)
        place = "" if many == 1 else "row 99 of "
        found = compare_one(RAIN, good, bad)
        assert (found.score, found.flip) == (1.0, True)
        assert found.reason == f"the candidate's {place}output 'p' is no distribution: {reason}"
        assert found.incumbent_confidence is not None
        assert found.candidate_confidence is found.candidate_label is None
        for finding in (lambda: compare_one(RAIN, bad, good), lambda: alone(RAIN, bad)):
            with pytest.raises(ComparatorFault) as caught:
                finding()
            assert caught.value.arm is Arm.INCUMBENT
            assert caught.value.reason == f"{place}output 'p' is no distribution: {reason}"

    @pytest.mark.parametrize(
        "row", [[0.5004, 0.5004], [0.4996, 0.4996], [1.0000001, -0.0000001], [1.0000001]]
    )
    def test_rounding_is_forgiven(self, row: list[float]) -> None:
        found = compare_one(RAIN, rows(row), rows(row))
        assert (found.score, found.flip) == (0.0, False)
        assert found.incumbent_confidence is not None
        assert 0 <= found.incumbent_confidence <= 1

    def test_another_number_of_classes_or_rows_is_a_flip(self) -> None:
        found = compare_one(BARE, rows([0.5, 0.5]), rows([0.2, 0.2, 0.6]))
        assert (found.score, found.flip, found.reason) == (
            1.0,
            True,
            "1 row of 2 classes → 1 row of 3 classes",
        )
        found = compare_one(BARE, rows([0.5, 0.5]), rows([0.5, 0.5], [0.5, 0.5]))
        assert (found.score, found.flip, found.reason) == (
            1.0,
            True,
            "1 row of 2 classes → 2 rows of 2 classes",
        )

    def test_labels_that_do_not_fit_the_incumbent_are_its_fault(self) -> None:
        with pytest.raises(ComparatorFault, match="has 3 classes; 2 labels are configured") as caught:
            compare_one(RAIN, rows([0.2, 0.2, 0.6]), rows([0.2, 0.2, 0.6]))
        assert caught.value.arm is Arm.INCUMBENT

    def test_a_column_as_long_as_the_labels_is_one_row_where_two_classes_are_too_few(self) -> None:
        column = rows([0.2], [0.2], [0.6])
        assert alone(THREE, column).incumbent_label == "c"
        assert compare_one(THREE, column, rows([0.2, 0.2, 0.6])).score == 0.0
        assert alone(BARE, column).incumbent_label is None


class TestLabels:
    @pytest.mark.parametrize(
        ("trusted", "tried", "score", "reason"),
        [
            (texts("rain"), texts("rain"), 0.0, "same label"),
            (texts("rain"), texts("sun"), 1.0, "label rain → sun"),
            (texts("rain"), texts("\x1b[2J"), 1.0, "label rain → '\\x1b[2J'"),
            (texts("a", "b"), texts("a", "b"), 0.0, "same labels in 2 rows"),
            (texts("a", "b", "c", "d"), texts("a", "x", "c", "y"), 0.5, "2 of 4 labels differ, first b → x"),
            (texts("a"), texts("a", "b"), 1.0, "1 label → 2 labels"),
            (integers(0), integers(1), 1.0, "label no-rain → rain"),
            (integers(7), integers(-1), 1.0, "label 7 → -1"),
            (integers(0), texts("0"), 0.0, "same label"),
            (integers(2**63), integers(2**63 + 1), 1.0, "label 9223372036854775808 → 9223372036854775809"),
        ],
    )
    def test_the_score_is_the_share_that_differs(
        self, trusted: Prediction, tried: Prediction, score: float, reason: str
    ) -> None:
        found = compare_one(RAIN, trusted, tried)
        assert (found.score, found.flip, found.reason) == (score, score > 0, reason)
        assert found.incumbent_confidence is found.candidate_confidence is None

    def test_whole_numbers_are_indexes_of_the_configured_labels(self) -> None:
        assert alone(RAIN, integers(1, 1)).incumbent_label == "rain"
        assert alone(RAIN, integers(0, 1)).incumbent_label is None
        assert alone(BARE, integers(1)).candidate_label == "1"

    def test_long_labels_are_compared_whole_and_told_short(self) -> None:
        found = compare_one(RAIN, texts("x" * 5000 + "1"), texts("x" * 5000 + "2"))
        assert found.flip
        assert found.incumbent_label is not None
        assert len(found.incumbent_label) == 120
        assert len(found.reason) < 200

    def test_labels_against_probabilities_is_a_flip(self) -> None:
        found = compare_one(RAIN, rows([0.1, 0.9]), texts("rain"))
        assert (found.score, found.flip) == (1.0, True)
        assert (found.incumbent_label, found.incumbent_confidence) == ("rain", 0.9)
        found = compare_one(RAIN, texts("rain"), rows([0.1, 0.9]))
        assert (found.score, found.flip, found.incumbent_label) == (1.0, True, "rain")

    @pytest.mark.parametrize(
        ("certain", "likely", "score", "flip"),
        [
            (integers(0, 1, width=2), rows([0.1, 0.9]), 0.1, False),
            (integers(1, 0, 0, 1, width=2), rows([0.1, 0.9], [0.1, 0.9]), 0.5, True),
            (integers(1), rows([0.9]), 0.1, False),
            (integers(0), rows([0.9]), 0.9, True),
        ],
    )
    def test_untyped_zeros_and_ones_are_probabilities_beside_probabilities(
        self, certain: Prediction, likely: Prediction, score: float, flip: bool
    ) -> None:
        untyped = certain._replace(untyped=True)
        for found in (compare_one(RAIN, untyped, likely), compare_one(RAIN, likely, untyped)):
            assert (found.score, found.flip) == (pytest.approx(score), flip)
        assert compare_one(RAIN, likely, certain).reason.endswith("probabilities, the candidate with labels")

    def test_other_untyped_whole_numbers_stay_labels(self) -> None:
        for numbers in (integers(1, 1, width=2), integers(0, 2, width=2)):
            found = compare_one(RAIN, rows([0.1, 0.9]), numbers._replace(untyped=True))
            assert found.reason.endswith("the candidate with labels")


@st.composite
def distributions(draw: st.DrawFn, width: int) -> list[float]:
    weights = draw(st.lists(st.integers(0, 20), min_size=width, max_size=width).filter(any))
    return [weight / sum(weights) for weight in weights]


@st.composite
def paired_rows(draw: st.DrawFn) -> list[tuple[list[float], list[float]]]:
    width = draw(st.integers(1, 4))
    row = distributions(width) if width > 1 else st.lists(st.floats(0, 1), min_size=1, max_size=1)
    return draw(st.lists(st.tuples(row, row), min_size=1, max_size=6))


def split(pairs: list[tuple[list[float], list[float]]]) -> tuple[Prediction, Prediction]:
    trusted, tried = zip(*pairs, strict=True)
    return rows(*trusted), rows(*tried)


@settings(deadline=None)
@given(paired_rows())
def test_the_score_is_symmetric_and_within_its_bounds(pairs: list[tuple[list[float], list[float]]]) -> None:
    trusted, tried = split(pairs)
    there, back = compare_one(BARE, trusted, tried), compare_one(BARE, tried, trusted)
    assert 0.0 <= there.score <= 1.0
    assert (there.score, there.flip) == (back.score, back.flip)
    assert there.incumbent_confidence == back.candidate_confidence


@settings(deadline=None)
@given(paired_rows())
def test_equal_predictions_are_not_apart_and_found_as_equal_bytes_are(
    pairs: list[tuple[list[float], list[float]]],
) -> None:
    trusted, _ = split(pairs)
    found, equal = compare_one(BARE, trusted, trusted._replace()), alone(BARE, trusted)
    assert (found.score, found.flip) == (equal.score, equal.flip) == (0.0, False)
    assert found.candidate_confidence == equal.candidate_confidence
    assert found.candidate_label == equal.candidate_label


@settings(deadline=None)
@given(paired_rows(), st.integers())
def test_the_order_of_rows_does_not_matter(pairs: list[tuple[list[float], list[float]]], seed: int) -> None:
    before = compare_one(BARE, *split(pairs))
    random.Random(seed).shuffle(pairs)
    after = compare_one(BARE, *split(pairs))
    assert after.score == pytest.approx(before.score)
    assert after.incumbent_confidence == pytest.approx(before.incumbent_confidence)
    for name in ("flip", "incumbent_label", "candidate_label"):
        assert getattr(after, name) == getattr(before, name)


@settings(deadline=None)
@given(paired_rows())
def test_many_rows_are_judged_as_few_are(pairs: list[tuple[list[float], list[float]]]) -> None:
    few = compare_one(BARE, *split(pairs))
    many = compare_one(BARE, *split(pairs * 65))
    assert many.score == pytest.approx(few.score)
    assert many.candidate_confidence == pytest.approx(few.candidate_confidence)
    for name in ("flip", "incumbent_label", "candidate_label"):
        assert getattr(many, name) == getattr(few, name)


def test_each_row_of_a_batch_has_a_finding_of_its_own() -> None:
    found = compare_one(RAIN, rows([0.9, 0.1], [0.8, 0.2]), rows([0.9, 0.1], [0.25, 0.75]))
    assert found.rows == (
        RowFinding(0.0, False, 0.9, 0.9, "no-rain", "no-rain"),
        RowFinding(pytest.approx(0.55), True, 0.8, 0.75, "no-rain", "rain"),
    )
    found = compare_one(RAIN, integers(0, 1), integers(0, 0))
    assert found.rows == (
        RowFinding(0.0, False, None, None, "no-rain", "no-rain"),
        RowFinding(1.0, True, None, None, "rain", "no-rain"),
    )
    assert compare_one(RAIN, rows([0.9, 0.1]), rows([0.8, 0.2])).rows == ()
    assert alone(BARE, texts("a", "b")).rows == (
        RowFinding(0.0, False, None, None, "a", "a"),
        RowFinding(0.0, False, None, None, "b", "b"),
    )


@settings(deadline=None)
@given(paired_rows())
def test_a_batch_is_the_mean_of_its_rows(pairs: list[tuple[list[float], list[float]]]) -> None:
    whole = compare_one(BARE, *split(pairs))
    each = [compare_one(BARE, *split([pair])) for pair in pairs]
    if len(pairs) == 1:
        return
    assert [row.score for row in whole.rows] == [one.score for one in each]
    assert [row.flip for row in whole.rows] == [one.flip for one in each]
    assert [row.candidate_label for row in whole.rows] == [one.candidate_label for one in each]
    assert whole.score == pytest.approx(sum(one.score for one in each) / len(each))
    assert whole.flip == any(one.flip for one in each)


def test_total_variation_is_the_largest_difference_over_sets_of_classes() -> None:
    random_numbers = np.random.default_rng(7)
    for _ in range(20):
        p, q = random_numbers.dirichlet(np.ones(4), size=2)
        sets = [[bool(mask >> index & 1) for index in range(4)] for mask in range(16)]
        largest = max(abs(p[chosen].sum() - q[chosen].sum()) for chosen in sets)
        assert compare_one(BARE, rows(p), rows(q)).score == pytest.approx(largest)


def test_people_see_labels_confidences_and_what_is_left_out() -> None:
    assert (
        RAIN.describe(rows([0.25, 0.75]))
        == RAIN.describe(rows([0.75]))
        == {
            "label": "rain",
            "confidence": 0.75,
            "probabilities": {"no-rain": 0.25, "rain": 0.75},
        }
    )
    assert RAIN.describe(integers(1)) == "rain"
    assert RAIN.describe(texts("a", "b")) == ["a", "b"]
    wide = BARE.describe(rows([0.001] * 1000))
    assert isinstance(wide, dict)
    assert wide["omitted"] == "950 less likely classes"
    assert len(wide["probabilities"]) == 50
    long = BARE.describe(rows(*[[0.5, 0.5]] * 30))
    assert isinstance(long, list)
    assert long[-1] == "… 10 more"
    json.dumps([wide, long], allow_nan=False)
