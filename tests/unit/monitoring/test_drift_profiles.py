"""Profiles and sketches: every value has a cell, merging is adding, and what is kept comes back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift import hour as hours
from monitoring.drift import sketch as sketches
from monitoring.drift.drawing import Seen
from monitoring.drift.hour import Hour
from monitoring.drift.profile import (
    CONFIDENCE,
    FEATURE,
    LARGEST,
    MOST_COLUMNS,
    PREDICTION,
    ColumnProfile,
    Profile,
    column,
    gathered,
    profile,
)
from monitoring.drift.sketch import MOST_NEW, Sketch
from monitoring.log.record import Value

VALUES = st.one_of(
    st.none(),
    st.floats(),
    st.sampled_from([0.0, 1.0, 2.5, -3.0]),
    st.sampled_from(["red", "green", "blue", ""]),
    st.text(max_size=5),
)
COLUMNS = st.lists(VALUES, min_size=1, max_size=60)


def sketched(of: ColumnProfile, values: Sequence[Value]) -> Sketch:
    found = Sketch(of)
    found.take(values)
    return found


@given(COLUMNS, COLUMNS, st.integers(1, 5))
@settings(deadline=None, max_examples=150)
def test_whatever_a_value_is_it_falls_into_one_cell(
    reference: list[Value], values: list[Value], categories: int
) -> None:
    found = column("feature:x", reference, categories)
    assert found.rows == len(reference)
    assert math.isclose(found.shares.sum(), 1.0)
    cells = found.cells(values)
    assert ((cells >= 0) & (cells < len(found.counts))).all()
    assert sketched(found, values).rows == len(values)
    assert sketched(found, reference).counts.tolist() == list(found.counts)


@given(COLUMNS, COLUMNS, COLUMNS)
@settings(deadline=None, max_examples=150)
def test_merging_two_sketches_is_sketching_both(
    reference: list[Value], one: list[Value], other: list[Value]
) -> None:
    of = column("feature:x", reference, 3)
    merged = sketched(of, one)
    merged.add(sketched(of, other))
    whole = sketched(of, one + other)
    assert merged.counts.tolist() == whole.counts.tolist()
    assert np.allclose(merged.sums, whole.sums, rtol=1e-9)
    assert (merged.below, merged.above, merged.lowest, merged.highest) == (
        whole.below, whole.above, whole.lowest, whole.highest,
    )  # fmt: skip
    assert merged.new == whole.new


@given(COLUMNS, COLUMNS)
@settings(deadline=None, max_examples=60)
def test_what_is_kept_comes_back_as_it_was(reference: list[Value], values: list[Value]) -> None:
    of = column("feature:x", reference, 3)
    kept = sketched(of, values).keep()
    there = msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=sketches.KeptSketch)
    assert sketches.restored(of, there).keep() == kept
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(of), type=ColumnProfile)
    assert again == of


def test_the_same_rows_in_another_order_are_the_same_profile() -> None:
    rows: list[Value] = [1.0, 2.0, "b", "a", None, 7.0, "a", "b"]
    assert column("x", rows, 1) == column("x", rows[::-1], 1)


def test_one_row_more_is_another_digest() -> None:
    rows: list[Value] = [1.0, 2.0, 3.0]
    one = profile({"feature:x": rows}, "learned", categories=3)
    assert one.digest == profile({"feature:x": rows}, "elsewhere", categories=3, since=1.0).digest
    assert one.digest != profile({"feature:x": [*rows, 3.0]}, "learned", categories=3).digest


def test_numbers_without_end_keep_sums_finite() -> None:
    values: list[Value] = [math.inf, -math.inf, math.nan, 1e308, -1e308, 5.0]
    of = column("x", values, 3)
    assert of.counts[-1] == 3, "what is no finite number is nothing"
    found = sketched(of, values * 100)
    assert np.isfinite(found.sums).all()
    assert found.highest == LARGEST


def test_a_change_of_type_is_seen() -> None:
    ages = sketched(column("x", [float(one) for one in range(100)], 3), ["forty", "fifty", 30.0])
    assert ages.retyped == 2
    assert ages.shares[-2] == pytest.approx(2 / 3), "texts where there were numbers"
    names = sketched(column("x", ["a", "b", "a"], 3), [3.0, "a"])
    assert names.retyped == 1


def test_a_text_is_new_only_where_all_texts_were_known() -> None:
    known = sketched(column("x", ["a", "b", "b"], 3), ["a", "c", "c"])
    assert known.new == {"c": 2}
    cut_off = sketched(column("x", ["a", "b", "b", "d", "e"], 2), ["a", "c"])
    assert cut_off.new == {}, "the reference had others, that nobody knows any more"


def test_new_texts_without_end_are_counted_and_not_kept() -> None:
    of = column("x", ["a"], 3)
    found = sketched(of, [f"id-{at}" for at in range(10_000)])
    assert len(found.new) == MOST_NEW
    assert found.rows == 10_000
    assert found.distance(0.01).shift.estimate == 1.0


def test_numbers_outside_of_a_range_are_counted() -> None:
    of = column("x", [10.0, 20.0], 3)
    mine = Sketch(of)
    mine.take([9.0, 15.0, 21.0, 22.0])
    assert (mine.below, mine.above) == (1, 2)
    allowed = Sketch(of)
    allowed.take([9.0, 15.0, 21.0, 22.0], (0.0, 21.5))
    assert (allowed.below, allowed.above) == (0, 1)


def test_sketches_of_other_cells_are_not_merged() -> None:
    one = column("x", [1.0, 2.0, 3.0], 3)
    for other in (column("x", [1.0], 3), column("x", [5.0, 6.0, 7.0], 3), column("x", ["a"], 3)):
        with pytest.raises(ValueError, match="different cells"):
            Sketch(one).add(Sketch(other))


def test_names_from_clients_do_not_grow_a_profile() -> None:
    rows: list[dict[str, Value]] = [{f"x{at}": 1.0} for at in range(2000)]
    assert gathered(rows) == {}, "each of them is lacking in nearly all rows"
    wide: list[dict[str, Value]] = [{f"x{at}": 1.0 for at in range(2000)}]
    assert len(gathered(wide)) == MOST_COLUMNS
    assert gathered([{"x" * 10_000: 1.0}]) == {}


def test_a_column_of_nothing_is_no_column() -> None:
    found = profile({"feature:x": [None, None], "feature:y": [1.0, None]}, "learned", categories=3)
    assert [one.name for one in found.columns] == ["feature:y"]
    with pytest.raises(ValueError, match="no column"):
        profile({"feature:x": [None]}, "learned", categories=3)


@pytest.mark.parametrize(
    "wrong",
    [{"counts": (1, 2)}, {"edges": (2.0, 1.0)}, {"counts": (0, 0, 0, 0, 0)}, {"means": ()},
     {"counts": (1, 1, 1, 1, -1)}],
)  # fmt: skip
def test_a_damaged_profile_is_refused(wrong: dict[str, object]) -> None:
    good = {
        "name": "x", "edges": (1.0, 2.0), "categories": (), "counts": (1, 1, 1, 0, 0),
        "means": (0.0, 0.0, 0.0), "sigma": 1.0, "lowest": 0.0, "highest": 3.0,
    }  # fmt: skip
    assert msgspec.convert(good, ColumnProfile).rows == 3
    with pytest.raises((ValueError, msgspec.ValidationError)):
        msgspec.convert(good | wrong, ColumnProfile)


def test_nothing_is_taken_from_an_hour_of_another_profile() -> None:
    one = profile({"feature:x": [1.0, 2.0]}, "learned", categories=3)
    other = profile({"feature:y": [1.0, 2.0]}, "learned", categories=3)
    kept = Hour(one).keep()
    with pytest.raises(ValueError, match="other columns"):
        hours.restored(other, kept)
    for damaged in (b"", b"no", kept[:-4], kept[4:]):
        with pytest.raises(ValueError, match=r"cannot be read|not whole"):
            hours.restored(one, damaged)


def row(at: float, features: dict[str, Value], prediction: Value = "yes", *, told: bool = True) -> Seen:
    return Seen(at, 1, 0.01, features, told, prediction, 0.9, ("de",))


def all_columns() -> Profile:
    return profile(
        {PREDICTION: ["yes", "no"], CONFIDENCE: [0.5, 0.9], FEATURE + "age": [1.0, 2.0, 3.0]},
        "learned", categories=3,
    )  # fmt: skip


def test_only_requests_that_the_incumbent_answered_speak_of_predictions() -> None:
    found = Hour(all_columns())
    found.take([row(0.0, {"age": 1.0}), row(1.0, {"age": 2.0}, None, told=False)], {}, [])
    assert found.rows == 2
    assert found.sketches[PREDICTION].rows == 1
    assert found.sketches[FEATURE + "age"].rows == 2


def test_features_that_the_profile_lacks_are_named_and_bounded() -> None:
    found = Hour(all_columns())
    found.take([row(0.0, {"age": 1.0, "height": 2.0}), row(0.0, {f"h{at}": 1.0 for at in range(99)})], {}, [])
    assert found.unknown["height"] == 1
    assert len(found.unknown) == hours.MOST_UNKNOWN


def test_an_hour_comes_back_as_it_was_and_adds_up() -> None:
    of = all_columns()
    one, other = Hour(of), Hour(of)
    one.take([row(0.0, {"age": 1.0})] * 3, {}, ["header:x-country"])
    other.take([row(0.0, {"age": "old", "more": 1.0}, "perhaps")] * 2, {}, ["header:x-country"])
    back = hours.restored(of, other.keep())
    both = hours.total(of, [hours.restored(of, one.keep()), back])
    assert both.rows == 5
    assert both.sketches[PREDICTION].new == {"perhaps": 2}
    assert both.unknown == {"more": 2}
    assert both.latencies.counts["header:x-country", "de"].sum() == 5
    assert both.keep() == hours.restored(of, both.keep()).keep()


def test_hours_are_compared_with_the_same_hours_of_the_week_before() -> None:
    assert hours.alike([1000, 1001, 1002], [1000, 1001, 832, 834]) == ([1000, 1002], [832, 834])
    assert hours.alike([1000], [1000]) == ([], [])
