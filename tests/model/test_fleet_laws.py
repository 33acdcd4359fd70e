"""Histories that are too rare for chance, told step by step."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from domain.kill import Clearance
from killswitch.stores.redis import Said
from tests.model.fleet import RAIN, Member, SharedState, folder

Scenario = Callable[[SharedState, Member, Member], Awaitable[None]]


def told(scenario: Scenario) -> None:
    """Run `scenario` with a shared state and two replicas."""

    async def run() -> None:
        state, place = SharedState(), folder()
        members = []
        for number in range(2):
            (place / str(number)).mkdir()
            members.append(Member(state, place / str(number), number))
            await members[-1].readable()
            await members[-1].fleet.round()
        try:
            await scenario(state, *members)
        finally:
            for one in members:
                await one.end()
            shutil.rmtree(place)

    asyncio.run(run())


@pytest.mark.parametrize("left", range(8))
def test_when_the_disk_fails_between_two_clearances_no_release_goes_on_where_it_was(left: int) -> None:
    async def scenario(state: SharedState, one: Member, other: Member) -> None:
        one.advance()
        assert one.board.snapshot.endpoint(RAIN).weight > 0
        await other.kill("operator")
        await one.fleet.round()
        await one.rest()
        (kill,) = one.board.kill_state(RAIN).kills
        clearances = [
            Clearance(RAIN, frozenset((kill.id,)), "operator", "fixed", 1.0),
            Clearance(RAIN, frozenset(("a kill that was never heard of",)), "operator", "fixed", 2.0),
        ]
        one.disk.left = left
        one.fleet.hear(msgspec.json.encode(Said("life", RAIN, [], clearances)))
        await one.rest()
        one.board.publish()
        rain = one.board.snapshot.endpoint(RAIN)
        assert rain.tripped or (rain.mode.value, rain.weight) == ("shadow", 0)
        await one.mend()
        one.fleet.hear(msgspec.json.encode(Said("life", RAIN, [], clearances)))
        await one.rest()
        assert not one.board.tripped(RAIN)
        assert one.board.snapshot.endpoint(RAIN).weight == 0

    told(scenario)


def test_a_kill_made_in_a_partition_outlives_the_rearm_of_those_who_did_not_hear_it() -> None:
    async def scenario(state: SharedState, one: Member, other: Member) -> None:
        other.line.cut = True
        await one.kill("operator")
        await other.kill("guard:flips")
        other.line.cut = False
        one.line.gate.set()
        rearming = asyncio.get_running_loop().create_task(one.board.rearm(RAIN, "fixed", None))
        await one.rest()
        one.line.gate.set()
        await rearming
        assert not one.board.tripped(RAIN)
        for member in (other, one, other):
            await member.fleet.round()
            await member.rest()
        assert one.board.tripped(RAIN)
        assert other.board.tripped(RAIN)
        assert len(one.board.kill_state(RAIN).uncleared) == 1

    told(scenario)
