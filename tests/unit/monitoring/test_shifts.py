"""Shifts of columns: whether they moved, which cells grew, and how much of a change is due to that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.diagnosis.shifts import MISSING, OTHER, Shift, column, explained, grown, holm, shift, tail

BEFORE = np.arange(2000) < 1000


def of(before: list[float | str | None], after: list[float | str | None]) -> Shift:
    return shift(column([*before, *after]), np.arange(len(before) + len(after)) < len(before))


@pytest.mark.parametrize(
    ("statistic", "freedom", "expected"),
    [
        (3.841459, 1, 0.05),
        (5.991465, 2, 0.05),
        (18.307038, 10, 0.05),
        (24.995790, 15, 0.05),
        (6.634897, 1, 0.01),
    ],
)
def test_the_tail_of_chi_squared_is_what_tables_say(statistic: float, freedom: int, expected: float) -> None:
    assert tail(statistic, freedom) == pytest.approx(expected, abs=1e-6)


def test_the_tail_has_its_ends() -> None:
    assert tail(0.0, 3) == tail(5.0, 0) == 1.0
    assert tail(1e6, 4) == 0.0


def test_a_column_that_stays_the_same_has_not_moved_more_often_than_it_is_said_to() -> None:
    chance = np.random.default_rng(3)
    found = [shift(column(list(chance.normal(size=2000))), BEFORE) for _ in range(300)]
    assert sum(one.p <= 0.05 for one in found) <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05)
    assert not any(one.moved for one in found)


def test_a_column_that_moved_a_lot_has_moved_and_says_where() -> None:
    chance = np.random.default_rng(4)
    values = np.concatenate([chance.normal(size=1000), chance.normal(1.0, size=1000)])
    found = shift(column(list(values)), BEFORE)
    assert found.moved
    assert 0.3 < found.variation < 0.45
    assert found.after[0] > found.before[0]


def test_a_shift_that_is_certain_and_tiny_does_not_count() -> None:
    before: list[float | str | None] = ["a"] * 50_000 + ["b"] * 50_000
    after: list[float | str | None] = ["a"] * 48_000 + ["b"] * 52_000
    found = of(before, after)
    assert found.p < 1e-10
    assert not found.moved


def test_a_feature_that_is_not_sent_any_more_is_seen_as_missing() -> None:
    found = of([0.1 * number for number in range(300)], [None] * 300)
    assert (found.moved, found.grown, found.after) == (True, (MISSING,), (1.0,))


def test_values_beyond_the_commonest_are_counted_together() -> None:
    cut = column([f"v{number}" for number in range(100)])
    assert cut.names[-1] == OTHER
    assert int((cut.cells == len(cut.names) - 1).sum()) > 50


@pytest.mark.parametrize("rows", [0, 1])
def test_one_sample_alone_shows_nothing(rows: int) -> None:
    assert of([], [1.0] * rows).p == 1.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_makes_a_p_smaller_and_keeps_their_order(values: list[float]) -> None:
    found = {str(place): Shift(0.5, p, (), (), ()) for place, p in enumerate(values)}
    told = holm(found)
    assert all(told[name].p >= found[name].p for name in found)
    assert [told[name].p for name in sorted(found, key=lambda one: found[one].p)] == sorted(
        one.p for one in told.values()
    )
    assert min(told.values(), key=lambda one: one.p).p == min(1.0, min(values) * len(values))


def test_a_rise_that_only_comes_from_other_requests_is_explained_by_them_wholly() -> None:
    """Wrong for every second of the old people, never for the young; more old people came."""
    cells = np.array([0] * 900 + [1] * 100 + [0] * 100 + [1] * 900)
    values = np.array([0.0] * 900 + [0.5] * 100 + [0.0] * 100 + [0.5] * 900)
    assert explained(cells, values, BEFORE) == pytest.approx(1.0)


def test_a_rise_within_every_cell_is_explained_by_none() -> None:
    cells = np.array([0, 1] * 1000)
    values = np.array([0.0] * 1000 + [0.4] * 1000)
    assert explained(cells, values, BEFORE) == pytest.approx(0.0, abs=1e-9)


def test_a_cell_that_is_new_is_the_columns_doing() -> None:
    cells = np.array([0] * 1000 + [1] * 1000)
    values = np.array([0.01] * 1000 + [0.3] * 1000)
    assert explained(cells, values, BEFORE) == pytest.approx(1.0)
    assert grown(column(["a"] * 1000 + ["b"] * 1000), BEFORE).tolist() == [0.0] * 1000 + [1.0] * 1000


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1), st.booleans()), min_size=2, max_size=50))
def test_what_is_explained_is_a_part(rows: list[tuple[int, float, bool]]) -> None:
    cells, values, before = (np.array(part) for part in zip(*rows, strict=True))
    assert 0.0 <= explained(cells.astype(np.intp), values, before) <= 1.0
