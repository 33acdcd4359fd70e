"""Which server is asked: the least busy of those worth asking; and what if a version has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.observation import Outcome
from domain.routing import Arm, Balance, Ejection, HealthCheck, Policy
from gateway.pool import Pool
from gateway.servers import Servers
from gateway.standing import FIRST_WEIGHT
from tests.support.pools import Asker, Bench, answer, run

QUICK = Policy(ejection=Ejection(consecutive_errors=2))
CHECKED = Policy(health=HealthCheck("/ready"))


def fail(pool: Pool, times: int = 2) -> None:
    for _ in range(times):
        pool.observed(False)


def chosen(servers: Servers, times: int = 60) -> set[int]:
    """The ports of the servers that are chosen."""
    return {pool.upstream.port for pool in (servers.choose() for _ in range(times)) if pool is not None}


def test_the_least_busy_server_that_was_not_tried_is_chosen() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2)
        first, second = servers.pools
        assert servers.choose() is first
        bench.ask(pool=first)
        assert servers.choose() is second
        assert servers.choose(frozenset((second,))) is first
        assert servers.choose(frozenset((first, second))) is None
        assert bench.servers.choose() is bench.pool
        assert bench.servers.choose(frozenset((bench.pool,))) is None

    run(scenario)


def test_equally_busy_servers_take_turns() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, 3)
        order = [pool.upstream.port for pool in (servers.choose() for _ in range(9)) if pool is not None]
        assert order == [1, 2, 3] * 3

    run(scenario)


def test_two_choices_take_the_less_busy_of_two_drawn_and_leave_the_rest() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, 3, 4, balance=Balance.TWO_CHOICES)
        bench.ask(pool=servers.pools[0])
        bench.draw = 0.0
        assert servers.choose() is servers.pools[1], "of the first two, the idle one"
        bench.draw = 0.99
        assert servers.choose() is servers.pools[3], "of the last two, equally busy, the one drawn first"

    run(scenario)


@pytest.mark.parametrize("balance", list(Balance))
def test_load_is_spread_evenly_over_servers_that_answer_alike(balance: Balance) -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(*range(1, 9), balance=balance)
        state = 1
        draws: list[float] = []
        for _ in range(2000):  # a small linear congruential generator: the same draws every time
            state = (1103515245 * state + 12345) % 2**31
            draws.append(state / 2**31)
        taken = iter(draws)
        servers._draw = lambda: next(taken)
        for _ in range(160):
            pool = servers.choose()
            assert pool is not None
            bench.ask(pool=pool)
        loads = [pool.in_flight for pool in servers.pools]
        assert sum(loads) == 160
        assert max(loads) - min(loads) <= (1 if balance is Balance.LEAST_IN_FLIGHT else 6)

    run(scenario)


# ---- ejection -----------------------------------------------------------------------------------------


def test_a_server_that_keeps_failing_is_left_out_and_comes_back() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, policy=QUICK)
        bad = servers.pools[0]
        fail(bad, 1)
        bad.observed(True)
        fail(bad, 1)
        assert chosen(servers) == {1, 2}, "a good answer in between"
        fail(bad, 1)
        assert chosen(servers) == {2}
        await bench.pass_time(29.9)
        assert chosen(servers) == {2}
        await bench.pass_time(0.2)
        bench.draw = 0.0
        assert chosen(servers) == {1, 2}

    run(scenario)


def test_no_more_than_the_share_is_ever_ejected() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, 3, 4, 5, policy=QUICK)
        for pool in servers.pools:
            fail(pool, 50)
        assert [pool.outlier.ejected for pool in servers.pools] == [True, True, False, False, False]

    run(scenario)


@pytest.mark.parametrize("arm", list(Arm))
def test_a_single_server_is_never_ejected(arm: Arm) -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, policy=QUICK, arm=arm)
        fail(servers.pools[0], 100)
        assert chosen(servers) == {1}

    run(scenario)


def test_a_server_of_both_arms_is_ejected_only_if_both_can_spare_it() -> None:
    async def scenario(bench: Bench) -> None:
        incumbent = bench.version(1, 2, policy=QUICK)
        candidate = bench.version(1, policy=QUICK, arm=Arm.CANDIDATE)
        assert incumbent.pools[0] is candidate.pools[0]
        fail(candidate.pools[0], 50)
        assert chosen(incumbent) == {1, 2}

    run(scenario)


def test_an_ejection_outlives_a_new_snapshot() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, policy=QUICK)
        fail(servers.pools[0])
        assert chosen(bench.version(1, 2, policy=QUICK)) == {2}

    run(scenario)


# ---- panic --------------------------------------------------------------------------------------------


def unhealthy(servers: Servers, *ports: int) -> None:
    for pool in servers.pools:
        pool._checked(pool.upstream.port not in ports)


def test_below_half_of_its_servers_the_incumbent_ignores_the_checks() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, 3, policy=CHECKED)
        unhealthy(servers, 1)
        assert chosen(servers) == {2, 3}
        unhealthy(servers, 1, 2)
        assert chosen(servers) == {1, 2, 3}
        unhealthy(servers, 1, 2, 3)
        assert chosen(servers) == {1, 2, 3}

    run(scenario)


def test_a_candidate_never_ignores_the_checks_and_has_nobody_in_the_end() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, 3, policy=CHECKED, arm=Arm.CANDIDATE)
        unhealthy(servers, 1, 2)
        assert chosen(servers) == {3}
        assert servers.choose(frozenset((servers.pools[2],))) is None
        unhealthy(servers, 1, 2, 3)
        assert servers.choose() is None

    run(scenario)


def test_before_the_first_check_an_incumbent_is_trusted_and_a_candidate_is_not() -> None:
    async def scenario(bench: Bench) -> None:
        incumbent = bench.version(1, policy=CHECKED)
        candidate = bench.version(2, policy=CHECKED, arm=Arm.CANDIDATE)
        assert chosen(incumbent) == {1}
        assert candidate.choose() is None
        candidate.pools[0]._checked(True)
        assert chosen(candidate) == {2}

    run(scenario)


def test_an_incumbent_that_tried_all_it_trusts_tries_the_others() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, policy=CHECKED)
        unhealthy(servers, 2)
        assert chosen(servers) == {1}
        assert servers.choose(frozenset((servers.pools[0],))) is servers.pools[1]

    run(scenario)


# ---- servers that cannot be reached -------------------------------------------------------------------


async def resting(bench: Bench, servers: Servers, index: int) -> Asker:
    asker = bench.ask(pool=servers.pools[index])
    await bench.refuse()
    assert asker.failures == [Outcome.CONNECT]
    return asker


def test_a_server_that_cannot_be_reached_is_not_asked_even_in_panic() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, 3)
        await resting(bench, servers, 0)
        await resting(bench, servers, 1)
        assert chosen(servers) == {3}

    run(scenario)


@pytest.mark.parametrize("arm", list(Arm))
def test_where_none_can_be_reached_asking_says_so_at_once(arm: Arm) -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, arm=arm)
        await resting(bench, servers, 0)
        await resting(bench, servers, 1)
        connects = len(bench.net.connects)
        pool = servers.choose()
        assert pool is not None
        assert bench.ask(pool=pool).failures == [Outcome.CONNECT], "the arm's fault, not an overload of ours"
        await bench.settle()
        assert len(bench.net.connects) == connects

    run(scenario)


# ---- slow start ---------------------------------------------------------------------------------------


def test_a_server_that_came_back_gets_a_growing_share_of_the_draws() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, policy=replace(QUICK, slow_start=10.0))
        back = servers.pools[0]
        fail(back)
        await bench.pass_time(30.0)
        assert back.standing.weight == FIRST_WEIGHT
        bench.draw = 0.5
        assert chosen(servers) == {2}, "a draw above its weight"
        bench.draw = 0.05
        assert chosen(servers) == {1, 2}, "a draw below it"
        await bench.pass_time(6.0)
        assert back.standing.weight == pytest.approx(0.6)
        bench.draw = 0.5
        assert chosen(servers) == {1, 2}
        await bench.pass_time(5.0)
        bench.draw = 0.99
        assert chosen(servers) == {1, 2}

    run(scenario)


def test_a_version_whose_only_servers_start_slowly_is_served_by_them() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, policy=QUICK)
        for index in (0, 1):
            await resting(bench, servers, index)
        await bench.pass_time(1.0)
        await bench.connect(2)
        assert [pool.standing.weight for pool in servers.pools] == [FIRST_WEIGHT] * 2
        bench.draw = 0.9
        assert chosen(servers) == {1, 2}

    run(scenario)


def test_slow_start_can_be_off() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2, policy=replace(QUICK, slow_start=0.0))
        fail(servers.pools[0])
        await bench.pass_time(30.0)
        bench.draw = 0.99
        assert chosen(servers) == {1, 2}

    run(scenario)


def test_the_retry_budget_counts_the_requests_of_all_servers() -> None:
    async def scenario(bench: Bench) -> None:
        servers = bench.version(1, 2)
        for pool in servers.pools:
            for _ in range(10):
                asker = bench.ask(pool=pool)
        for _ in range(4):
            assert servers.retries.may_retry()
            servers.retries.started()
        assert not servers.retries.may_retry(), "a fifth of twenty"
        await bench.connect(20)
        answer(asker)
        servers.retries.ended()
        assert servers.retries.may_retry()

    run(scenario)
