"""Predictions side by side."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from console.diff import LONGEST, lines

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text("xyz", max_size=2), inner),
    max_leaves=20,
)


@given(values, values)
def test_every_line_of_both_predictions_is_shown_when_context_is_wide(left: object, right: object) -> None:
    shown = [line for line in lines(left, right, context=1000) if not line.gap]
    assert [line.incumbent for line in shown if line.incumbent] == _written(left)
    assert [line.candidate for line in shown if line.candidate] == _written(right)


@given(values)
def test_equal_predictions_show_no_change(value: object) -> None:
    assert not any(line.changed or line.gap for line in lines(value, value))


def test_far_equal_lines_are_left_out() -> None:
    left = list(range(100))
    right = [*left[:50], -1, *left[51:]]
    shown = lines(left, right, context=2)
    assert shown[0].gap
    assert [(line.incumbent, line.candidate) for line in shown if line.changed] == [("  50,", "  -1,")]
    assert len(shown) == 6


def test_a_huge_prediction_is_cut() -> None:
    shown = lines(list(range(100_000)), 1)
    assert len(shown) <= LONGEST + 1
    assert shown[-1].incumbent.endswith("more lines")


def test_a_text_that_says_why_there_is_no_prediction_stands_beside_one() -> None:
    shown = lines({"label": 1}, "not JSON:\nUnexpected end")
    assert [line.candidate for line in shown if line.candidate] == ["not JSON:", "Unexpected end"]


def _written(value: object) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, indent=2)
    return [line for line in text.split("\n") if line]
