"""A pool over a network that the test rules: connects and look-ups end when and how the test says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from domain.observation import Outcome
from domain.routing import Policy, Upstream, Version
from gateway.head import ResponseHead
from gateway.pool import Pool
from gateway.servers import Pools, Servers
from gateway.upstream import UpstreamConnection
from shadow.tasks import Tasks
from tests.support.upstream import response

ANSWER = response(b"ok")
SERVER = Upstream("10.0.0.1", 9001)


@dataclass(eq=False)
class Asker:
    """A Recipient that keeps what it is told."""

    name: str = "a"
    abandoned: bool = False
    is_head: bool = False
    streams_answer: bool = False
    streams_upload: bool = False
    connection: UpstreamConnection | None = None
    bodies: list[bytes] = field(default_factory=list)
    failures: list[Outcome] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

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

    def failed(self, outcome: Outcome, reason: str, *, unanswered: bool) -> None:
        self.failures.append(outcome)
        self.reasons.append(reason)

    def upload_paused(self) -> None: ...
    def upload_resumed(self) -> None: ...


class Wire(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self, protocol: asyncio.Protocol, address: str) -> None:
        super().__init__()
        self.protocol = protocol
        self.address = address
        self.written = b""
        self.closed = False

    def write(self, data: object) -> None:
        self.written += cast("bytes", data)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self.address, 9001) if name == "peername" else default

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Net:
    """The part of an event loop that a pool uses."""

    def __init__(self) -> None:
        self.connects: list[asyncio.Future[None]] = []
        self.addresses: list[str] = []
        """Of each connect."""
        self.wires: list[Wire] = []
        self.at_once = False
        self.look_ups: list[asyncio.Future[Sequence[str]]] = []

    async def create_connection(
        self,
        factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        ssl: object = None,
        server_hostname: str | None = None,
    ) -> tuple[Wire, asyncio.Protocol]:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connects.append(end)
        self.addresses.append(host)
        assert len(self.connects) < 10_000, "a pool that connects without end"
        if self.at_once:
            end.set_result(None)
            await asyncio.sleep(0)
        await end
        protocol = factory()
        wire = Wire(protocol, host)
        self.wires.append(wire)
        protocol.connection_made(wire)
        return wire, protocol

    async def getaddrinfo(self, host: str, port: int, *, type: int = 0) -> list[tuple[object, ...]]:  # noqa: A002
        end: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self.look_ups.append(end)
        found = await end
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in found]

    @property
    def pending(self) -> list[asyncio.Future[None]]:
        return [end for end in self.connects if not end.done()]


class Bench:
    """A pool over a Net, at a time that the test sets. `draws` is what chance says."""

    def __init__(self, upstream: Upstream = SERVER) -> None:
        self.net = Net()
        self.now = 100.0
        self.draw = 1.0
        self.reports: list[BaseException] = []
        self.tasks = Tasks(lambda name, error: self.reports.append(error))
        loop = cast("asyncio.AbstractEventLoop", self.net)
        self.pools = Pools(loop, self.tasks, lambda: self.now, lambda: self.draw)
        self.servers = self.pools.of(Version("rain-1", (upstream,)))
        self.pool = self.servers.pools[0]

    def version(self, *ports: int, policy: Policy | None = None, **changes: object) -> Servers:
        """A version's servers at these ports of one machine; `changes` go to `Pools.of` and `Version`."""
        arm = {"arm": changes.pop("arm")} if "arm" in changes else {}
        upstreams = tuple(Upstream("10.0.0.1", port, policy=policy or Policy()) for port in ports)
        return self.pools.of(Version("rain-2", upstreams, **changes), **arm)  # type: ignore[arg-type]

    def ask(self, name: str = "a", timeout: float = 2.0, *, pool: Pool | None = None) -> Asker:
        asker = Asker(name)
        (pool or self.pool).ask(asker, self.now + timeout, timeout)
        return asker

    def upload(self, name: str = "up", timeout: float = 2.0) -> Asker:
        asker = Asker(name, streams_upload=True)
        self.pool.upload(asker, self.now + timeout, timeout)
        return asker

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def connect(self, count: int = 1) -> None:
        """Let the first `count` pending connects succeed, and those that begin with them."""
        await self.settle()
        while count > 0 and (pending := self.net.pending[:count]):
            for end in pending:
                end.set_result(None)
            count -= len(pending)
            await self.settle()

    async def refuse(self, error: Exception | None = None, count: int = 1) -> None:
        await self.settle()
        for end in self.net.pending[:count]:
            end.set_exception(error or ConnectionRefusedError("refused"))
        await self.settle()

    async def pass_time(self, seconds: float) -> None:
        """Ticks included."""
        self.now += seconds
        self.pools.tick(self.now)
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


def run(scenario: Callable[[Bench], Awaitable[None]], upstream: Upstream = SERVER) -> None:
    """Run `scenario` on a Bench; no task may have failed unseen."""

    async def bounded() -> None:
        bench = Bench(upstream)
        try:
            await asyncio.wait_for(scenario(bench), 20)
        finally:
            await bench.tasks.cancel()
        assert bench.reports == []

    asyncio.run(bounded())
