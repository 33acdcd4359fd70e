"""Who gets which connection: decided at once, fairly, within bounds, and never in vain."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from domain.observation import Outcome
from domain.routing import Upstream, Version
from gateway.head import ResponseHead
from gateway.pool import IDLE_LIMIT, MAX_CONNECTIONS, MAX_WAITING, Pool, Pools
from gateway.upstream import UpstreamConnection
from shadow.tasks import Tasks
from tests.support.gateway import eventually
from tests.support.upstream import ScriptedUpstream, response, saying

ANSWER = response(b"ok")
SERVER = Upstream("models", 9001)


@dataclass(eq=False)
class Asker:
    """A Recipient that keeps what it is told."""

    name: str = "a"
    abandoned: bool = False
    is_head: bool = False
    streams_upload: bool = False
    connection: UpstreamConnection | None = None
    bodies: list[bytes] = field(default_factory=list)
    failures: list[Outcome] = field(default_factory=list)

    def payload(self, authority: bytes, target_prefix: bytes) -> bytes:
        return b"GET %b/%b HTTP/1.1\r\nhost: %b\r\n\r\n" % (target_prefix, self.name.encode(), authority)

    def connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection

    def interim(self, head: ResponseHead) -> None: ...

    def answered(self, head: ResponseHead, body: bytes) -> None:
        self.bodies.append(body)

    def begun(self, head: ResponseHead, *, until_close: bool) -> None: ...
    def piece(self, data: bytes) -> None: ...
    def ended(self) -> None: ...

    def failed(self, outcome: Outcome, reason: str, *, unanswered_reuse: bool) -> None:
        self.failures.append(outcome)

    def upload_paused(self) -> None: ...
    def upload_resumed(self) -> None: ...


class Wire(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = b""
        self.closed = False

    def write(self, data: object) -> None:
        self.written += cast("bytes", data)

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Net:
    """The part of an event loop that a pool uses: each connect waits until the test says how it ends."""

    def __init__(self) -> None:
        self.connects: list[asyncio.Future[None]] = []
        self.wires: list[Wire] = []
        self.at_once = False

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int, ssl: object = None
    ) -> tuple[Wire, asyncio.Protocol]:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connects.append(end)
        assert len(self.connects) < 5 * MAX_WAITING, "a pool that connects without end"
        if self.at_once:
            end.set_result(None)
            await asyncio.sleep(0)
        await end
        protocol = factory()
        wire = Wire(protocol)
        self.wires.append(wire)
        protocol.connection_made(wire)
        return wire, protocol

    @property
    def pending(self) -> list[asyncio.Future[None]]:
        return [end for end in self.connects if not end.done()]


class Bench:
    """A pool over a Net, at a time that the test sets."""

    def __init__(self) -> None:
        self.net = Net()
        self.now = 100.0
        self.reports: list[BaseException] = []
        self.tasks = Tasks(lambda name, error: self.reports.append(error))
        loop = cast("asyncio.AbstractEventLoop", self.net)
        self.pools = Pools(loop, self.tasks, lambda: self.now)
        self.pool = self.pools.of(Version("rain-1", (SERVER,))).pools[0]

    def ask(self, name: str = "a", timeout: float = 2.0) -> Asker:
        asker = Asker(name)
        self.pool.ask(asker, self.now + timeout, timeout)
        return asker

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def connect(self, count: int = 1) -> None:
        """Let the first `count` pending connects succeed."""
        await self.settle()
        for end in self.net.pending[:count]:
            end.set_result(None)
        await self.settle()

    async def refuse(self, error: Exception, count: int = 1) -> None:
        await self.settle()
        for end in self.net.pending[:count]:
            end.set_exception(error)
        await self.settle()

    async def asked(self, count: int) -> list[Asker]:
        """`count` requests under way, each on its connection."""
        askers = [self.ask(str(n)) for n in range(count)]
        await self.connect(count)
        assert all(asker.connection for asker in askers)
        return askers


def answer(asker: Asker, data: bytes = ANSWER) -> UpstreamConnection:
    connection = asker.connection
    assert connection is not None
    connection.data_received(data)
    return connection


def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def bounded() -> None:
        bench = Bench()
        try:
            await asyncio.wait_for(scenario(bench), 20)
        finally:
            await bench.tasks.cancel()
        assert bench.reports == []

    asyncio.run(bounded())


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


def test_one_refused_connect_fails_one_that_waits() -> None:
    async def scenario(bench: Bench) -> None:
        askers = [bench.ask() for _ in range(3)]
        for failed in (1, 2, 3):
            await bench.refuse(ConnectionRefusedError())
            assert [len(asker.failures) for asker in askers] == [1] * failed + [0] * (3 - failed)
        assert {asker.failures[0] for asker in askers} == {Outcome.CONNECT}
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


def test_more_wait_than_may_connect_and_none_is_forgotten() -> None:
    async def scenario(bench: Bench) -> None:
        askers = [bench.ask() for _ in range(MAX_CONNECTIONS + 50)]
        await bench.settle()
        assert len(bench.net.connects) == MAX_CONNECTIONS
        await bench.refuse(ConnectionRefusedError(), MAX_CONNECTIONS)
        assert sum(bool(asker.failures) for asker in askers) == MAX_CONNECTIONS
        assert len(bench.net.pending) == 50, "somebody connects for who still waits"

    run(scenario)


def test_connections_and_waiting_are_bounded() -> None:
    async def scenario(bench: Bench) -> None:
        busy = await bench.asked(MAX_CONNECTIONS)
        waiting = [bench.ask() for _ in range(MAX_WAITING)]
        await bench.settle()
        assert len(bench.net.connects) == MAX_CONNECTIONS
        assert bench.pool.in_flight == MAX_CONNECTIONS + MAX_WAITING
        assert bench.ask().failures == [Outcome.OVERLOAD]
        assert not any(asker.failures for asker in waiting)
        answer(busy[0])
        assert bench.ask().failures == [], "one place is free again"

    run(scenario)


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
        cast("Wire", bench.net.wires[0]).protocol.connection_lost(None)
        (asker,) = await bench.asked(1)
        connection = answer(asker)
        bench.pool.tick(bench.now + IDLE_LIMIT - 0.1)
        assert connection.open

    run(scenario)


def test_a_lost_connection_makes_room_for_who_waits() -> None:
    async def scenario(bench: Bench) -> None:
        busy = await bench.asked(MAX_CONNECTIONS)
        waiting = bench.ask()
        await bench.settle()
        connection = busy[0].connection
        assert connection is not None
        connection.connection_lost(ConnectionResetError())
        await bench.connect()
        assert busy[0].failures == [Outcome.PROTOCOL]
        assert waiting.connection is not None

    run(scenario)


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
        busy = await bench.asked(MAX_CONNECTIONS)
        bench.ask()
        await bench.settle()
        bench.pools.close()
        await bench.settle()
        assert len(bench.net.connects) == MAX_CONNECTIONS, "nobody connects anew"
        assert all(asker.connection and not asker.connection.open for asker in busy)

    run(scenario)


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


def test_the_least_busy_server_that_was_not_tried_is_chosen() -> None:
    async def scenario(bench: Bench) -> None:
        other = Upstream("models", 9002)
        servers = bench.pools.of(Version("rain-1", (SERVER, other)))
        first, second = servers.pools
        assert servers.choose() is first
        bench.ask()
        assert servers.choose() is second
        assert servers.choose(frozenset((second,))) is first
        assert servers.choose(frozenset((first, second))) is None
        assert bench.pools.of(Version("rain-1", (SERVER,))).choose(frozenset((first,))) is None

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
