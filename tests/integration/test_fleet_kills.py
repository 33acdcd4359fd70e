"""Replicas that share a real Redis: a trip on one is a trip on all, and nothing but a re-arm undoes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from domain.errors import StateUnavailable
from domain.kill import Clearance
from domain.routing import Mode
from tests.support.control import write
from tests.support.faults import FaultProxy
from tests.support.fleet import Fleet, Replica, fleet, replica
from tests.support.redis_server import RedisServer

DEEP = b'{"more":' + b"[" * 200_000
TIMELESS = b'{"id":"a","endpoint":"rain","actor":"o","reason":"r","at":1e300,"version":"v"}'
"""A time that no calendar has."""


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 100)

    asyncio.run(bounded())


def _tripped(one: Replica) -> bool:
    return one.board.tripped("rain") and one.worker.snapshot.endpoint("rain").tripped


def _in(one: Replica) -> bool:
    return not one.board.tripped("rain") and not one.worker.snapshot.endpoint("rain").tripped


def _reached(one: Replica) -> bool:
    return one.membership.fleet.failure is None and one.membership.fleet.deafness is None


async def _killed(fleet: Fleet, at: int = 0) -> str:
    status, answer = await fleet.replicas[at].post("kill", reason="bad")
    assert status == 200
    return str(answer["kill"])


def test_a_kill_at_one_is_in_force_and_on_disk_at_all_and_one_rearm_wins(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url) as replicas:
            await replicas.all(_reached)
            one, two, three = replicas.replicas
            only = await _killed(replicas)
            await replicas.all(_tripped)
            for each in replicas.replicas:
                kept = await each.here.control.keeper.restore()
                assert [kill.id for kill in kept.kills] == [only]
            answers = await asyncio.gather(
                two.post("rearm", reason="fixed", kills=[only]),
                three.post("rearm", reason="mended", kills=[only]),
            )
            assert sorted(status for status, _ in answers) == [200, 409]
            await replicas.all(_in)
            assert {each.board.copy("rain").state.cleared for each in replicas.replicas} == {
                frozenset((only,))
            }
            assert one.worker.snapshot.endpoint("rain").mode is Mode.SHADOW

    _run(scenario)


class Twice:
    """A store whose connection breaks before a re-arm is answered, so that it is sent once more."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def rearm(self, clearance: Clearance) -> None:
        await self._store.rearm(clearance)
        await self._store.rearm(clearance)


class Mute:
    """A store whose answer to a re-arm is lost, though it `does` it, or because it does not."""

    def __init__(self, store: Any, *, does: bool) -> None:
        self._store, self._does = store, does

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def rearm(self, clearance: Clearance) -> None:
        if self._does:
            await self._store.rearm(clearance)
        raise StateUnavailable("no answer came")


def test_a_rearm_whose_answer_was_lost_is_told_as_what_became_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 2) as replicas:
            await replicas.all(_reached)
            one = replicas.replicas[0]
            store: Any = one.membership.fleet._store
            only = await _killed(replicas)
            one.membership.fleet._store = Mute(store, does=False)
            status, answer = await one.post("rearm", reason="fixed", kills=[only])
            assert (status, "no answer came" in answer["detail"]) == (503, True)
            assert _tripped(one)
            one.membership.fleet._store = Mute(store, does=True)
            assert await one.post("rearm", reason="fixed", kills=[only]) == (
                200,
                {"cleared": [only], "generation": one.board.snapshot.generation},
            )
            await replicas.all(_in)
            again = await _killed(replicas)
            await replicas.all(_tripped)
            one.membership.fleet._store = Twice(store)
            assert (await one.post("rearm", reason="fixed", kills=[only]))[0] == 409
            assert (await one.post("rearm", reason="fixed", kills=[again]))[0] == 200
            await replicas.all(_in)

    _run(scenario)


def test_a_new_replica_serves_incumbents_only_until_it_has_asked_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server:
            async with fleet(tmp_path, server.url, 1) as replicas:
                await replicas.all(_reached)
                await _killed(replicas)
            await server.save()
            server.kill()
            async with replica(tmp_path, server.url, 7) as new:
                assert _tripped(new)
                ready = (await new.here.client.get("/readyz")).json()
                assert ready["ready"]
                assert "every candidate is out: the database is new" in ready["degraded"][0]
                await server.start()
                await Fleet([new]).all(lambda one: one.board.unreadable is None)
                assert _tripped(new)
                (status, _) = await new.post("rearm", reason="fixed")
                assert status == 200
                await Fleet([new]).all(_in)

    _run(scenario)


def test_down_at_the_start_candidates_are_judged_kills_count_and_rearms_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server:
            async with fleet(tmp_path, server.url, 2) as replicas:
                await replicas.all(_in)  # they have met, and it is on their disks when they end
            server.kill()
            async with fleet(tmp_path, server.url, 2) as replicas:
                one, two = replicas.replicas
                ready = (await one.here.client.get("/readyz")).json()
                assert ready["ready"]
                assert "nothing is shared with other replicas" in ready["degraded"][0]
                status, answer = await one.post("kill", reason="bad")
                assert (status, answer["durable"], answer["shared"]) == (200, True, False)
                assert _tripped(one)
                assert _in(two)
                status, answer = await one.post("rearm", reason="fixed")
                assert status == 503
                assert "decided for all replicas together" in answer["detail"]
                assert _tripped(one)
                await server.start()
                await replicas.all(_tripped)
                await replicas.all(_reached)
                assert (await one.here.client.get("/readyz")).json()["degraded"] == []
                assert (await one.post("rearm", reason="fixed"))[0] == 200
                await replicas.all(_in)

    _run(scenario)


def test_kills_made_apart_meet_after_the_heal_whatever_redis_forgot(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url) as replicas:
            await replicas.all(_reached)
            first = await _killed(replicas)
            await replicas.all(_tripped)
            server.kill()
            second = await _killed(replicas, 1)
            await server.start(with_data=False)
            ids = {first, second}
            await replicas.all(lambda one: {kill.id for kill in one.board.kill_state("rain").kills} == ids)
            assert (await replicas.replicas[2].post("rearm", reason="fixed", kills=[first]))[0] == 409
            assert (await replicas.replicas[2].post("rearm", reason="fixed", kills=sorted(ids)))[0] == 200
            await replicas.all(_in)
            for command in (("FLUSHALL",), ("SET", "pointsman:cleared:{rain}", "mistake")):
                await server.ask(*command)
                await replicas.replicas[0].membership.fleet.round()
                assert (await server.ask("HLEN", "pointsman:cleared:{rain}")) == b":2"
            await replicas.all(_in)

    _run(scenario)


def test_silent_and_slow_redis_delays_nothing_and_is_caught_up_with(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, FaultProxy(server.port) as proxy:
            async with fleet(tmp_path, f"redis://127.0.0.1:{proxy.port}", 2) as replicas:
                await replicas.all(_reached)
                proxy.blackhole = True
                status, answer = await replicas.replicas[0].post("kill", reason="bad")
                assert (status, answer["durable"], answer["shared"]) == (200, True, False)
                assert _tripped(replicas.replicas[0])
                assert _in(replicas.replicas[1])
                proxy.blackhole = False
                await replicas.all(_tripped)
                server.freeze()
                loop = asyncio.get_running_loop()
                loop.call_later(5.0, server.thaw)
                await replicas.until(lambda: replicas.replicas[0].membership.fleet.failure is not None)
                await replicas.all(_reached)

    _run(scenario)


def test_a_replica_that_comes_back_knows_what_it_knew_and_learns_what_it_missed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server:
            async with fleet(tmp_path, server.url, 2) as replicas:
                await replicas.all(_reached)
                first = await _killed(replicas)
                await replicas.all(_tripped)
            server.kill()
            async with replica(tmp_path, server.url, 0) as back:
                assert _tripped(back)
            await server.start(with_data=False)
            async with replica(tmp_path, server.url, 1) as other:
                await Fleet([other]).all(_reached)
                assert (await other.post("rearm", reason="fixed", kills=[first]))[0] == 200
                async with replica(tmp_path, server.url, 0) as back:
                    await Fleet([back]).all(_in)

    _run(scenario)


def test_what_the_fleet_has_taken_out_is_out_from_the_first_snapshot_that_has_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, replica(tmp_path, server.url, 0) as only:
            await Fleet([only]).until(lambda: _reached(only))
            await server.ask("HSET", "pointsman:kills:{snow}", "k", b"{}")
            home = tmp_path / "r0"
            configuration = json.loads((home / "pointsman.yaml").read_text())
            rain = configuration["endpoints"]["rain"]
            configuration["endpoints"]["snow"] = rain | {"path": "/snow", "flag": None}
            write(home, configuration)
            assert (await only.here.client.post("/api/v1/config/reload")).status_code == 200
            await only.worker.until(lambda: len(only.worker.snapshot.endpoints) == 2)
            every = [endpoint for one in only.worker.snapshots for endpoint in one.endpoints]
            tripped = [one.tripped for one in every if one.name == "snow"]
            assert tripped
            assert all(tripped)
            kept = await only.here.control.keeper.restore()
            assert [(kill.id, kill.endpoint) for kill in kept.kills] == [("k", "snow")]

    _run(scenario)


def test_messages_of_others_and_garbage_change_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 1) as replicas:
            await replicas.all(_reached)
            only = replicas.replicas[0]
            await replicas.until(lambda: only.membership.fleet._line is not None)
            line = only.membership.fleet._line
            for message in (
                b"", b"{}", b'{"life":"x","endpoint":"snow","kills":[]}', b"\xff" * 1000, DEEP,
                b'{"life":"\xff"}', b'{"life":"x","endpoint":"rain","kills":[%b]}' % TIMELESS,
            ):  # fmt: skip
                await server.ask("PUBLISH", "pointsman:kills", message)
            await server.ask("PUBLISH", "pointsman:log:rain", b"1 2 3")
            await server.ask("PUBLISH", "pointsman:log:rain", b"1 e s 1 garbage")
            await replicas.until(lambda: only.membership.fleet.garbage >= 6)
            assert _in(only)
            assert only.membership.fleet._line is line

    _run(scenario)


def test_rounds_go_on_whatever_stands_in_the_shared_state(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 1) as replicas:
            await replicas.all(_reached)
            only = replicas.replicas[0]
            for name, garbage in (("a", TIMELESS), ("b", DEEP), ("c", b"\xff")):
                await server.ask("HSET", "pointsman:kills:{rain}", name, garbage)
                await replicas.all(_tripped)
                (kill,) = only.board.kill_state("rain").uncleared
                assert (kill.id, kill.actor) == (name, "unreadable")
                assert (await only.post("rearm", reason="nobody killed", kills=[name]))[0] == 200
                await replicas.all(_in)

    _run(scenario)


def test_where_the_line_is_refused_kills_come_by_the_rounds_and_that_is_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer("--rename-command", "HELLO", "") as server:
            async with fleet(tmp_path, server.url, 2) as replicas:
                fleets = [one.membership.fleet for one in replicas.replicas]
                await replicas.until(lambda: all(one.deafness and one.failure is None for one in fleets))
                (said,) = (await replicas.replicas[0].here.client.get("/readyz")).json()["degraded"]
                assert "heard up to a second late" in said
                assert "HELLO" in said
                only = await _killed(replicas)
                await replicas.all(_tripped)
                assert all(one.failure is None for one in fleets)
                assert (await replicas.replicas[1].post("rearm", reason="fixed", kills=[only]))[0] == 200
                await replicas.all(_in)

    _run(scenario)


def test_replicas_say_who_they_are_who_leads_and_who_is_configured_otherwise(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 2) as replicas:
            async with replica(tmp_path, server.url, 7, timeout="300ms"):
                one = replicas.replicas[0]
                await replicas.until(lambda: len(one.membership.fleet.replicas) == 3)
                await replicas.until(lambda: sum(r.leader for r in one.membership.fleet.replicas) == 1)
                shown = (await one.here.client.get("/api/v1/replicas")).json()
                assert [(r["replica"], r["same_configuration"]) for r in shown["replicas"]] == [
                    ("r0", True), ("r1", True), ("r7", False),
                ]  # fmt: skip
                assert (await one.here.client.get("/readyz")).json()["degraded"] == [
                    "replica r7 has another configuration of endpoints or flags"
                ]
                metrics = (await one.here.client.get("/metrics")).text
                assert "pointsman_redis_up 1.0" in metrics
                assert 'pointsman_replicas{configuration="other"} 1.0' in metrics
            await replicas.until(lambda: len(one.membership.fleet.replicas) == 2)

    _run(scenario)
