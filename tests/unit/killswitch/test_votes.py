"""One vote per unit, guard and window."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.votes import Votes


def admit(votes: Votes, unit: int, now: float) -> bool:
    return bool(votes.admit(unit, now))


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 6), st.floats(0, 40, allow_nan=False)), max_size=80),
    window=st.floats(1, 100),
)
def test_two_votes_of_a_unit_are_at_least_a_window_apart(
    steps: list[tuple[int, float]], window: float
) -> None:
    votes = Votes(window)
    now = 0.0
    last: dict[int, float] = {}
    for unit, later in steps:
        now += later
        expected = unit not in last or now - last[unit] >= window
        assert admit(votes, unit, now) is expected
        if expected:
            last[unit] = now


def test_a_request_without_a_unit_always_votes() -> None:
    votes = Votes(600.0)
    assert all(admit(votes, 0, 0.0) for _ in range(5))
    assert len(votes) == 0


def test_without_a_window_every_pair_votes() -> None:
    votes = Votes(0.0)
    assert all(admit(votes, 7, 0.0) for _ in range(5))
    assert len(votes) == 0


def test_each_guard_has_its_own_vote_of_a_unit_in_a_window() -> None:
    votes = Votes(10.0)
    assert votes.admit(1, 0.0, 0b001) == 0b001
    assert votes.admit(1, 1.0, 0b011) == 0b010
    assert votes.admit(1, 2.0, 0b011) == 0
    assert votes.admit(1, 9.0, 0b100) == 0b100
    assert votes.admit(1, 10.0, 0b111) == 0b111


def test_what_wants_no_vote_begins_no_window() -> None:
    votes = Votes(10.0)
    assert votes.admit_all([1, 1, 1], [0, 1, 1], 0.0) == [0, 1, 0]
    assert len(votes) == 1


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=8), st.floats(0, 9)),
        max_size=20,
    )
)
def test_a_batch_votes_as_its_pairs_one_by_one(steps: list[tuple[list[tuple[int, int]], float]]) -> None:
    batched, single = Votes(20.0), Votes(20.0)
    now = 0.0
    for pairs, later in steps:
        now += later
        units, wants = [unit for unit, _ in pairs], [want for _, want in pairs]
        assert batched.admit_all(units, wants, now) == [single.admit(unit, now, want) for unit, want in pairs]


def test_memory_is_bounded_and_the_oldest_is_forgotten_first() -> None:
    votes = Votes(600.0, capacity=3)
    for unit in (1, 2, 3, 4):
        assert admit(votes, unit, float(unit))
    assert len(votes) == 3
    assert not admit(votes, 2, 5.0)
    assert admit(votes, 1, 5.0)


def test_votes_out_of_their_window_are_forgotten() -> None:
    votes = Votes(10.0)
    for unit in range(1, 101):
        votes.admit(unit, 0.0)
    votes.admit(101, 10.0)
    assert len(votes) == 1


@pytest.mark.parametrize(("window", "capacity"), [(-1.0, 10), (float("nan"), 10), (1.0, 0)])
def test_impossible_numbers_are_refused(window: float, capacity: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Votes(window, capacity)
