"""Distances between JSON documents, path by path."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.comparison import Comparison
from comparators.kind import RowDistance, compare_one
from comparators.patterns import Patterns, ending, step
from comparators.prediction import Prediction
from comparators.tree import Tree
from comparators.trees import MOST_PATHS, TreeDistance, numbers_equal
from domain.observation import Divergence, Observation, Outcome
from settings.schema import CompareSettings

DISTANCE = TreeDistance(["/id", "/meta", "/*/stamp"], [("/items/*/price", 0.5), ("/items/0/price", 2.0)], 0.0)
PLAIN = TreeDistance([], [], 0.0)


def between(incumbent: object, candidate: object) -> RowDistance:
    return PLAIN.between(incumbent, candidate)


@pytest.mark.parametrize(
    ("incumbent", "candidate", "score", "reason", "paths"),
    [
        ({"a": 1}, {"a": 1}, 0.0, "same 1 value", ()),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, 0.0, "same 2 values", ()),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, 0.5, "1 of 2 values differs, first /b 2 → 3", ("/b",)),
        ({"a": 1}, {"a": True}, 1.0, "1 of 1 value differs, first /a 1 → true", ("/a",)),
        ({"a": 0}, {"a": None}, 1.0, "1 of 1 value differs, first /a 0 → null", ("/a",)),
        ({"a": None}, {}, 1.0, "1 of 1 value differs, first /a is missing", ("/a",)),
        ({}, {"a": None}, 1.0, "1 of 1 value differs, first /a is new", ("/a",)),
        ({"a": "1"}, {"a": 1}, 1.0, "1 of 1 value differs, first /a '1' → 1", ("/a",)),
        ([], {}, 1.0, "1 of 1 value differs, first the top an array → an object", ("",)),
        ("x", "x", 0.0, "same 1 value", ()),
        ("x", "y", 1.0, "1 of 1 value differs, first the top 'x' → 'y'", ("",)),
        ([1, 2], [1, 2, 3, 4], 0.5, "2 of 4 values differ, first /2 is new", ("/*",)),
        (
            {"items": [{"price": 1}, {"price": 2}, {"price": 3}]},
            {"items": [{"price": 1}, {"price": 5}, {"price": 6}]},
            2 / 3,
            "2 of 3 values differ, first /items/1/price 2 → 5",
            ("/items/*/price",),
        ),
        (
            {"a/b": {"c~": 1}},
            {"a/b": {"c~": 2}},
            1.0,
            "1 of 1 value differs, first /a~1b/c~0 1 → 2",
            ("/a~1b/c~0",),
        ),
        ({"a": {"b": [1, 2]}}, {"a": 7}, 1.0, "2 of 2 values differ, first /a an object → 7", ("/a",)),
        ({"a": math.nan}, {"a": math.nan}, 0.0, "same 1 value", ()),
        ({"a": math.nan}, {"a": 1.0}, 1.0, "1 of 1 value differs, first /a NaN → 1.0", ("/a",)),
        ({"a": math.inf}, {"a": 1e308}, 1.0, "1 of 1 value differs, first /a Infinity → 1e+308", ("/a",)),
    ],
)
def test_the_finding_in_words(
    incumbent: object, candidate: object, score: float, reason: str, paths: tuple[str, ...]
) -> None:
    found = between(incumbent, candidate)
    assert (found.score, found.flip, found.reason) == (pytest.approx(score), score > 0, reason)
    assert found.paths == paths


def test_numbers_are_equal_within_the_tolerance_of_their_path() -> None:
    def priced(*prices: float, vat: float = 0.1) -> dict[str, object]:
        return {"items": [{"price": price} for price in prices], "vat": vat}

    assert not DISTANCE.between(priced(1, 1), priced(2.5, 1.5)).flip
    assert DISTANCE.between(priced(1, 1), priced(1, 1.6)).paths == ("/items/*/price",)
    assert DISTANCE.between(priced(vat=0.1), priced(vat=0.2)).paths == ("/vat",)
    everywhere = TreeDistance([], [("/vat", 0.0)], 1.0)
    assert not everywhere.between(priced(1), priced(2)).flip
    assert everywhere.between(priced(vat=0.1), priced(vat=0.2)).flip


def test_ignored_paths_count_nowhere() -> None:
    found = DISTANCE.between({"id": 1, "meta": {"a": 1}, "x": {"stamp": 1}}, {"id": 2, "x": {"stamp": 7}})
    assert (found.score, found.flip) == (0.0, False)
    found = DISTANCE.between({"id": 1, "a": 1}, {"id": 2, "a": 1})
    assert found.reason == "same 1 value"
    assert DISTANCE.between({"id": 1}, {"id": 2}).reason == "all of it is ignored"
    assert TreeDistance([""], [], 0.0).between(1, 2).score == 0.0


def test_whole_numbers_are_compared_exactly_and_fractions_but_for_the_writers_rounding() -> None:
    assert not numbers_equal(2**63, 2**63 + 1, 0.0)
    assert numbers_equal(0.1 + 0.2, 0.3, 0.0)
    assert numbers_equal(1, 1.0, 0.0)
    assert not numbers_equal(1.0, 1.0001, 0.0)
    assert numbers_equal(3, 4, 1.0)


def test_the_patterns_of_a_wild_document_are_bounded() -> None:
    found = between({f"k{at}": 1 for at in range(1000)}, {})
    assert (found.score, len(found.paths)) == (1.0, MOST_PATHS)


def test_a_pattern_is_no_wild_card_for_what_is_deeper() -> None:
    patterns = Patterns([("/a/*", 1), ("/a/b", 2), ("/*/b/c", 3)])
    at = step(patterns.start, "a")
    assert ending(at) is None
    assert ending(step(at, "x")) == 1
    assert ending(step(at, "b")) == 2
    assert ending(step(step(at, "b"), "c")) == 3
    assert step(step(patterns.start, "z"), "y") == ()
    with pytest.raises(ValueError, match="JSON pointer"):
        Patterns([("a", 1)])


SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3)
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_the_score_is_symmetric_and_within_its_bounds(one: object, other: object) -> None:
    there, back = between(one, other), between(other, one)
    assert 0.0 <= there.score <= 1.0
    assert (there.score, there.flip, there.paths) == (back.score, back.flip, back.paths)
    assert there.flip == (there.score > 0) == bool(there.paths)
    assert there.reason.isprintable()
    same = between(one, copy.deepcopy(one))
    assert (same.score, same.flip) == (0.0, False)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=3), SCALARS, min_size=1, max_size=6), st.data())
def test_one_more_change_scores_one_leaf_more(document: dict[str, object], data: st.DataObject) -> None:
    changed = dict(document)
    for count, key in enumerate(data.draw(st.permutations(list(document))), start=1):
        changed[key] = ["something else"]
        assert between(document, changed).score == pytest.approx(count / len(document))


def test_very_deep_documents_do_not_recurse() -> None:
    deep: object = 1
    other: object = 2
    for _ in range(5000):
        deep, other = [deep], [other]
    assert between(deep, other).score == 1.0


class TestPredictions:
    KIND = Tree(CompareSettings("json"))

    def test_text_that_holds_json_is_read(self) -> None:
        first, second = (
            Prediction("p", 1, 1, None, (text,)) for text in ('{"a": 1, "b": 2}', '{"b":2,"a":1}')
        )
        assert compare_one(self.KIND, first, second).score == 0.0
        words = Prediction("p", 1, 1, None, ("rain",))
        assert compare_one(self.KIND, words, words._replace(labels=("{rain",))).flip

    def test_tables_are_documents_too(self) -> None:
        table = Prediction("p", 2, 2, (1.0, 2.0, 3.0, 4.0))
        found = compare_one(self.KIND, table, table._replace(numbers=(1.0, 2.0, 3.0, 5.0)))
        assert [row.score for row in found.rows] == [0.0, 0.5]
        assert found.paths == ("/*",)

    def test_the_paths_of_all_rows_are_told(self) -> None:
        first = Prediction("p", 2, 1, structure=[{"a": 1, "b": 1}, {"a": 1, "b": 1}])
        found = compare_one(self.KIND, first, first._replace(structure=[{"a": 2, "b": 1}, {"a": 1, "b": 2}]))
        assert found.paths == ("/a", "/b")
        assert found.score == 0.5

    def test_plain_answers_are_compared_whole(self) -> None:
        def seen(document: object) -> Observation:
            return Observation("v", Outcome.ANSWERED, 200, 0.1, json.dumps(document).encode())

        plain = Comparison("json", CompareSettings("json", ignore=("/id",)))
        first, second = {"id": 1, "items": [{"a": 1}, {}]}, {"id": 2, "items": [{"a": 1}, {"b": None}]}
        found = plain.compare(seen(first), seen(second))
        assert found.reason == "1 of 2 values differs, first /items/1/b is new"
        assert plain.compare(seen(None), seen(None)) == Divergence(0.0, False, "equal bytes")
        assert plain.describe(seen(first)) == first

    def test_people_see_a_bounded_document(self) -> None:
        deep: object = math.inf
        for _ in range(20):
            deep = {"x" * 500: [deep] * 100}
        shown = self.KIND.describe(Prediction("p", 1, 1, structure={"deep": [1.5, math.nan, "y" * 1000]}))
        assert shown == {"deep": [1.5, "NaN", "y" * 499 + "…"]}
        json.dumps(self.KIND.describe(Prediction("p", 1, 1, structure={str(at): at for at in range(99)})))
