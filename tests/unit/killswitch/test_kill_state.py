"""The two sets: who is tripped, what a re-arm clears, and that merging is a union."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import StaleRearm
from domain.kill import Kill
from killswitch.state import KillState


def kill(number: int, at: float = 0.0) -> Kill:
    return Kill(f"kill-{number}", "rain", "guard:flips", "flips 23 %", at, "rain-2")


states = st.builds(
    KillState,
    st.frozensets(st.builds(kill, st.integers(0, 4)), max_size=5),
    st.frozensets(st.integers(0, 4).map(lambda number: f"kill-{number}"), max_size=5),
)


@given(one=states, other=states, third=states)
def test_merging_commutes_associates_and_is_idempotent(
    one: KillState, other: KillState, third: KillState
) -> None:
    assert one.merge(other) == other.merge(one)
    assert one.merge(other).merge(third) == one.merge(other.merge(third))
    assert one.merge(one) == one
    assert one.merge(KillState()) == one


@given(state=states)
def test_tripped_means_that_a_kill_is_not_cleared(state: KillState) -> None:
    left = {kill.id for kill in state.kills} - state.cleared
    assert state.tripped is bool(left)
    assert {kill.id for kill in state.uncleared} == left


@given(state=states, number=st.integers(0, 9))
def test_a_new_kill_trips(state: KillState, number: int) -> None:
    fresh = kill(100 + number)
    assert state.kill(fresh).tripped
    assert state.kill(fresh).merge(state).tripped


def test_uncleared_kills_come_in_order_of_time_and_then_id() -> None:
    state = KillState().kill(kill(3, at=2.0)).kill(kill(2, at=5.0)).kill(kill(1, at=5.0))
    assert [kill.id for kill in state.uncleared] == ["kill-3", "kill-1", "kill-2"]


def test_a_rearm_clears_exactly_what_it_named() -> None:
    state = KillState().kill(kill(1)).kill(kill(2)).rearm(frozenset({"kill-1", "kill-2"}))
    assert not state.tripped
    assert state.kill(kill(3)).tripped


def test_a_stale_rearm_never_clears_a_newer_kill() -> None:
    seen = frozenset(kill.id for kill in KillState().kill(kill(1)).uncleared)
    now = KillState().kill(kill(1)).kill(kill(2))
    with pytest.raises(StaleRearm, match="kill-1, kill-2"):
        now.rearm(seen)


@pytest.mark.parametrize("ids", [frozenset(), frozenset({"kill-1", "kill-9"}), frozenset({"kill-9"})])
def test_a_rearm_that_names_other_kills_is_refused(ids: frozenset[str]) -> None:
    with pytest.raises(StaleRearm):
        KillState().kill(kill(1)).rearm(ids)


def test_there_is_nothing_to_rearm_when_nothing_is_killed() -> None:
    with pytest.raises(StaleRearm, match="nothing to clear"):
        KillState().rearm(frozenset())
    with pytest.raises(StaleRearm, match="nothing to clear"):
        KillState(frozenset({kill(1)}), frozenset({"kill-1"})).rearm(frozenset({"kill-1"}))


def test_a_clearance_that_arrives_before_its_kill_still_counts() -> None:
    cleared = KillState().kill(kill(1)).rearm(frozenset({"kill-1"}))
    early = KillState(cleared=cleared.cleared)
    assert not early.merge(KillState().kill(kill(1))).tripped
