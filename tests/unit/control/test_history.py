"""What a curve shows: nothing is lost within the bounds, nothing is kept beyond them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from control.history import LONG, MOST_COLUMNS, MOST_MARKS, RECENT, History, Mark, Track


def told(track: Track, after: int = 0) -> Any:
    """As a client gets it."""
    return orjson.loads(orjson.dumps(track.told(after), option=orjson.OPT_SERIALIZE_NUMPY))


def test_a_column_that_had_no_value_has_a_gap() -> None:
    track = Track(2.0, 4)
    track.put(10.0, {("a",): 1.0})
    track.put(12.0, {("b",): 2.0})
    track.put(14.0, {("a",): 3.0, ("b",): math.nan})
    found = told(track)
    assert found["at"] == [10.0, 12.0, 14.0]
    assert found["columns"] == {"a": [1.0, None, 3.0], "b": [None, 2.0, None]}


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), max_size=40), st.integers(1, 10), st.integers(0, 50))
def test_pieces_put_together_are_the_whole(values: list[float], length: int, first: int) -> None:
    track = Track(1.0, length)
    pieces: list[float] = []
    after = 0
    for number, value in enumerate(values):
        track.put(float(number), {("x",): value})
        if number % 3 == first % 3:
            piece = told(track, after)
            pieces, after = [*pieces, *piece["at"]], piece["next"]
    piece = told(track, after)
    pieces += piece["at"]
    newest = [float(number) for number in range(len(values))][-length:]
    assert told(track)["at"] == newest
    assert pieces[-min(length, 3) :] == newest[-min(length, 3) :]
    assert sorted(set(pieces)) == pieces


def test_whoever_comes_from_an_earlier_life_is_told_everything() -> None:
    track = Track(1.0, 4)
    track.put(1.0, {("x",): 1.0})
    assert told(track, after=17)["at"] == [1.0]


def test_a_column_that_nobody_fills_any_more_is_forgotten() -> None:
    track = Track(1.0, 3)
    track.put(0.0, {("old",): 1.0})
    for number in range(3):
        track.put(1.0 + number, {("new",): 1.0})
    assert list(told(track)["columns"]) == ["new"]


def test_names_without_bound_take_no_space_without_bound() -> None:
    track = Track(1.0, 4)
    track.put(0.0, {(f"class-{number}",): 1.0 for number in range(2 * MOST_COLUMNS)})
    assert len(told(track)["columns"]) == MOST_COLUMNS


def test_evidence_that_crossed_within_a_minute_is_not_averaged_away() -> None:
    history = History()
    samples = int(LONG[0] / RECENT[0])
    for number in range(samples):
        crossed = 4.0 if number == 7 else 0.0
        history.put(
            2.0 * number, {("guards", "flips", "evidence"): crossed, ("incumbent", "requests"): number}
        )
    columns = told(history.long)["columns"]
    assert columns["guards"]["flips"]["evidence"] == [4.0]
    assert columns["incumbent"]["requests"] == [np.mean(range(samples))]


def test_numbers_have_four_digits_on_the_wire() -> None:
    track = Track(1.0, 2)
    track.put(0.0, {("x",): 0.123456789})
    assert b"[0.1235]" in orjson.dumps(track.told(0), option=orjson.OPT_SERIALIZE_NUMPY)


def test_marks_are_bounded() -> None:
    history = History()
    for number in range(2 * MOST_MARKS):
        history.mark(Mark(float(number), "trip", "out"))
    assert [one.at for one in history.marks] == [float(MOST_MARKS + number) for number in range(MOST_MARKS)]


def test_the_mean_of_the_latest_leaves_gaps_out() -> None:
    track = Track(1.0, 8)
    for value in (100.0, 1.0, math.nan, 3.0):
        track.put(0.0, {("x",): value})
    assert track.mean(("x",), 3) == 2.0
    assert track.mean(("y",), 3) is None
