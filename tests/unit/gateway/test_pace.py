"""Connects ramp up while they succeed, and stop for jittered, growing, bounded pauses when they fail."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pace import FIRST_AT_ONCE, FIRST_PAUSE, LONGEST_PAUSE, Pace

draws = st.floats(0, 1, exclude_max=True)


def test_each_connection_made_allows_one_more_attempt_so_that_a_round_doubles_them() -> None:
    pace = Pace()
    for _ in range(FIRST_AT_ONCE):
        pace.connected()
    assert pace.at_once == 2 * FIRST_AT_ONCE


def test_a_failure_takes_the_ramp_back_to_one_attempt() -> None:
    pace = Pace()
    pace.failed(10.0, 0.5)
    assert pace.at_once == 1
    pace.connected()
    assert (pace.at_once, pace.failures) == (2, 0)


def test_failures_of_one_round_count_once() -> None:
    pace = Pace()
    for _ in range(16):
        pace.failed(10.0, 1.0)
    assert pace.failures == 1
    assert pace.until == 10.0 + FIRST_PAUSE


def test_a_lost_server_is_met_with_a_ramp_again() -> None:
    pace = Pace()
    for _ in range(500):
        pace.connected()
    pace.emptied()
    assert pace.at_once == FIRST_AT_ONCE


@given(st.lists(draws, min_size=1, max_size=40))
@settings(deadline=None)
def test_pauses_grow_to_a_bound_and_are_never_less_than_half_of_it(chances: list[float]) -> None:
    pace, now = Pace(), 1000.0
    for round_number, draw in enumerate(chances):
        pace.failed(now, draw)
        pause = pace.until - now
        full = min(FIRST_PAUSE * 2**round_number, LONGEST_PAUSE)
        assert 0.499 * full <= pause <= full * 1.001
        now = pace.until


def test_two_workers_do_not_come_in_step() -> None:
    early, late = Pace(), Pace()
    early.failed(0.0, 0.0)
    late.failed(0.0, 0.99)
    assert late.until > 1.9 * early.until
