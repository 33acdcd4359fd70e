"""Distances between vectors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.embedding import Embedding
from comparators.kind import compare_one
from comparators.prediction import Prediction
from domain.errors import ComparatorFault
from domain.observation import Divergence
from domain.routing import Arm
from settings.schema import CompareSettings

KIND = Embedding(CompareSettings("embedding"))


def vectors(*rows: Sequence[float]) -> Prediction:
    return Prediction("p", len(rows), len(rows[0]), tuple(float(v) for row in rows for v in row))


def compare(trusted: Sequence[float], tried: Sequence[float]) -> Divergence:
    return compare_one(KIND, vectors(trusted), vectors(tried))


@pytest.mark.parametrize(
    ("trusted", "tried", "score", "flip", "reason"),
    [
        ([1, 0], [2, 0], 0.0, False, "cosine distance 0 within the tolerance 0.1"),
        ([1, 0], [1, 1], 1 - math.sqrt(0.5), True, "cosine distance 0.29 beyond the tolerance 0.1"),
        ([1, 0], [0, 1], 1.0, True, "cosine distance 1 beyond the tolerance 0.1"),
        ([1, 0], [-1, 0], 1.0, True, "cosine distance 1 beyond the tolerance 0.1"),
        ([0, 0], [0, 0], 0.0, False, "cosine distance 0 within the tolerance 0.1"),
        ([1, 0], [0, 0], 1.0, True, "the candidate's vector is zero"),
        ([0, 0], [1, 0], 1.0, True, "the incumbent's vector is zero"),
        ([1e300, 1e300], [1e-300, 1e-300], 0.0, False, "cosine distance 0 within the tolerance 0.1"),
        ([1, 0], [1, 0, 0], 1.0, True, "1 vector of 2 dimensions → 1 vector of 3 dimensions"),
        ([1, 0], [math.nan, 0], 1.0, True, "the candidate's p holds a number that is not finite"),
        ([1, 0], [math.inf, 0], 1.0, True, "the candidate's p holds a number that is not finite"),
    ],
)
def test_the_finding_in_words(
    trusted: list[float], tried: list[float], score: float, flip: bool, reason: str
) -> None:
    found = compare(trusted, tried)
    assert (found.score, found.flip, found.reason) == (pytest.approx(score), flip, reason)


def test_an_incumbent_that_is_no_vector_is_its_own_fault() -> None:
    for trusted in (vectors([math.nan, 1.0]), Prediction("p", 1, 1, None, ("x",))):
        with pytest.raises(ComparatorFault) as caught:
            compare_one(KIND, trusted, vectors([1.0, 1.0]))
        assert caught.value.arm is Arm.INCUMBENT
    with pytest.raises(ComparatorFault) as caught:
        compare_one(KIND, vectors([1.0, 1.0]), Prediction("p", 1, 1, None, ("x",)))
    assert caught.value.arm is Arm.CANDIDATE


def test_a_column_is_one_vector_and_a_batch_has_a_row_a_vector() -> None:
    column = Prediction("p", 2, 1, (1.0, 0.0))
    assert compare_one(KIND, column, vectors([2.0, 0.0])).score == 0.0
    found = compare_one(KIND, vectors([1, 0], [1, 0]), vectors([1, 0], [0, 1]))
    assert [(row.score, row.flip) for row in found.rows] == [(0.0, False), (1.0, True)]
    assert found.reason == "1 of 2 vectors beyond the tolerance 0.1, mean cosine distance 0.5"


def test_binary_tensors_are_compared_as_they_are() -> None:
    array = np.arange(1, 769, dtype=np.float16).reshape(1, 768)
    found = compare_one(KIND, Prediction("p", 1, 768, array=array), Prediction("p", 1, 768, array=array * 2))
    assert found.score == pytest.approx(0.0, abs=1e-6)
    column = Prediction("p", 768, 1, array=array.reshape(768, 1))
    assert compare_one(KIND, column, Prediction("p", 1, 768, array=array)).score == 0.0


NUMBERS = st.floats(-1e6, 1e6)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=8)


@settings(deadline=None)
@given(PAIRS)
def test_the_score_is_symmetric_within_its_bounds_and_blind_to_length(
    pairs: list[tuple[float, float]],
) -> None:
    trusted, tried = map(list, zip(*pairs, strict=True))
    there, back = compare(trusted, tried), compare(tried, trusted)
    assert 0.0 <= there.score <= 1.0
    assert (there.score, there.flip) == (back.score, back.flip)
    assert compare(trusted, [4 * value for value in tried]).score == pytest.approx(there.score, abs=1e-9)
    assert compare(trusted, trusted).score == 0.0


@settings(deadline=None)
@given(st.floats(0, math.pi / 2), st.floats(0, math.pi / 2))
def test_a_larger_angle_never_scores_lower(angle: float, more: float) -> None:
    smaller, larger = sorted((angle, more))
    near = compare([1, 0], [math.cos(smaller), math.sin(smaller)])
    far = compare([1, 0], [math.cos(larger), math.sin(larger)])
    assert near.score <= far.score + 1e-12
    assert near.score == pytest.approx(1 - math.cos(smaller), abs=1e-12)


def test_people_see_the_size_and_the_beginning() -> None:
    assert KIND.describe(vectors([3.0, 4.0])) == {"dimensions": 2, "length": 5.0, "first": [3.0, 4.0]}
    shown = KIND.describe(vectors(*[[math.nan, 1.0]] * 30))
    assert isinstance(shown, list)
    assert shown[-1] == "… 10 more"
    json.dumps(shown, allow_nan=False)
