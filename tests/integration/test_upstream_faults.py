"""What clients see when servers cannot be reached, hang, cut, restart, or are not who they should be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.routing import ConnectionLimits, Ejection, HealthCheck, Policy, Trust, Upstream, Version
from domain.snapshot import Endpoint, ShadowLimits
from gateway.pool import Pool
from gateway.servers import Servers
from tests.support.certificates import NAME, Authority
from tests.support.faults import FaultProxy, hanging_port, refusing_port, reset
from tests.support.gateway import Running, endpoint, eventually, gateway, post, serving_candidate
from tests.support.upstream import Heard, ScriptedUpstream, response, saying, silence

OK = saying(response(b"[1]"))
HURRIED = Policy(connections=ConnectionLimits(connect_timeout=0.2))


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        # The servers' own view of connections that are cut in their handshake is no failure of ours.
        asyncio.get_running_loop().set_exception_handler(lambda _, about: None)
        await asyncio.wait_for(scenario(), 40)

    asyncio.run(bounded())


def at(*ports: int, policy: Policy | None = None, host: str = "127.0.0.1", tls: bool = False) -> Version:
    return Version("rain-1", tuple(Upstream(host, port, tls, policy=policy or Policy()) for port in ports))


def incumbent(version: Version, **changes: Any) -> Endpoint:
    return replace(endpoint(1), incumbent=version, **changes)


def servers(running: Running) -> Servers:
    return running.worker.services.by_name["rain"].incumbent.servers


def pool_at(running: Running, port: int) -> Pool:
    return next(pool for pool in servers(running).pools if pool.upstream.port == port)


async def statuses(running: Running, count: int, *, at_once: int = 1) -> list[int]:
    """Of `count` requests on `at_once` connections."""

    async def one() -> list[int]:
        client = await running.connect()
        got = []
        for _ in range(count // at_once):
            client.writer.write(post())
            got.append((await client.response()).status)
        client.close()
        return got

    found = await asyncio.gather(*(one() for _ in range(at_once)))
    return [status for some in found for status in some]


# ---- F1, F2: connects that are refused or hang ----------------------------------------------------------


def test_a_refusing_server_costs_no_request_while_another_accepts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(OK) as alive:
            dead = refusing_port()
            async with gateway(tmp_path, incumbent(at(dead, alive.port))) as running:
                assert set(await statuses(running, 200, at_once=4)) == {200}
                assert len(alive.heard) == 200
                refused = pool_at(running, dead).dialer.failures["refused"]
                assert refused < 50, "attempts go by time, not by request"

    run(scenario)


def test_the_only_server_refusing_is_a_502_at_once_for_everybody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, incumbent(at(refusing_port()), timeout=30.0)) as running:
            assert set(await statuses(running, 200, at_once=4)) == {502}

    run(scenario)


def test_a_server_that_listens_again_is_found_without_a_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = ScriptedUpstream(OK)
        server.port = refusing_port()
        async with gateway(tmp_path, incumbent(at(server.port))) as running:
            assert await statuses(running, 1) == [502]
            async with server:
                (pool,) = servers(running).pools
                await eventually(lambda: not pool.standing.resting, "the worker found it")
                assert await statuses(running, 5) == [200] * 5

    run(scenario)


def test_a_connect_that_hangs_ends_with_its_timeout_and_another_server_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(OK) as alive, hanging_port() as dead:
            version = at(dead, alive.port, policy=HURRIED)
            async with gateway(tmp_path, incumbent(version, timeout=30.0)) as running:
                assert set(await statuses(running, 40, at_once=4)) == {200}
                assert pool_at(running, dead).dialer.failures["timeout"] >= 1

    run(scenario)


def test_the_only_server_hanging_is_told_after_the_connect_timeout(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with hanging_port() as dead:
            async with gateway(tmp_path, incumbent(at(dead, policy=HURRIED), timeout=600.0)) as running:
                assert set(await statuses(running, 40, at_once=40)) == {502}

    run(scenario)


def test_a_candidate_that_cannot_be_reached_costs_its_clients_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(OK) as alive:
            served = serving_candidate(alive.port, refusing_port(), breaker=0)
            async with gateway(tmp_path, served) as running:
                assert set(await statuses(running, 100)) == {200}
                candidate = running.worker.services.by_name["rain"].candidate
                assert candidate is not None
                assert candidate.servers.pools[0].dialer.failures["refused"] < 20

    run(scenario)


# ---- F3: a reset before an answer -----------------------------------------------------------------------


def test_a_reset_before_an_answer_is_a_502_and_executed_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(reset) as one, ScriptedUpstream(OK) as two:
            quiet = Policy(ejection=Ejection(consecutive_errors=0))
            version = at(one.port, two.port, policy=quiet)
            async with gateway(tmp_path, incumbent(version)) as running:
                got = await statuses(running, 20)
                assert got.count(502) == len(one.heard) > 0
                assert got.count(200) == len(two.heard) > 0
                assert len(one.heard) + len(two.heard) == 20, "never twice"

    run(scenario)


# ---- F9: connections that the server closed -------------------------------------------------------------


def test_connections_that_the_server_closed_are_never_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def answer_and_close_later(
            heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(response(b"[1]"))
            await writer.drain()
            asyncio.get_running_loop().call_later(0.02, writer.close)

        async with ScriptedUpstream(answer_and_close_later) as server:
            async with gateway(tmp_path, incumbent(at(server.port))) as running:
                (pool,) = servers(running).pools
                for _ in range(30):
                    assert await statuses(running, 1) == [200]
                    await eventually(lambda: pool.empty, "the server closed")
                assert server.connections == 30

    run(scenario)


# ---- F20: name servers ----------------------------------------------------------------------------------


def test_a_dead_name_server_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        asked = []

        async def resolver(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
            asked.append(host)
            if len(asked) == 1:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
            if len(asked) % 2:
                await asyncio.sleep(3600)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async with ScriptedUpstream(OK) as server:
            policy = Policy(resolve=0.01)
            version = at(server.port, policy=policy, host="models.example")
            async with gateway(tmp_path, incumbent(version)) as running:
                loop = asyncio.get_running_loop()
                monkeypatch.setattr(loop, "getaddrinfo", resolver)
                (pool,) = servers(running).pools
                for _ in range(30):
                    assert await statuses(running, 1) == [200]
                    for connection in tuple(pool._all):
                        connection.abort()  # each request needs a new connection
                    await asyncio.sleep(0.01)
                await eventually(lambda: len(asked) >= 3, "it was looked up, failed, and hung")
                assert await statuses(running, 5) == [200] * 5
                monkeypatch.undo()

    run(scenario)


def test_a_name_that_nobody_knows_is_a_502(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async def resolver(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async with gateway(tmp_path, incumbent(at(80, host="models.example"))) as running:
            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolver)
            assert set(await statuses(running, 20)) == {502}
            (pool,) = servers(running).pools
            assert pool.dialer.failures["resolve"] < 20
            monkeypatch.undo()

    run(scenario)


# ---- F21: TLS -------------------------------------------------------------------------------------------


def test_a_server_that_cannot_prove_its_name_gets_nothing_and_clients_a_502(tmp_path: Path) -> None:
    async def scenario() -> None:
        ours = Authority(tmp_path)
        for tls in (ours.server("other.example"), ours.server(expired=True)):
            async with ScriptedUpstream(OK, tls=tls) as server:
                trust = Trust(ca=ours.ca, server_name=NAME)
                version = at(server.port, policy=Policy(trust=trust), tls=True)
                async with gateway(tmp_path, incumbent(version)) as running:
                    assert set(await statuses(running, 10)) == {502}
                    (pool,) = servers(running).pools
                    assert pool.dialer.failures["tls"] >= 1
                    assert server.heard == []

    run(scenario)


def test_requests_over_tls_with_both_sides_proven(tmp_path: Path) -> None:
    async def scenario() -> None:
        ours = Authority(tmp_path)
        certificate, key = ours.client()
        trust = Trust(ca=ours.ca, certificate=certificate, key=key, server_name=NAME)
        async with ScriptedUpstream(OK, tls=ours.server(asks_client=True)) as server:
            version = at(server.port, policy=Policy(trust=trust), tls=True)
            async with gateway(tmp_path, incumbent(version)) as running:
                assert await statuses(running, 20, at_once=2) == [200] * 20
                assert server.connections <= 2

    run(scenario)


def test_a_handshake_that_hangs_ends_with_the_connect_timeout(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(silence) as server:
            version = at(server.port, policy=HURRIED, tls=True)
            async with gateway(tmp_path, incumbent(version, timeout=600.0)) as running:
                assert set(await statuses(running, 8, at_once=8)) == {502}

    run(scenario)


# ---- F37: everybody comes back at once ------------------------------------------------------------------


def test_a_server_that_comes_back_never_sees_more_than_its_connections(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(OK) as server, FaultProxy(server.port) as proxy:
            policy = Policy(connections=ConnectionLimits(max=20))
            async with gateway(tmp_path, incumbent(at(proxy.port, policy=policy))) as running:
                (pool,) = servers(running).pools
                for _ in range(2):
                    assert set(await statuses(running, 400, at_once=40)) == {200}
                    await proxy.break_down()
                    assert set(await statuses(running, 200, at_once=40)) == {502}
                    await proxy.come_back()
                    await eventually(lambda: not pool.standing.resting, "it was found again")
                assert set(await statuses(running, 400, at_once=40)) == {200}
                assert proxy.most <= 20

    run(scenario)


# ---- health and ejection --------------------------------------------------------------------------------


def _checked(ready: Callable[[], bool]) -> Callable[..., Awaitable[None]]:
    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if heard.line.startswith(b"GET /ready"):
            writer.write(response(b"", status="200 OK" if ready() else "503 Loading"))
        else:
            writer.write(response(b"[1]"))
        await writer.drain()

    return answer


def _predictions(server: ScriptedUpstream) -> int:
    return sum(heard.line.startswith(b"POST") for heard in server.heard)


CHECKS = Policy(health=HealthCheck("/ready", every=0.02, timeout=5.0, healthy=1, unhealthy=1), slow_start=0.0)


def test_requests_go_where_the_checks_pass(tmp_path: Path) -> None:
    async def scenario() -> None:
        ready = {"one": False}
        async with (
            ScriptedUpstream(_checked(lambda: ready["one"])) as one,
            ScriptedUpstream(_checked(lambda: True)) as two,
        ):
            async with gateway(tmp_path, incumbent(at(one.port, two.port, policy=CHECKS))) as running:
                pool = pool_at(running, one.port)
                await eventually(lambda: pool.standing.healthy is False, "a check failed")
                assert await statuses(running, 20) == [200] * 20
                assert (_predictions(one), _predictions(two)) == (0, 20)
                ready["one"] = True
                await eventually(lambda: pool.standing.healthy, "a check passed")
                assert await statuses(running, 20) == [200] * 20
                assert _predictions(one) == 10

    run(scenario)


def test_checks_that_fail_everywhere_stop_a_candidate_and_no_incumbent(tmp_path: Path) -> None:
    async def scenario() -> None:
        never = _checked(lambda: False)
        async with ScriptedUpstream(never) as one, ScriptedUpstream(never) as two:
            served = replace(
                serving_candidate(1, 2, breaker=0, shadow=ShadowLimits(share=0)),
                incumbent=at(one.port, policy=CHECKS),
                candidate=Version("rain-2", at(two.port, policy=CHECKS).upstreams),
            )
            async with gateway(tmp_path, served) as running:
                rain = running.worker.services.by_name["rain"]
                assert rain.candidate is not None
                pools = (*rain.incumbent.servers.pools, *rain.candidate.servers.pools)
                await eventually(lambda: [p.standing.healthy for p in pools] == [False, False], "both failed")
                assert await statuses(running, 20) == [200] * 20
                assert (_predictions(one), _predictions(two)) == (20, 0)

    run(scenario)


def test_a_server_that_answers_500_is_ejected_and_the_others_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        broken = saying(response(b"no", status="500 Internal Server Error"))
        async with ScriptedUpstream(broken) as one, ScriptedUpstream(OK) as two:
            async with gateway(tmp_path, incumbent(at(one.port, two.port))) as running:
                got = await statuses(running, 100)
                assert got.count(500) == len(one.heard) == 5
                assert got.count(200) == 95
                assert pool_at(running, one.port).outlier.ejected

    run(scenario)
