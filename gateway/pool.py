"""Connections to one model server.

Which request gets which connection is decided synchronously; connecting is the only task, one per new
connection and none per request. Idle connections are taken last-in first-out, and closed before the server
would close them: a server's own idle limit is learned the first time it closes one on us, because a
request that crosses the server's close cannot always be sent again.

A server that cannot be connected to *rests*: who asks is told so at once, and the pool alone tries again, at
its pace, until a connection is made. Whether a server is asked at all is decided in `gateway.servers`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator

from domain.observation import Outcome
from domain.routing import Upstream
from gateway.dialer import Dialer
from gateway.head import ResponseGrammar
from gateway.health import HealthWatch
from gateway.pace import Pace
from gateway.plain import Plain
from gateway.queue import Queue, Uploads, Waiting
from gateway.standing import Standing
from gateway.upstream import Recipient, UpstreamConnection
from shadow.tasks import Tasks

IDLE_LIMIT = 4.0
"""Seconds a connection stays idle in the pool at first: under uvicorn's and Node's five."""
FORGETTING = 1.00005
"""A learned limit grows by this factor a tick, twofold in ten minutes: what a restart taught wears off."""


class Pool:
    """Connections of this worker to one server. `observed` is `Standing.observed`."""

    def __init__(
        self,
        upstream: Upstream,
        loop: asyncio.AbstractEventLoop,
        tasks: Tasks,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
        plain: Plain | None = None,
    ) -> None:
        policy = upstream.policy
        limits = policy.connections
        self.upstream = upstream
        self.now = clock
        self.grammar = ResponseGrammar()
        self.dialer = Dialer(upstream, loop, tasks, clock, plain)
        self.idle_limit = IDLE_LIMIT
        self.standing = Standing(policy, clock)
        self.outlier = self.standing.outlier
        self.observed = self.standing.observed
        self._tasks = tasks
        self._draw = draw
        self._authority = upstream.authority.encode()
        self._prefix = upstream.prefix.encode()
        self._rests = f"{upstream} could not be reached a moment ago and is being tried again"
        self._pace = Pace()
        self._idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()
        self._outdated: set[UpstreamConnection] = set()
        self._waiting = Queue(limits.pending)
        self._places = self._waiting.places
        self._uploads = Uploads(max(1, int(limits.max * limits.uploads)), limits.pending)
        self._connecting = 0
        self._closing = False
        self._watch: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        busy = len(self._all) - len(self._idle)
        return f"<Pool {self.upstream} idle={len(self._idle)} busy={busy} waiting={len(self._waiting)}>"

    @property
    def in_flight(self) -> int:
        """Requests sent and unanswered, or waiting to be sent."""
        return len(self._all) - len(self._idle) + len(self._places)

    # ---- requests -------------------------------------------------------------------------------------

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
        self._wait(Waiting(recipient, deadline, timeout))

    def upload(self, recipient: Recipient, deadline: float, timeout: float) -> None:
        """As `ask`, for a request whose body is still on its way: they have a share of the connections."""
        if self._uploads.admit(recipient, self._asking()):
            self.ask(recipient, deadline, timeout)
        elif not self._uploads.held.join(Waiting(recipient, deadline, timeout)):
            self._refuse(recipient, "uploads")

    def leave(self, recipient: Recipient) -> None:
        """`recipient` was abandoned: it gives up its place in the queue, if it has one."""
        self._waiting.leave(recipient)
        self._uploads.held.leave(recipient)

    def release(self, connection: UpstreamConnection) -> None:
        """`connection` is free: for who waits, else idle."""
        connection.idle_since = self.now()
        if self._places or self._closing:
            waiting = self._waiting.next()
            if waiting is not None:
                self._start(connection, waiting)
                return
            if self._closing:
                connection.abort()
                return
        self._idle.append(connection)

    def closed(self, connection: UpstreamConnection, *, by_peer: bool = False) -> None:
        """`connection` is gone. Closed idle by the server, it tells the server's idle limit."""
        self._all.discard(connection)
        self._outdated.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            if by_peer and connection.served:
                idled = self.now() - connection.idle_since
                self.idle_limit = min(self.idle_limit, max(0.75 * idled, 0.05))
        if not self._all:
            self._pace.emptied()
        if self._waiting:
            self._connect_more()

    # ---- time -----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Expire what is over its deadline, close what idled too long, and try again what failed."""
        for connection in tuple(self._all):
            if connection.recipient is not None and connection.deadline < now:
                connection.fail(Outcome.TIMEOUT, "its answer was not whole in time")
        self.idle_limit = min(IDLE_LIMIT, self.idle_limit * FORGETTING)
        while self._idle and now - self._idle[0].idle_since > self.idle_limit:
            self._idle[0].abort()
        for connection in tuple(self._outdated):
            if connection.recipient is None:
                connection.abort()
        self._tick_queues(now)
        if not self._closing:
            self._tick_server(now)

    def _tick_queues(self, now: float) -> None:
        for queue in (self._waiting, self._uploads.held):
            for late in queue.late(now) if queue else ():
                late.recipient.failed(Outcome.TIMEOUT, "no connection was free in time", unanswered=False)
        if self._uploads:
            self._uploads.settle(self._asking())
            self._ask_for_uploads()
        if self._waiting:
            self._connect_more()

    def _ask_for_uploads(self) -> None:
        held = self._uploads.held
        while (upload := held.next()) is not None:
            if not self._uploads.admit(upload.recipient, self._asking()):
                held.put_back(upload)
                return
            self.ask(*upload)

    def _tick_server(self, now: float) -> None:
        if self.standing.resting and not self._connecting and now >= self._pace.until:
            self._connect()
        self.standing.tick(now)
        if self.dialer.addresses.due(now):
            self._tasks.spawn(self._look_up(), f"look up {self.upstream.host}")

    async def _look_up(self) -> None:
        """Connections to addresses that the host has no more are closed as they fall idle."""
        known = await self.dialer.addresses.look_up()
        for connection in self._all:
            peer = connection.transport.get_extra_info("peername")
            if peer and peer[0] not in known:
                self._outdated.add(connection)

    def watch(self) -> None:
        """Begin the active checks, where they are configured. Call once."""
        health = self.upstream.policy.health
        if health is not None:
            checks = HealthWatch(self.upstream, health, self.dialer, self._draw, self._checked)
            self._watch = self._tasks.spawn(checks.run(), f"check {self.upstream}")

    def _checked(self, healthy: bool) -> None:
        if healthy and self.standing.resting and not self._connecting and not self._closing:
            self._connect()
        self.standing.checked(healthy)

    # ---- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """No version uses this server any more: idle connections go now, busy ones with their answer."""
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
        for connection in tuple(self._idle):
            connection.abort()

    def abort(self) -> None:
        """Drop every connection, busy ones too."""
        self._waiting.clear()
        self._uploads.held.clear()
        self.close()
        for connection in tuple(self._all):
            connection.abort()

    @property
    def empty(self) -> bool:
        return not (self._all or self._waiting or self._uploads.held or self._connecting)

    # ---- waiting and connecting -----------------------------------------------------------------------

    def _wait(self, waiting: Waiting) -> None:
        if self.standing.resting and not self._closing:
            waiting.recipient.failed(Outcome.CONNECT, self._rests, unanswered=False)
        elif self._waiting.join(waiting):
            self._connect_more()
        else:
            self._refuse(waiting.recipient, "requests")

    def _refuse(self, recipient: Recipient, what: str) -> None:
        limit = self.upstream.policy.connections.pending
        reason = f"{limit} {what} wait for {self.upstream} already"
        recipient.failed(Outcome.OVERLOAD, reason, unanswered=False)

    def _start(self, connection: UpstreamConnection, waiting: Waiting) -> None:
        payload = waiting.recipient.payload(self._authority, self._prefix)
        connection.start(waiting.recipient, payload, waiting.deadline, waiting.timeout)

    def _asking(self) -> Iterator[Recipient]:
        """Everybody who has a connection or waits for one."""
        yield from (one.recipient for one in self._all if one.recipient is not None)
        yield from self._waiting

    def _connect_more(self) -> None:
        wanted = min(len(self._waiting), self._pace.at_once)
        room = self.upstream.policy.connections.max - len(self._all)
        if self._connecting < min(wanted, room) and self.now() >= self._pace.until:
            for _ in range(min(wanted, room) - self._connecting):
                self._connect()

    def _connect(self) -> None:
        self._connecting += 1
        self._tasks.spawn(self._connected(), f"connect {self.upstream}")

    async def _connected(self) -> None:
        try:
            connection = await self.dialer.dial(lambda: UpstreamConnection(self))
        except OSError as error:
            self._connecting -= 1
            self._unreachable(str(error) or "connect timeout")
            return
        self._connecting -= 1
        self._pace.connected()
        self.standing.reached()
        if connection.open:
            self._all.add(connection)
            self.release(connection)
        if self._waiting:
            self._connect_more()

    def _unreachable(self, reason: str) -> None:
        """A connect failed: one that waits is told so, and all of them when no other connection will come."""
        self._pace.failed(self.now(), self._draw())
        if not (self._all or self._connecting or self._closing):
            self.standing.unreachable()
        waiting = [self._waiting.next()] if self._all or self._connecting else self._waiting.drain()
        for one in waiting:
            if one is not None:
                told = f"{self.upstream} cannot be reached: {reason}"
                one.recipient.failed(Outcome.CONNECT, told, unanswered=False)
