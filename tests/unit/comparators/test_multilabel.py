"""Distances between sets of classes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.kind import compare_one
from comparators.multilabel import MultiLabel
from comparators.prediction import Prediction
from domain.errors import ComparatorFault
from domain.observation import RowFinding
from domain.routing import Arm
from settings.schema import CompareSettings

KIND = MultiLabel(CompareSettings("classification", multi_label=True))
SKY = MultiLabel(CompareSettings("classification", multi_label=True, labels=("rain", "wind", "sun")))


def row(*probabilities: float) -> Prediction:
    return Prediction("p", 1, len(probabilities), tuple(map(float, probabilities)))


def tags(*labels: str) -> Prediction:
    return Prediction("p", 1, len(labels), None, labels)


def test_the_finding_in_words() -> None:
    found = compare_one(SKY, row(0.9, 0.6, 0.1), row(0.9, 0.3, 0.1))
    assert found.score == pytest.approx(1 - 1.3 / 1.6)
    assert found.flip
    assert found.reason == "classes −wind, distance 0.19"
    assert (found.incumbent_label, found.candidate_label) == ("rain + wind", "rain")
    assert found.incumbent_confidence == pytest.approx((0.9 + 0.6 + 0.9) / 3)
    assert compare_one(SKY, row(0, 0, 0), row(0, 0, 0)).incumbent_label == "none"
    assert compare_one(SKY, row(0.9, 0.1, 0.1), row(0.8, 0.1, 0.1)).reason == "same classes, distance 0.091"


def test_sets_of_labels_have_their_jaccard_distance() -> None:
    found = compare_one(KIND, tags("rain", "wind"), tags("wind", "sun", "fog"))
    assert (found.score, found.flip) == (0.75, True)
    assert found.reason == "classes −rain +fog +sun, distance 0.75"
    assert found.incumbent_confidence is None
    assert compare_one(KIND, tags("a", "b"), tags("b", "a")).score == 0.0
    ragged = Prediction("p", 1, 1, structure=[["rain"], []])
    found = compare_one(KIND, ragged, ragged._replace(structure=[["rain"], ["sun"]]))
    assert [one.score for one in found.rows] == [0.0, 1.0]
    numbers = Prediction("p", 1, 2, (3.0, 17.0), ("3", "17"))
    assert compare_one(KIND, numbers, Prediction("p", 1, 1, structure=[3])).score == 0.5


def test_columns_of_zeros_and_ones_are_sets() -> None:
    hot = Prediction("p", 1, 3, (1.0, 0.0, 1.0), ("1", "0", "1"))
    assert compare_one(SKY, hot, row(0.9, 0.1, 0.9)).incumbent_label == "rain + sun"


def test_each_row_of_a_batch_has_a_finding_of_its_own() -> None:
    both = Prediction("p", 2, 3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    found = compare_one(SKY, both, both._replace(numbers=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)))
    assert found.rows == (
        RowFinding(0.0, False, None, None, "rain", "rain"),
        RowFinding(1.0, True, None, None, "wind", "none"),
    )
    assert (found.incumbent_label, found.candidate_label) == (None, None)


@pytest.mark.parametrize("bad", [row(0.5, 1.5, 0), row(math.nan, 0, 0), row(-0.5, 0, 0), row(0.5, 0.5)])
def test_what_is_no_probability_is_the_fault_of_its_arm(bad: Prediction) -> None:
    for pair, arm in (((bad, row(1, 0, 0)), Arm.INCUMBENT), ((row(1, 0, 0), bad), Arm.CANDIDATE)):
        with pytest.raises(ComparatorFault) as caught:
            compare_one(SKY, *pair)
        assert caught.value.arm is arm
    with pytest.raises(ComparatorFault, match="an object where a list of labels is needed"):
        compare_one(SKY, Prediction("p", 1, 1, structure={"a": 1}), row(1, 0, 0))


def test_a_thousand_absent_classes_do_not_hide_a_change() -> None:
    empty = [0.0] * 1000
    assert compare_one(KIND, row(*empty, 1.0, 0.0), row(*empty, 0.0, 1.0)).score == 1.0


ROWS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6)


@settings(deadline=None)
@given(ROWS)
def test_the_score_is_symmetric_and_within_its_bounds(pairs: Sequence[tuple[float, float]]) -> None:
    first, second = (row(*column) for column in zip(*pairs, strict=True))
    there, back = compare_one(KIND, first, second), compare_one(KIND, second, first)
    assert 0.0 <= there.score <= 1.0
    assert (there.score, there.flip) == (pytest.approx(back.score), back.flip)
    same = compare_one(KIND, first, first._replace())
    assert (same.score, same.flip) == (0.0, False)


@settings(deadline=None)
@given(ROWS, st.floats(0, 1), st.floats(0, 1))
def test_a_class_that_fades_further_never_scores_lower(
    pairs: Sequence[tuple[float, float]], some: float, more: float
) -> None:
    small, large = sorted((some, more))
    before = [a for a, _ in pairs]

    def faded(by: float) -> Prediction:
        return row(max(0.0, before[0] - by), *before[1:])

    near, far = (compare_one(KIND, row(*before), faded(by)) for by in (small, large))
    assert near.score <= far.score + 1e-12


def test_people_see_the_set_and_its_probabilities() -> None:
    shown = SKY.describe(row(0.9, 0.0, 0.2))
    assert shown == {"labels": ["rain"], "probabilities": {"rain": 0.9, "sun": 0.2}}
    json.dumps(KIND.describe(Prediction("p", 30, 1, tuple([0.5] * 30))))
