"""Kills among replicas: whatever is lost or repeated, nothing un-kills but a re-arm that saw the kill."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import StaleRearm
from domain.kill import Clearance, Kill
from killswitch.replication import Copy, Inventory, News, Shared, by_endpoint


def kill(name: str) -> Kill:
    return Kill(name, "rain", "operator", "bad", 1.0, "rain-2")


def clearance(*ids: str) -> Clearance:
    return Clearance("rain", frozenset(ids), "operator", "good again", 2.0)


def news(*kills: str, cleared: tuple[str, ...] = ()) -> News:
    clearances = frozenset((clearance(*cleared),)) if cleared else frozenset()
    return News(frozenset(map(kill, kills)), clearances)


def test_what_is_killed_here_is_in_force_at_once_and_told() -> None:
    copy, told = Copy().killed(kill("a"))
    assert copy.state.tripped
    assert told == news("a")


def test_a_clearance_that_was_heard_waits_until_it_is_kept() -> None:
    copy, _ = Copy().killed(kill("a"))
    copy, kills, clearances = copy.heard(news(cleared=("a",)))
    assert copy.state.tripped
    assert (kills, clearances) == (frozenset(), frozenset((clearance("a"),)))
    assert not copy.kept(clearance("a")).state.tripped


def test_of_two_replicas_that_clear_the_same_kill_one_wins() -> None:
    shared = Shared().pushed(news("a"))
    shared = shared.rearmed(clearance("a"))
    with pytest.raises(StaleRearm, match="no kill is in force"):
        shared.rearmed(clearance("a"))


@pytest.mark.parametrize("ids", [("a",), ("b",), ("a", "b", "c"), ("c",)])
def test_the_shared_state_clears_exactly_the_kills_in_force_or_nothing(ids: tuple[str, ...]) -> None:
    with pytest.raises(StaleRearm):
        Shared().pushed(news("a", "b")).rearmed(clearance(*ids))


def test_a_kill_that_the_shared_state_forgot_is_handed_over_again_and_outlives_a_rearm_of_others() -> None:
    mine, _ = Copy().killed(kill("a"))
    other, _ = Copy().killed(kill("b"))
    shared = Shared().pushed(news("b")).rearmed(clearance("b"))
    other = other.kept(clearance("b"))
    shared = shared.pushed(mine.lacking(shared.inventory))
    other, fresh, _ = other.heard(shared.fetched(other.wanting(shared.inventory)))
    assert {one.id for one in fresh} == {"a"}
    assert other.state.tripped


def test_what_is_on_disk_comes_back_by_endpoint() -> None:
    there = Kill("s", "snow", "operator", "bad", 1.0, "snow-2")
    copies = by_endpoint([kill("a"), there], [clearance("a")])
    assert not copies["rain"].state.tripped
    assert copies["snow"].state.tripped
    assert copies["rain"].clearances == frozenset((clearance("a"),))


@dataclass
class World:
    """Two replicas with disks, a store that loses things, and messages that come when they come."""

    copies: list[Copy] = field(default_factory=lambda: [Copy(), Copy()])
    shared: Shared = field(default_factory=Shared)
    saved: Shared = field(default_factory=Shared)
    messages: list[News] = field(default_factory=list)
    killed: int = 0
    cleared: set[str] = field(default_factory=set)

    def kill(self, at: int, connected: bool) -> None:
        self.killed += 1
        self.copies[at], told = self.copies[at].killed(kill(f"k{self.killed}"))
        if connected:
            self.shared = self.shared.pushed(told)
            self.messages.append(told)

    def round(self, at: int) -> None:
        copy, shared = self.copies[at], self.shared
        wanted = copy.wanting(shared.inventory)
        self.hear(at, shared.fetched(wanted) if wanted else News())
        self.shared = shared.pushed(self.copies[at].lacking(shared.inventory))

    def hear(self, at: int, told: News) -> None:
        copy, _, clearances = self.copies[at].heard(told)
        for one in clearances:
            copy = copy.kept(one)
        self.copies[at] = copy

    def rearm(self, at: int) -> None:
        ids = [one.id for one in self.copies[at].state.uncleared]
        try:
            asked = self.copies[at].rearming(clearance(*ids))
            self.shared = self.shared.rearmed(asked)
        except StaleRearm:
            return
        self.cleared |= asked.ids
        self.copies[at] = self.copies[at].kept(asked)
        self.messages.append(News(clearances=frozenset((asked,))))

    def do(self, step: tuple[str, int, int]) -> None:
        what, at, which = step
        if what == "kill":
            self.kill(at, bool(which % 2))
        elif what == "round":
            self.round(at)
        elif what == "rearm":
            self.rearm(at)
        elif what == "message" and self.messages:
            self.hear(at, self.messages[which % len(self.messages)])
        elif what == "save":
            self.saved = self.shared
        elif what == "roll back":
            self.shared = self.saved
        elif what == "lose all":
            self.shared = Shared()


STEPS = st.tuples(
    st.sampled_from(["kill", "round", "rearm", "message", "save", "roll back", "lose all"]),
    st.integers(0, 1),
    st.integers(0, 7),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(STEPS, max_size=40))
def test_a_kill_leaves_only_by_a_rearm_that_named_it_and_all_agree_after_one_round_each(
    steps: list[tuple[str, int, int]],
) -> None:
    world = World()
    known: list[set[str]] = [set(), set()]
    for step in steps:
        world.do(step)
        for at, copy in enumerate(world.copies):
            ids = {one.id for one in copy.state.kills}
            assert known[at] <= ids
            known[at] = ids
            assert {one.id for one in copy.state.uncleared} >= ids - world.cleared
    for at in (0, 1, 0):
        world.round(at)
    assert world.copies[0] == world.copies[1]
    assert world.shared.inventory == Inventory(
        frozenset(one.id for one in world.copies[0].state.kills), world.copies[0].state.cleared
    )
