"""Connections to one model server, and the servers of one version.

Which request gets which connection is decided synchronously; connecting is the only task, one per new
connection and none per request. Idle connections are taken last-in first-out, and closed before the server
would close them: a server's own idle limit is learned the first time it closes one on us, because a
request that crosses the server's close cannot always be sent again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from weakref import WeakSet

from domain.observation import Outcome
from domain.routing import Upstream, Version
from gateway.head import ResponseGrammar
from gateway.upstream import Recipient, UpstreamConnection
from shadow.tasks import Tasks

MAX_CONNECTIONS = 512
"""To one server, from one worker."""
MAX_WAITING = 1024
"""Requests of one worker that wait for a connection to one server; more get 503."""
CONNECT_TIMEOUT = 1.0
"""Seconds, TLS handshake included."""
IDLE_LIMIT = 4.0
"""Seconds a connection stays idle in the pool at first: under uvicorn's and Node's five."""
FORGETTING = 1.00005
"""A learned limit grows by this factor a tick, twofold in ten minutes: what a restart taught wears off."""


class _Waiting:
    __slots__ = ("deadline", "recipient", "timeout")

    def __init__(self, recipient: Recipient, deadline: float, timeout: float) -> None:
        self.recipient = recipient
        self.deadline = deadline
        self.timeout = timeout


class Pool:
    """Connections of this worker to one server."""

    def __init__(
        self, upstream: Upstream, loop: asyncio.AbstractEventLoop, tasks: Tasks, clock: Callable[[], float]
    ) -> None:
        self.upstream = upstream
        self.now = clock
        self.grammar = ResponseGrammar()
        self._loop = loop
        self._tasks = tasks
        self._authority = upstream.authority.encode()
        self._prefix = upstream.prefix.encode()
        self._tls = ssl.create_default_context() if upstream.tls else None
        self._idle: deque[UpstreamConnection] = deque()
        self._all: set[UpstreamConnection] = set()
        self._waiting: deque[_Waiting] = deque()
        self._connecting = 0
        self.idle_limit = IDLE_LIMIT
        self._closing = False

    def __repr__(self) -> str:
        busy = len(self._all) - len(self._idle)
        return f"<Pool {self.upstream} idle={len(self._idle)} busy={busy} waiting={len(self._waiting)}>"

    @property
    def in_flight(self) -> int:
        """Requests sent and unanswered, or waiting to be sent."""
        return len(self._all) - len(self._idle) + len(self._waiting)

    def ask(self, recipient: Recipient, deadline: float, timeout: float) -> None:
        """Send `recipient`'s request on an idle connection, or on the next that is free or made."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.open:
                connection.start(
                    recipient, recipient.payload(self._authority, self._prefix), deadline, timeout
                )
                return
        if len(self._waiting) >= MAX_WAITING:
            reason = f"{MAX_WAITING} requests wait for {self.upstream} already"
            recipient.failed(Outcome.OVERLOAD, reason, unanswered_reuse=False)
            return
        self._waiting.append(_Waiting(recipient, deadline, timeout))
        self._connect_more()

    def release(self, connection: UpstreamConnection) -> None:
        """`connection` is free: for who waits, else idle."""
        connection.idle_since = self.now()
        waiting = self._next_waiting()
        if waiting is None and self._closing:
            connection.abort()
        elif waiting is None:
            self._idle.append(connection)
        else:
            self._start(connection, waiting)

    def closed(self, connection: UpstreamConnection, *, by_peer: bool = False) -> None:
        """`connection` is gone. Closed idle by the server, it tells the server's idle limit."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            if by_peer and connection.served:
                idled = self.now() - connection.idle_since
                self.idle_limit = min(self.idle_limit, max(0.75 * idled, 0.05))
        if self._waiting:
            self._connect_more()

    def tick(self, now: float) -> None:
        """Expire what is over its deadline; close what idled too long."""
        for connection in tuple(self._all):
            if connection.recipient is not None and connection.deadline < now:
                connection.fail(Outcome.TIMEOUT, "its answer was not whole in time")
        self.idle_limit = min(IDLE_LIMIT, self.idle_limit * FORGETTING)
        while self._idle and now - self._idle[0].idle_since > self.idle_limit:
            self._idle[0].abort()
        late = [waiting for waiting in self._waiting if waiting.deadline < now]
        if late:
            self._waiting = deque(waiting for waiting in self._waiting if waiting.deadline >= now)
            for waiting in late:
                waiting.recipient.failed(
                    Outcome.TIMEOUT, "no connection was free in time", unanswered_reuse=False
                )

    def close(self) -> None:
        """No version uses this server any more: idle connections go now, busy ones with their answer."""
        self._closing = True
        for connection in tuple(self._idle):
            connection.abort()

    def abort(self) -> None:
        """Drop every connection, busy ones too."""
        self._waiting.clear()
        self.close()
        for connection in tuple(self._all):
            connection.abort()

    @property
    def empty(self) -> bool:
        return not (self._all or self._waiting or self._connecting)

    def _start(self, connection: UpstreamConnection, waiting: _Waiting) -> None:
        payload = waiting.recipient.payload(self._authority, self._prefix)
        connection.start(waiting.recipient, payload, waiting.deadline, waiting.timeout)

    def _next_waiting(self) -> _Waiting | None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.recipient.abandoned:
                return waiting
        return None

    def _connect_more(self) -> None:
        while self._connecting < len(self._waiting) and self._connecting + len(self._all) < MAX_CONNECTIONS:
            self._connecting += 1
            self._tasks.spawn(self._connect(), f"connect {self.upstream}")

    async def _connect(self) -> None:
        upstream = self.upstream
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self), upstream.host, upstream.port, ssl=self._tls
                )
        except (OSError, UnicodeError) as error:  # timeouts and TLS are OSErrors, IDNA is not
            self._connecting -= 1
            waiting = self._next_waiting()
            if waiting is not None:
                reason = f"{upstream} cannot be reached: {error or 'connect timeout'}"
                waiting.recipient.failed(Outcome.CONNECT, reason, unanswered_reuse=False)
            self._connect_more()
            return
        self._connecting -= 1
        if connection.open:
            self._all.add(connection)
            self.release(connection)
        elif self._waiting:
            self._connect_more()


class Pools:
    """All pools of a worker, one per server, kept over snapshots."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tasks: Tasks, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._tasks = tasks
        self._clock = clock
        self._pools: dict[Upstream, Pool] = {}
        self._leaving: WeakSet[Pool] = WeakSet()  # somebody's exchange may yet ask one

    def of(self, version: Version) -> Servers:
        """The servers of `version`."""
        return Servers(tuple(self._pool(upstream) for upstream in version.upstreams))

    def retain(self, upstreams: Iterable[Upstream]) -> None:
        """Close the pools of all other servers."""
        keep = set(upstreams)
        for upstream in [u for u in self._pools if u not in keep]:
            pool = self._pools.pop(upstream)
            pool.close()
            self._leaving.add(pool)

    def tick(self, now: float) -> None:
        for pool in self._pools.values():
            pool.tick(now)
        for pool in tuple(self._leaving):
            pool.tick(now)

    def close(self) -> None:
        """Drop every connection."""
        for pool in (*self._pools.values(), *self._leaving):
            pool.abort()

    def _pool(self, upstream: Upstream) -> Pool:
        pool = self._pools.get(upstream)
        if pool is None:
            pool = self._pools[upstream] = Pool(upstream, self._loop, self._tasks, self._clock)
        return pool


class Servers:
    """The servers of one version: the one with the fewest requests in flight is asked."""

    __slots__ = ("pools",)

    def __init__(self, pools: tuple[Pool, ...]) -> None:
        self.pools = pools

    def choose(self, tried: frozenset[Pool] = frozenset()) -> Pool | None:
        """The least busy server that was not tried yet; None when all were."""
        if len(self.pools) == 1 and not tried:
            return self.pools[0]
        untried = [pool for pool in self.pools if pool not in tried]
        return min(untried, key=lambda pool: pool.in_flight, default=None)
