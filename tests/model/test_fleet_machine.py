"""Real switchboards of several replicas, in any order of kills, re-arms, messages, losses, cuts, restarts.

The laws are those of `kill_protocol.LAWS`, by the same names, looked at in every snapshot that any replica
publishes. `POINTSMAN_MODEL=large` tries a hundred times as many histories, and longer ones.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.errors import StaleRearm, StateUnavailable
from domain.kill import Clearance, Kill
from killswitch.replication import Copy, Inventory, News, Shared
from tests.model.fleet import RAIN, Member, SharedState, folder

REPLICAS = 3
LARGE = os.environ.get("POINTSMAN_MODEL") == "large"
members = st.integers(0, REPLICAS - 1)
choices = st.integers(0, 1_000_000)
actors = st.sampled_from(["operator", "guard:flips", "breaker:worker-0"])


class FleetMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.place = folder()
        self.runner = asyncio.Runner()
        self.state = SharedState()
        self.views: list[frozenset[str]] = []
        self.rearming: dict[int, asyncio.Task[None]] = {}
        self.members: list[Member] = []
        self._do(self._begin())

    async def _begin(self) -> None:
        for number in range(REPLICAS):
            place = self.place / str(number)
            place.mkdir()
            self.members.append(Member(self.state, place, number))
        for one in self.members:
            await one.readable()
            # Only whoever knows what the others know may serve the candidate at all.
            await one.fleet.round()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        async def done() -> None:
            await work
            for one in self.members:
                await one.rest()

        self.runner.run(done())

    def teardown(self) -> None:
        async def ended() -> None:
            for task in self.rearming.values():
                task.cancel()
            for one in self.members:
                await one.end()

        if hasattr(self, "runner"):
            self.runner.run(ended())
            self.runner.close()
            shutil.rmtree(self.place, ignore_errors=True)

    # Out.

    @rule(member=members, actor=actors)
    def kill(self, member: int, actor: str) -> None:
        self._do(self.members[member].kill(actor))

    # In again.

    @rule(member=members)
    def look(self, member: int) -> None:
        """An operator looks at a replica, and may act on it much later, anywhere."""
        state = self.members[member].board.kill_state(RAIN)
        self.views.append(frozenset(kill.id for kill in state.uncleared))

    @rule(member=members)
    def rearm(self, member: int) -> None:
        self._do(self._rearm(member, None))

    @precondition(lambda self: self.views)
    @rule(member=members, view=choices)
    def rearm_by_an_old_view(self, member: int, view: int) -> None:
        self._do(self._rearm(member, self.views[view % len(self.views)]))

    async def _rearm(self, member: int, seen: frozenset[str] | None) -> None:
        one = self.members[member]
        if member not in self.rearming:
            opening = asyncio.get_running_loop().create_task(self._opened(one))
            with suppress(StaleRearm, StateUnavailable):
                await one.board.rearm(RAIN, "fixed", seen)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            one.line.gate.set()

    async def _opened(self, one: Member) -> None:
        while True:
            one.line.gate.set()
            await asyncio.sleep(0)

    @rule(member=members)
    def begin_to_rearm(self, member: int) -> None:
        """A re-arm is on its way to the shared state; a step brings it there, another one the answer."""
        if member not in self.rearming:
            self._do(self._begin_to_rearm(member))

    async def _begin_to_rearm(self, member: int) -> None:
        one = self.members[member]

        async def rearm() -> None:
            with suppress(StaleRearm, StateUnavailable):
                await one.board.rearm(RAIN, "fixed", None)

        one.line.gate.clear()
        self.rearming[member] = asyncio.get_running_loop().create_task(rearm())

    @precondition(lambda self: self.rearming)
    @rule(which=choices)
    def a_step_of_a_rearm(self, which: int) -> None:
        self._do(self._step(sorted(self.rearming)[which % len(self.rearming)]))

    async def _step(self, member: int) -> None:
        one = self.members[member]
        one.line.gate.set()
        await one.rest()
        if self.rearming[member].done():
            await self.rearming.pop(member)
            one.line.gate.set()

    # What comes between.

    @precondition(lambda self: self.state.messages)
    @rule(member=members, message=choices)
    def a_message_comes(self, member: int, message: int) -> None:
        """Any message ever sent: late, again, out of order; those never drawn are lost."""
        self._do(self._deliver(member, self.state.messages[message % len(self.state.messages)]))

    async def _deliver(self, member: int, message: bytes) -> None:
        self.members[member].hear(message)

    @rule(member=members, message=st.binary(max_size=40))
    def garbage_comes(self, member: int, message: bytes) -> None:
        self._do(self._garbage(member, message))

    async def _garbage(self, member: int, message: bytes) -> None:
        self.members[member].fleet.hear(message)

    @rule(member=members)
    def a_round(self, member: int) -> None:
        self._do(self._round(member))

    async def _round(self, member: int) -> None:
        with suppress(StateUnavailable):
            await self.members[member].fleet.round()

    @rule(member=members, cut=st.booleans(), mute=st.booleans())
    def the_line_changes(self, member: int, cut: bool, mute: bool) -> None:
        line = self.members[member].line
        line.cut, line.mute = cut, mute

    @rule()
    def the_shared_state_is_copied(self) -> None:
        self.state.copies.append(self.state.held)

    @rule(copy=choices)
    def the_shared_state_goes_back_to_a_copy(self, copy: int) -> None:
        self.state.held = self.state.copies[copy % len(self.state.copies)]

    @rule()
    def the_shared_state_is_emptied(self) -> None:
        self.state.held = Shared()

    # What happens to a replica.

    @rule(member=members, left=st.integers(0, 4))
    def a_disk_breaks(self, member: int, left: int) -> None:
        self.members[member].disk.left = left

    @rule(member=members)
    def a_disk_is_mended(self, member: int) -> None:
        self._do(self.members[member].mend())

    @rule(member=members)
    def a_process_ends_and_starts(self, member: int) -> None:
        self._do(self._restart(member))

    async def _restart(self, member: int) -> None:
        task = self.rearming.pop(member, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        one = self.members[member]
        self._look(one)
        await one.restart()
        await one.readable()

    @rule(member=members)
    def a_release_advances(self, member: int) -> None:
        self._do(self._advance(member))

    async def _advance(self, member: int) -> None:
        self.members[member].advance()

    @rule(member=members)
    def something_else_is_published(self, member: int) -> None:
        """Flags change, a worker joins: the snapshot is made anew."""
        self._do(self._publish(member))

    async def _publish(self, member: int) -> None:
        self.members[member].board.publish()

    @rule()
    def everything_heals(self) -> None:
        """K5, K7: two rounds, and all are the same."""
        self._do(self._heal())
        boards = [one.board for one in self.members]
        assert len({board.kill_state(RAIN) for board in boards}) == 1
        state = boards[0].kill_state(RAIN)
        known = frozenset(kill.id for kill in state.kills)
        assert self.state.held.inventory.kills == known
        assert self.state.held.inventory.cleared == state.cleared
        ever = frozenset[str]().union(*(one.told | one.kept for one in self.members))
        assert ever <= known
        assert not ever - self.state.cleared or all(board.tripped(RAIN) for board in boards)

    async def _heal(self) -> None:
        while self.rearming:
            await self._step(min(self.rearming))
        for one in self.members:
            one.line.cut = one.line.mute = False
            await one.mend()
        for _ in range(2):
            for one in self.members:
                await one.fleet.round()
                await one.rest()

    # Laws.

    @invariant()
    def every_snapshot_keeps_the_laws(self) -> None:
        for one in getattr(self, "members", ()):
            self._look(one)

    def _look(self, one: Member) -> None:
        state, board = self.state, one.board
        assert board.kill_state(RAIN).cleared <= state.cleared, "K2"
        published, one.published[:] = [*one.published, board.snapshot], []
        rain = published[-1].endpoint(RAIN)
        if (one.told | (one.kept if board.unreadable is None else frozenset())) - state.cleared:
            assert rain.tripped, "K1, K4, K8"
        if board.unreadable is not None:
            assert rain.tripped, "K6"
        for snapshot in published:
            if snapshot.endpoint(RAIN).weight and not snapshot.endpoint(RAIN).tripped:
                assert one.advanced == one.cleared, "K12"
        assert rain.incumbent.name == "rain-1"


def run(examples: int, steps: int, *phases: Phase, repeatable: bool = False) -> None:
    run_state_machine_as_test(
        FleetMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=phases or tuple(Phase),
            derandomize=repeatable,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(7200 if LARGE else 300)
def test_replicas_keep_the_laws_in_any_order_of_events() -> None:
    run(*((2000, 50) if LARGE else (12, 30)))


def forgetting(copy: Copy, shared: Inventory) -> News:
    """Nothing is ever handed over again."""
    return News()


def deaf(copy: Copy, news: News) -> tuple[Copy, frozenset[Kill], frozenset[Clearance]]:
    """Whatever others say is forgotten."""
    return copy, frozenset(), frozenset()


@pytest.mark.parametrize(("step", "wrong"), [("lacking", forgetting), ("heard", deaf)])
def test_a_replica_that_does_a_step_wrongly_is_found(
    step: str, wrong: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Copy, step, wrong)
    with pytest.raises(AssertionError):
        run(300, 40, Phase.generate, repeatable=True)
