"""Distances between rankings."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.kind import compare_one
from comparators.prediction import Prediction
from comparators.ranking import LONGEST, Ranking
from domain.errors import ComparatorFault
from domain.observation import Divergence
from domain.routing import Arm
from settings.schema import CompareSettings

KIND = Ranking(CompareSettings("ranking"))
BY_ID = Ranking(CompareSettings("ranking", item="id", top=2))


def ranked(*items: str) -> Prediction:
    return Prediction("p", 1, len(items), None, items) if items else structure([])


def structure(value: object, rows: int = 1) -> Prediction:
    return Prediction("p", rows, 1, structure=value)


def scores(*numbers: float) -> Prediction:
    return Prediction("p", 1, len(numbers), numbers)


def compare(incumbent: Prediction, candidate: Prediction) -> Divergence:
    return compare_one(KIND, incumbent, candidate)


def test_the_finding_in_words() -> None:
    found = compare(ranked(*"abcde"), ranked(*"bcdae"))
    assert found.score == pytest.approx(1 - 0.828, abs=5e-4)
    assert not found.flip
    assert found.reason == "rank 1: a → b, 5 of the first 5 in common, 1 − RBO 0.17, Kendall τ 0.40"


def test_a_reversal_and_a_replaced_head_are_flips() -> None:
    assert compare(ranked(*"abcdefghij"), ranked(*"jihgfedcba")).flip
    found = compare_one(BY_ID, ranked(*"abcdefghij"), ranked(*"axcdefghij"))
    assert found.score < 0.3
    assert found.flip
    assert "1 of the first 2 in common" in found.reason


def test_disjoint_and_empty_rankings_are_as_far_as_can_be() -> None:
    found = compare(ranked("a", "b"), ranked("x", "y"))
    assert (found.score, found.flip) == (1.0, True)
    found = compare(ranked("a"), ranked())
    assert (found.score, found.flip) == (1.0, True)
    assert found.reason.startswith("1 item → 0 items")
    assert compare(ranked(), structure([])).score == 0.0


def test_scores_rank_the_columns() -> None:
    found = compare(scores(0.1, 0.9, 0.5), scores(0.2, 8.0, 3.0))
    assert (found.score, found.flip, found.reason) == (0.0, False, "same ranking")
    assert compare(scores(0.1, 0.9), scores(0.9, 0.1)).reason.startswith("rank 1: 1 → 0")


def test_a_score_that_is_no_number_is_the_fault_of_its_arm() -> None:
    for trusted, tried, arm in (
        (scores(math.nan, 1.0), scores(1.0, 2.0), Arm.INCUMBENT),
        (scores(1.0, 2.0), scores(math.nan, 1.0), Arm.CANDIDATE),
        (structure({"a": 1}), ranked("a"), Arm.INCUMBENT),
        (ranked("a"), structure([{"id": 1}]), Arm.CANDIDATE),
        (ranked("a"), structure([None]), Arm.CANDIDATE),
    ):
        with pytest.raises(ComparatorFault) as caught:
            compare(trusted, tried)
        assert caught.value.arm is arm


def test_objects_are_identified_by_their_key() -> None:
    first = structure([{"id": 3, "score": 0.9}, {"id": "x", "score": 0.5}])
    second = structure([{"id": 3, "score": 0.8}, {"id": "x", "score": 0.7}])
    assert compare_one(BY_ID, first, second).score == 0.0
    with pytest.raises(ComparatorFault, match="no key 'id'"):
        compare_one(BY_ID, structure([{"sku": 3}]), first)


def test_lists_of_lists_are_rankings_of_their_own() -> None:
    found = compare(structure([["a", "b"], ["c"]], 1), structure([["a", "b"], ["d"]], 1))
    assert [row.score for row in found.rows] == [0.0, 1.0]
    assert (found.score, found.flip) == (0.5, True)
    assert found.reason.startswith("1 of 2 rankings differ, mean distance 0.5; worst is ranking 1: ")
    found = compare(structure([["a"], ["c"]], 1), structure([["a"], ["c"]], 1)._replace(rows=2))
    assert len(found.rows) == 2
    columns = Prediction("p", 2, 1, None, ("a", "b"), structure=["a", "b"])
    assert compare(columns, ranked("a", "b")).score == 0.0
    found = compare(Prediction("p", 2, 2, None, ("a", "b", "c", "d")), ranked("a", "b"))
    assert (found.score, found.reason) == (1.0, "2 rankings → 1 ranking")


def test_repeated_items_count_where_they_come_first() -> None:
    assert compare(ranked("a", "a", "b"), ranked("a", "b")).score == 0.0


def test_endless_rankings_are_refused() -> None:
    endless = ranked(*map(str, range(LONGEST + 1)))
    with pytest.raises(ComparatorFault, match="ranks 10001 items"):
        compare(endless, ranked("a"))


LISTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8)


@settings(deadline=None)
@given(LISTS, LISTS)
def test_the_score_is_symmetric_and_within_its_bounds(one: list[str], other: list[str]) -> None:
    there, back = compare(ranked(*one), ranked(*other)), compare(ranked(*other), ranked(*one))
    assert 0.0 <= there.score <= 1.0
    assert (there.score, there.flip) == (pytest.approx(back.score), back.flip)
    same = compare(ranked(*one), ranked(*one))
    assert (same.score, same.flip) == (0.0, False)


def test_people_see_the_items_in_order() -> None:
    assert KIND.describe(ranked("b", "a")) == ["b", "a"]
    assert KIND.describe(scores(0.1, 0.9)) == ["1", "0"]
    shown = KIND.describe(ranked(*map(str, range(60))))
    assert isinstance(shown, list)
    assert shown[-1] == "… 10 more"
    json.dumps(shown)
