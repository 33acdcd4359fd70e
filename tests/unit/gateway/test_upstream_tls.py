"""TLS to servers: whom we trust, who we are, and that nothing is ever sent to anybody else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from domain.observation import Outcome
from domain.routing import ConnectionLimits, HealthCheck, Policy, Trust, Upstream, Version
from gateway.pool import Pool
from gateway.servers import Pools
from gateway.trust import TrustError, context
from shadow.tasks import Tasks
from tests.support.certificates import NAME, Authority
from tests.support.gateway import eventually
from tests.support.pools import ANSWER, Asker
from tests.support.upstream import ScriptedUpstream, saying

Scenario = Callable[[ScriptedUpstream, Pool], Awaitable[None]]
LIMITS = ConnectionLimits(connect_timeout=5.0)


def run(tls: ssl.SSLContext | None, trust: Trust, scenario: Scenario, *, check: bool = False) -> None:
    """`scenario` with a server that speaks `tls` and a pool that speaks TLS to it."""

    async def bounded() -> None:
        loop = asyncio.get_running_loop()
        reports: list[BaseException] = []
        tasks = Tasks(lambda name, error: reports.append(error))
        pools = Pools(loop, tasks, loop.time, lambda: 0.5)
        loop.set_exception_handler(lambda _, about: None)  # the server's own view of broken handshakes
        async with ScriptedUpstream(saying(ANSWER), tls=tls) as server:
            health = HealthCheck("/ready", every=0.02, timeout=5.0) if check else None
            policy = Policy(connections=LIMITS, trust=trust, health=health)
            upstream = Upstream("127.0.0.1", server.port, tls=True, policy=policy)
            try:
                await asyncio.wait_for(scenario(server, pools.of(Version("v", (upstream,))).pools[0]), 20)
            finally:
                pools.close()
                await asyncio.sleep(0.02)
                await tasks.cancel()
        assert reports == []

    for new_loop in (asyncio.new_event_loop, uvloop.new_event_loop):  # each speaks TLS in its own way
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(bounded())


async def ask(pool: Pool) -> Asker:
    asker = Asker()
    pool.ask(asker, pool.now() + 10, 10)
    await eventually(lambda: asker.bodies or asker.failures, "the end of the request")
    return asker


async def served(server: ScriptedUpstream, pool: Pool) -> None:
    assert (await ask(pool)).bodies == [b"ok"]
    assert pool.dialer.failures == {}


async def refused(server: ScriptedUpstream, pool: Pool) -> None:
    asker = await ask(pool)
    assert asker.failures == [Outcome.CONNECT]
    assert pool.dialer.failures == {"tls": 1}
    assert server.heard == [], "not a byte of a request, least of all in plain text"


def test_a_server_of_our_authority_with_the_right_name_is_served_by(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    run(ours.server(), Trust(ca=ours.ca, server_name=NAME), served)


def test_without_a_server_name_the_host_of_the_url_is_proven(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    run(ours.server("127.0.0.1"), Trust(ca=ours.ca), served)
    run(ours.server(NAME), Trust(ca=ours.ca), refused)


def test_certificates_that_prove_nothing_are_refused(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "theirs")
    trust = Trust(ca=ours.ca, server_name=NAME)
    for server in (theirs.server(), ours.server("other.example"), ours.server(expired=True)):
        run(server, trust, refused)


def test_the_systems_authorities_do_not_vouch_for_ours(tmp_path: Path) -> None:
    run(Authority(tmp_path).server(), Trust(server_name=NAME), refused)


def test_a_server_that_speaks_plain_text_gets_no_request(tmp_path: Path) -> None:
    ours = Authority(tmp_path)

    async def unspoken(server: ScriptedUpstream, pool: Pool) -> None:
        server.answer = saying(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", close=True)
        asker = Asker()
        pool.ask(asker, pool.now() + 10, 10)
        await eventually(lambda: server.connections, "the handshake arrived")
        await server.stop()  # a plain server that waits for a line would wait for ever
        await eventually(lambda: asker.failures, "the end of the request")
        assert asker.failures == [Outcome.CONNECT]
        assert pool.dialer.failures == {"tls": 1}
        assert server.heard == []

    run(None, Trust(ca=ours.ca, server_name=NAME), unspoken)


def test_a_server_that_asks_who_we_are_is_told(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    certificate, key = ours.client()
    run(
        ours.server(asks_client=True),
        Trust(ca=ours.ca, certificate=certificate, key=key, server_name=NAME),
        served,
    )


def test_a_server_that_asks_who_we_are_in_vain_gets_no_request(tmp_path: Path) -> None:
    """In TLS 1.3 the server's refusal arrives after the handshake: it is then a connection that was cut."""
    ours = Authority(tmp_path)

    async def cut(server: ScriptedUpstream, pool: Pool) -> None:
        asker = await ask(pool)
        assert asker.failures[0] in (Outcome.CONNECT, Outcome.PROTOCOL)
        assert server.heard == []

    run(ours.server(asks_client=True), Trust(ca=ours.ca, server_name=NAME), cut)


def test_a_file_that_cannot_be_read_fails_the_connect_by_name_until_it_is_there(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    later = tmp_path / "later.pem"

    async def scenario(server: ScriptedUpstream, pool: Pool) -> None:
        later.unlink(missing_ok=True)
        asker = await ask(pool)
        assert asker.failures == [Outcome.CONNECT]
        assert f"{later} cannot be read: No such file" in asker.reasons[0]
        ours.authority.cert_pem.write_to_path(later)
        pool.tick(pool.now() + 5.0)
        await eventually(lambda: not pool.standing.resting, "the file is there")
        assert (await ask(pool)).bodies == [b"ok"]

    run(ours.server(), Trust(ca=str(later), server_name=NAME), scenario)


def test_replaced_files_are_read_again(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "theirs")
    path = tmp_path / "current.pem"

    async def scenario(server: ScriptedUpstream, pool: Pool) -> None:
        theirs.authority.cert_pem.write_to_path(path)
        assert (await ask(pool)).failures == [Outcome.CONNECT]
        replacement = tmp_path / "next.pem"
        ours.authority.cert_pem.write_to_path(replacement)
        replacement.rename(path)
        pool.tick(pool.now() + 5.0)
        await eventually(lambda: not pool.standing.resting, "the new authority")
        assert (await ask(pool)).bodies == [b"ok"]

    run(ours.server(), Trust(ca=str(path), server_name=NAME), scenario)


def test_checks_speak_tls_as_requests_do(tmp_path: Path) -> None:
    ours = Authority(tmp_path)

    async def scenario(server: ScriptedUpstream, pool: Pool) -> None:
        await eventually(lambda: pool.standing.healthy, "a check passed")
        assert server.heard[0].line == b"GET /ready HTTP/1.1"

    run(ours.server(), Trust(ca=ours.ca, server_name=NAME), scenario, check=True)


@pytest.mark.parametrize(
    "content", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_files_that_hold_something_else_are_named(tmp_path: Path, content: bytes) -> None:
    ours = Authority(tmp_path)
    certificate, _ = ours.client()
    bad = tmp_path / "bad.pem"
    bad.write_bytes(content)
    for trust in (
        Trust(ca=str(bad)),
        Trust(certificate=str(bad)),
        Trust(certificate=certificate, key=str(bad)),
    ):
        with pytest.raises(TrustError, match=r"bad\.pem"):
            context(trust)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    certificate, _ = ours.client("one")
    _, key = ours.client("two")
    with pytest.raises(TrustError, match="is no certificate with its key"):
        context(Trust(certificate=certificate, key=key))
