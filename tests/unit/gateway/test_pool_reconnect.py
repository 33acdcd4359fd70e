"""A server that cannot be reached costs no connect a request, and is met with a ramp when it is back."""

from __future__ import annotations

from dataclasses import replace

from domain.observation import Outcome
from domain.routing import ConnectionLimits, HealthCheck, Policy, Upstream
from gateway.pace import FIRST_AT_ONCE, LONGEST_PAUSE
from tests.support.gateway import eventually
from tests.support.pools import SERVER, Bench, answer, run

NAMED = Upstream("models", 9001)


def test_a_thousand_requests_to_a_server_that_refuses_cost_one_connect() -> None:
    async def scenario(bench: Bench) -> None:
        bench.ask()
        await bench.refuse()
        refused = [bench.ask() for _ in range(1000)]
        await bench.settle()
        assert [asker.failures for asker in refused] == [[Outcome.CONNECT]] * 1000
        assert len(bench.net.connects) == 1
        assert bench.pool.empty

    run(scenario)


def test_a_resting_server_is_tried_again_by_nobodys_request() -> None:
    async def scenario(bench: Bench) -> None:
        bench.ask()
        await bench.refuse()
        await bench.pass_time(0.01)
        assert not bench.net.pending, "not before its pause is over"
        await bench.pass_time(0.02)
        assert len(bench.net.pending) == 1
        await bench.pass_time(1.0)
        assert len(bench.net.pending) == 1, "one at a time"
        await bench.connect()
        assert not bench.pool.standing.resting
        asker = bench.ask()
        assert asker.connection is not None, "on the connection that the attempt made"
        assert len(bench.net.connects) == 2

    run(scenario)


def test_a_dead_server_costs_one_connect_a_second_in_the_end() -> None:
    async def scenario(bench: Bench) -> None:
        bench.ask()
        await bench.refuse()
        for _ in range(20 * 60):
            await bench.pass_time(0.05)
            for end in bench.net.pending:
                end.set_exception(ConnectionRefusedError())
        assert 50 <= len(bench.net.connects) <= 60 / LONGEST_PAUSE + 10

    run(scenario)


def test_never_more_connections_than_allowed_and_never_all_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        askers = [bench.ask() for _ in range(300)]
        most, connected = 0, 0
        await bench.settle()
        assert len(bench.net.pending) == FIRST_AT_ONCE
        while bench.net.pending:
            most = max(most, connected + len(bench.net.pending))
            assert len(bench.net.pending) <= 2 * max(connected, FIRST_AT_ONCE)
            connected += 1
            await bench.connect()
        assert most == connected == 100
        assert sum(asker.connection is not None for asker in askers) == 100

    run(scenario, replace(SERVER, policy=Policy(connections=ConnectionLimits(max=100))))


def test_a_server_that_restarts_under_load_is_met_with_one_attempt_then_a_ramp() -> None:
    async def scenario(bench: Bench) -> None:
        for asker in await bench.asked(200):
            answer(asker)
        for asker in [bench.ask() for _ in range(200)]:
            assert asker.connection is not None
            asker.connection.connection_lost(ConnectionResetError())
        before = len(bench.net.connects)
        waiting = [bench.ask() for _ in range(500)]
        await bench.settle()
        assert len(bench.net.connects) - before == FIRST_AT_ONCE
        await bench.refuse(count=FIRST_AT_ONCE)
        assert all(asker.failures for asker in waiting)
        for _ in range(3):
            await bench.pass_time(LONGEST_PAUSE)
            assert len(bench.net.pending) == 1
            await bench.refuse()
        await bench.pass_time(LONGEST_PAUSE)
        await bench.connect()
        for _ in range(100):
            bench.ask()
        await bench.settle()
        assert len(bench.net.pending) == 2, "one more with each success"

    run(scenario)


def test_while_connections_live_a_refused_connect_does_not_turn_requests_away() -> None:
    async def scenario(bench: Bench) -> None:
        (busy,) = await bench.asked(1)
        told, waiting = bench.ask(), bench.ask()
        await bench.refuse(count=2)
        assert told.failures == [Outcome.CONNECT]
        late = bench.ask()
        assert late.failures == []
        connection = answer(busy)
        assert waiting.failures or waiting.connection is connection

    run(scenario)


def test_a_pool_that_leaves_does_not_try_again_by_itself() -> None:
    async def scenario(bench: Bench) -> None:
        bench.ask()
        await bench.refuse()
        pool = bench.pool
        bench.pools.retain(())
        await bench.pass_time(5.0)
        assert len(bench.net.connects) == 1
        late = bench.ask(pool=pool)
        await bench.connect()
        assert late.connection is not None, "but who asks it is served"

    run(scenario)


def test_a_passed_check_ends_the_pause() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.refuse()  # the first check
        for _ in range(8):
            bench.ask()
            await bench.refuse()
            await bench.pass_time(LONGEST_PAUSE)
            await bench.refuse()
        assert bench.pool.standing.resting
        assert not bench.net.pending
        bench.pool._checked(True)
        await bench.connect()
        assert not bench.pool.standing.resting

    run(scenario, replace(SERVER, policy=Policy(health=HealthCheck("/ready", every=3600))))


def test_why_connects_failed_is_counted_by_kind() -> None:
    async def scenario(bench: Bench) -> None:
        for error in (ConnectionRefusedError(), TimeoutError(), OSError("no route")):
            await bench.pass_time(LONGEST_PAUSE)
            bench.ask()
            await bench.refuse(error)
        assert bench.pool.dialer.failures == {"refused": 1, "timeout": 1, "unreachable": 1}

    run(scenario)


# ---- addresses ----------------------------------------------------------------------------------------


def test_the_addresses_of_a_name_are_tried_in_turn() -> None:
    async def scenario(bench: Bench) -> None:
        asker = bench.ask()
        await bench.settle()
        bench.net.look_ups[0].set_result(["10.0.0.1", "10.0.0.2", "10.0.0.2"])
        await bench.refuse()
        assert asker.failures == [], "there is another address"
        await bench.connect()
        assert asker.connection is not None
        assert sorted(bench.net.addresses) == ["10.0.0.1", "10.0.0.2"]
        assert len(bench.net.look_ups) == 1
        dead, good = bench.net.addresses
        for _ in range(4):
            bench.ask()
            await bench.connect()
        assert bench.net.addresses[2:] == [good] * 4, "what failed lately comes last"
        await bench.pass_time(11.0)
        bench.ask()
        bench.ask()
        await bench.connect(2)
        assert dead in bench.net.addresses[6:]

    run(scenario, NAMED)


def test_an_address_that_hangs_leaves_time_for_the_next() -> None:
    async def scenario(bench: Bench) -> None:
        asker = bench.ask()
        await bench.settle()
        bench.net.look_ups[0].set_result(["10.0.0.1", "10.0.0.2"])
        await eventually(lambda: len(bench.net.addresses) == 2, "the next address is tried")
        bench.net.connects[1].set_result(None)
        await bench.settle()
        assert asker.connection is not None
        assert len(set(bench.net.addresses)) == 2

    hurried = Policy(connections=ConnectionLimits(connect_timeout=0.2))
    run(scenario, replace(NAMED, policy=hurried))


def test_a_look_up_that_fails_takes_nothing_away() -> None:
    async def scenario(bench: Bench) -> None:
        bench.ask()
        await bench.settle()
        bench.net.look_ups[0].set_result(["10.0.0.1"])
        await bench.connect()
        for failure in (OSError("NXDOMAIN"), OSError("SERVFAIL")):
            await bench.pass_time(31.0)
            assert not bench.net.look_ups[-1].done(), "it is looked up again, beside the requests"
            bench.net.look_ups[-1].set_exception(failure)
            asker = bench.ask(timeout=60.0)
            await bench.connect()
            assert asker.connection is not None
            assert bench.net.addresses[-1] == "10.0.0.1"
        await bench.pass_time(6.0)
        assert len(bench.net.look_ups) == 4, "a failed one is tried again soon"
        await bench.pass_time(60.0)
        assert len(bench.net.look_ups) == 4, "and one that hangs is not asked twice"

    run(scenario, NAMED)


def test_connections_to_an_address_that_is_gone_close_as_they_fall_idle() -> None:
    async def scenario(bench: Bench) -> None:
        idle, busy = bench.ask(timeout=90.0), bench.ask(timeout=90.0)
        await bench.settle()
        bench.net.look_ups[0].set_result(["10.0.0.1"])
        await bench.connect(2)
        bench.now += 28.0
        gone = answer(idle)
        bench.now += 3.0
        bench.pools.tick(bench.now)
        await bench.settle()
        bench.net.look_ups[1].set_result(["10.0.0.2"])
        await bench.settle()
        await bench.pass_time(0.05)
        assert not gone.open
        assert busy.connection is not None
        assert busy.connection.open, "its answer is on the way"
        answer(busy)
        assert busy.bodies == [b"ok"]
        await bench.pass_time(0.05)
        assert not busy.connection.open
        bench.ask()
        await bench.connect()
        assert bench.net.addresses[-1] == "10.0.0.2"

    run(scenario, NAMED)


def test_a_name_without_addresses_is_a_failed_connect() -> None:
    async def scenario(bench: Bench) -> None:
        asker = bench.ask()
        await bench.settle()
        bench.net.look_ups[0].set_exception(OSError("Name or service not known"))
        await bench.settle()
        assert asker.failures == [Outcome.CONNECT]
        assert "models has no known address: Name or service not known" in asker.reasons[0]
        assert bench.pool.dialer.failures == {"resolve": 1}
        await bench.pass_time(1.0)
        bench.net.look_ups[1].set_result(["10.0.0.1"])
        await bench.connect()
        assert bench.ask().connection is not None

    run(scenario, NAMED)
