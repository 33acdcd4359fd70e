"""Who gets which connection: decided at once, fairly, within bounds, and never in vain."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from typing import cast

import pytest

from domain.observation import Outcome
from domain.routing import ConnectionLimits, Policy, Upstream, Version
from gateway.pool import IDLE_LIMIT, Pool
from shadow.tasks import Tasks
from tests.support.gateway import eventually
from tests.support.pools import ANSWER, SERVER, Asker, Bench, Wire, answer, run
from tests.support.upstream import ScriptedUpstream, saying

FEW = replace(SERVER, policy=Policy(connections=ConnectionLimits(max=40, pending=60)))


def test_idle_connections_are_taken_last_in_first_out() -> None:
    async def scenario(bench: Bench) -> None:
        one, two, three = [answer(asker) for asker in await bench.asked(3)]
        assert [bench.ask().connection for _ in range(3)] == [three, two, one]
        assert len(bench.net.connects) == 3, "nobody connects while one is idle"

    run(scenario)


def test_who_waits_longest_gets_the_next_free_connection() -> None:
    async def scenario(bench: Bench) -> None:
        (busy,) = await bench.asked(1)
        first, second = bench.ask("first"), bench.ask("second")
        connection = answer(busy)
        assert first.connection is connection
        assert second.connection is None
        assert cast("Wire", connection.transport).written.count(b"GET /first") == 1
        answer(first)
        assert second.connection is connection

    run(scenario)


def test_who_left_while_waiting_is_never_asked_for() -> None:
    async def scenario(bench: Bench) -> None:
        (busy,) = await bench.asked(1)
        gone, here = bench.ask("gone"), bench.ask("here")
        gone.abandoned = True
        connection = answer(busy)
        assert (gone.connection, here.connection) == (None, connection)
        assert b"/gone" not in cast("Wire", connection.transport).written

    run(scenario)


def test_a_connection_nobody_waits_for_any_more_is_idle() -> None:
    async def scenario(bench: Bench) -> None:
        gone = bench.ask()
        gone.abandoned = True
        await bench.connect()
        assert bench.pool.in_flight == 0
        assert bench.ask().connection is not None
        assert len(bench.net.connects) == 1

    run(scenario)


def test_one_refused_connect_fails_one_that_waits_while_another_may_succeed() -> None:
    async def scenario(bench: Bench) -> None:
        askers = [bench.ask() for _ in range(3)]
        for failed in (1, 2):
            await bench.refuse()
            assert [len(asker.failures) for asker in askers] == [1] * failed + [0] * (3 - failed)
        await bench.connect()
        assert askers[2].connection is not None
        assert {asker.failures[0] for asker in askers[:2]} == {Outcome.CONNECT}

    run(scenario)


def test_when_no_connect_is_left_everybody_who_waits_is_told() -> None:
    async def scenario(bench: Bench) -> None:
        askers = [bench.ask() for _ in range(100)]
        await bench.settle()
        hanging = len(bench.net.pending)
        assert hanging < 100, "the rest waits for these"
        await bench.refuse(TimeoutError(), hanging)
        assert [asker.failures for asker in askers] == [[Outcome.CONNECT]] * 100
        assert len(bench.net.connects) == hanging
        assert bench.pool.empty

    run(scenario)


@pytest.mark.parametrize("error", [OSError("unreachable"), TimeoutError(), ssl.SSLError("handshake")])
def test_whatever_ends_a_connect_is_told_to_who_waits(error: Exception) -> None:
    async def scenario(bench: Bench) -> None:
        asker = bench.ask()
        await bench.refuse(error)
        assert asker.failures == [Outcome.CONNECT]
        assert bench.pool.empty

    run(scenario)


def test_a_refused_connect_spares_who_already_has_a_connection() -> None:
    async def scenario(bench: Bench) -> None:
        (busy,) = await bench.asked(1)
        asker = bench.ask()
        await bench.settle()
        answer(busy)
        await bench.refuse(ConnectionRefusedError())
        answer(asker)
        assert (asker.bodies, asker.failures) == ([b"ok"], [])

    run(scenario)


def test_connections_and_waiting_are_bounded() -> None:
    async def scenario(bench: Bench) -> None:
        busy = await bench.asked(40)
        waiting = [bench.ask() for _ in range(60)]
        await bench.settle()
        assert len(bench.net.connects) == 40
        assert bench.pool.in_flight == 100
        refused = bench.ask()
        assert refused.failures == [Outcome.OVERLOAD]
        assert refused.reasons == ["60 requests wait for http://10.0.0.1:9001 already"]
        assert not any(asker.failures for asker in waiting)
        answer(busy[0])
        assert bench.ask().failures == [], "one place is free again"

    run(scenario, FEW)


def test_who_leaves_makes_room_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.asked(40)
        waiting = [bench.ask() for _ in range(60)]
        waiting[30].abandoned = True
        bench.pool.leave(waiting[30])
        assert bench.pool.in_flight == 99
        assert bench.ask().failures == []
        assert bench.ask().failures == [Outcome.OVERLOAD]

    run(scenario, FEW)


def test_who_left_without_a_word_takes_nobodys_place() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.asked(40)
        for _ in range(60):
            bench.ask().abandoned = True
        assert bench.ask().failures == []
        assert bench.pool.in_flight == 41

    run(scenario, FEW)


def test_a_deadline_is_told_to_who_waits_and_to_who_was_sent() -> None:
    async def scenario(bench: Bench) -> None:
        (sent,) = await bench.asked(1)
        waiting, patient = bench.ask("w", timeout=2.0), bench.ask("p", timeout=9.0)
        bench.pool.tick(bench.now + 2.0)
        assert (sent.failures, waiting.failures) == ([], []), "not before the deadline is over"
        bench.pool.tick(bench.now + 2.1)
        assert (sent.failures, waiting.failures) == ([Outcome.TIMEOUT], [Outcome.TIMEOUT])
        await bench.connect(2)
        assert patient.connection is not None

    run(scenario)


def test_what_idles_over_the_limit_is_closed_and_what_does_not_is_kept() -> None:
    async def scenario(bench: Bench) -> None:
        early, late = await bench.asked(2)
        first = answer(early)
        bench.now += 1
        second = answer(late)
        bench.now = first.idle_since + IDLE_LIMIT + 0.5
        bench.pool.tick(bench.now)
        assert (first.open, second.open) == (False, True)
        assert bench.ask().connection is second

    run(scenario)


def test_a_servers_idle_limit_is_learned_when_it_closes_first() -> None:
    async def scenario(bench: Bench) -> None:
        one, two = [answer(asker) for asker in await bench.asked(2)]
        bench.now += 2.0
        one.connection_lost(None)
        bench.pool.tick(bench.now)
        assert not two.open, "it would be closed under our next request"
        await bench.connect(0)
        (third,) = await bench.asked(1)
        connection = answer(third)
        bench.pool.tick(bench.now + 1.4)
        assert connection.open
        bench.pool.tick(bench.now + 1.6)
        assert not connection.open, "three quarters of two seconds"

    run(scenario)


def test_a_connection_that_never_served_teaches_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        gone = bench.ask()
        gone.abandoned = True
        await bench.connect()
        bench.net.wires[0].protocol.connection_lost(None)
        (asker,) = await bench.asked(1)
        connection = answer(asker)
        bench.pool.tick(bench.now + IDLE_LIMIT - 0.1)
        assert connection.open

    run(scenario)


def test_a_lost_connection_makes_room_for_who_waits() -> None:
    async def scenario(bench: Bench) -> None:
        busy = await bench.asked(40)
        waiting = bench.ask()
        await bench.settle()
        connection = busy[0].connection
        assert connection is not None
        connection.connection_lost(ConnectionResetError())
        await bench.connect()
        assert busy[0].failures == [Outcome.PROTOCOL]
        assert waiting.connection is not None

    run(scenario, FEW)


def test_closing_lets_the_busy_end_and_the_idle_go() -> None:
    async def scenario(bench: Bench) -> None:
        one, two = await bench.asked(2)
        idle = answer(one)
        bench.pool.close()
        assert not idle.open
        busy = answer(two)
        assert two.bodies == [b"ok"]
        assert not busy.open
        await bench.settle()
        assert bench.pool.empty

    run(scenario)


def test_who_waits_in_a_pool_that_closes_is_still_served() -> None:
    async def scenario(bench: Bench) -> None:
        asker = bench.ask()
        await bench.settle()
        bench.pool.close()
        bench.net.at_once = True
        await bench.connect()
        assert len(bench.net.connects) == 1, "one request, one connection"
        connection = answer(asker)
        assert asker.bodies == [b"ok"]
        assert not connection.open, "and then it is closed"
        assert bench.pool.empty

    run(scenario)


def test_who_asks_a_closed_pool_late_is_served_and_its_deadline_kept() -> None:
    """A failover may go to the incumbent of the snapshot that the request was decided by."""

    async def scenario(bench: Bench) -> None:
        bench.pools.retain(())
        bench.pools.tick(bench.now)
        served, silent = bench.ask("served"), bench.ask("silent")
        await bench.connect(2)
        assert len(bench.net.connects) == 2
        answer(served)
        assert served.bodies == [b"ok"]
        bench.now += 3
        bench.pools.tick(bench.now)
        assert silent.failures == [Outcome.TIMEOUT]

    run(scenario)


def test_what_is_dropped_stays_dropped_though_somebody_waits() -> None:
    async def scenario(bench: Bench) -> None:
        busy = await bench.asked(40)
        bench.ask()
        await bench.settle()
        bench.pools.close()
        await bench.settle()
        assert len(bench.net.connects) == 40, "nobody connects anew"
        assert all(asker.connection and not asker.connection.open for asker in busy)

    run(scenario, FEW)


def test_a_server_that_is_used_again_has_a_new_pool_and_its_old_one_ends() -> None:
    async def scenario(bench: Bench) -> None:
        (busy,) = await bench.asked(1)
        bench.pools.retain(())
        again = bench.pools.of(Version("rain-1", (SERVER,))).pools[0]
        assert again is not bench.pool
        assert bench.pools.of(Version("rain-2", (SERVER,))).pools == (again,)
        bench.now += 3
        bench.pools.tick(bench.now)
        assert busy.failures == [Outcome.TIMEOUT], "deadlines hold in a pool that leaves"

    run(scenario)


def test_a_real_server_that_closes_idle_connections_teaches_its_limit() -> None:
    async def closing(heard: object, reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)
        await writer.drain()
        asyncio.get_running_loop().call_later(0.05, writer.close)

    async def bounded() -> None:
        loop = asyncio.get_running_loop()
        tasks = Tasks(lambda name, error: None)
        async with ScriptedUpstream(closing) as server:
            pool = Pool(Upstream("127.0.0.1", server.port), loop, tasks, loop.time)
            for expected in (1, 2):
                asker = Asker()
                pool.ask(asker, loop.time() + 5, 5)
                await eventually(lambda asker=asker: asker.bodies, "the answer")  # type: ignore[misc]
                assert server.connections == expected
                await eventually(lambda: pool.empty, "the server closed")
            server.answer = saying(ANSWER)
            asker = Asker()
            pool.ask(asker, loop.time() + 5, 5)
            await eventually(lambda: asker.bodies, "the answer")
            pool.tick(loop.time() + 2.0)
            await eventually(
                lambda: pool.empty, "closed by us, long before the limit that a pool starts with"
            )
        await tasks.cancel()

    asyncio.run(bounded())
