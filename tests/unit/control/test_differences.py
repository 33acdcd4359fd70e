"""Differences of two predictions: none exactly when they are equal, and bounded whatever a model writes."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from control.differences import LONGEST, MOST, differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def test_each_value_that_differs_is_named_by_its_pointer() -> None:
    incumbent = {"items": [{"price": 2, "name": "a"}], "gone": None, "a/b~c": 1}
    candidate = {"items": [{"price": 5, "name": "a"}, 7], "a/b~c": True}
    assert differences(incumbent, candidate) == [
        {"path": "/items/0/price", "incumbent": 2, "candidate": 5},
        {"path": "/items/1", "candidate": 7},
        {"path": "/gone", "incumbent": None},
        {"path": "/a~1b~0c", "incumbent": 1, "candidate": True},
    ]


def test_texts_are_told_apart_by_words() -> None:
    (found,) = differences("It will rain today", "It will snow today")
    assert found["text"] == [["=", "It will "], ["-", "rain"], ["+", "snow"], ["=", " today"]]


@settings(deadline=None)
@given(JSON)
def test_equal_values_have_no_differences(value: object) -> None:
    assert differences(value, json.loads(json.dumps(value))) == []


@settings(deadline=None)
@given(JSON, JSON)
def test_different_values_have_some(left: object, right: object) -> None:
    same = json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    found = differences(left, right)
    assert same <= (found == [])
    assert json.dumps(found)


def test_what_a_model_writes_does_not_decide_the_size() -> None:
    assert len(differences(list(range(10_000)), [])) == MOST + 1
    (found,) = differences("word " * 100_000, "other " * 100_000)
    assert len(json.dumps(found)) < 20 * LONGEST
    deep: object = 1
    other: object = 2
    for _ in range(500):
        deep, other = [deep], [other]
    assert differences(deep, other) == []
