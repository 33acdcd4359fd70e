"""Open-loop load: requests leave by a timetable, whatever the answers do.

A closed loop (wrk) sends less while the server is slow and so leaves out exactly the latencies that matter
("coordinated omission", Gil Tene). Here a latency counts from the moment the timetable says, waiting for a
free connection included. The event loop must be `precise_loop()`: others round their timers to milliseconds.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from bench.process import BenchError


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: latency in seconds from the timetable; status 0 when the connection broke."""

    latency: float
    status: int
    head: bytes
    body: bytes


def precise_loop() -> asyncio.AbstractEventLoop:
    """A loop with timers to the microsecond: select(2) takes its timeout as such, epoll in milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def split_answer(received: bytes) -> tuple[int, bytes, bytes] | None:
    """(status, head, body) of a complete answer with a Content-Length; None while bytes are missing.

    Raises:
        ValueError: it is no such answer.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end]
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError(f"an answer without Content-Length: {head[:200]!r}")
    body_end = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
    if len(received) < body_end:
        return None
    return int(head[9:12]), head, received[end + 4 : body_end]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1] of `values` do not exceed; ValueError without any."""
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


class Connection(asyncio.Protocol):
    """One client connection with at most one request on its way."""

    def __init__(self, load: OpenLoop) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.idle.append(self)

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        if self._transport is None:
            self._finish(0, b"", b"")
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = split_answer(self._received)
        if answer is not None:
            self._received = b""
            self._finish(*answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._received = b""
        if self._due is not None:
            self._finish(0, b"", b"")
        elif self in self._load.idle:
            self._load.idle.remove(self)

    def _finish(self, status: int, head: bytes, body: bytes) -> None:
        due, self._due = self._due, None
        if due is not None:
            self._load.answered(self, due, status, head, body, usable=self._transport is not None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class OpenLoop:
    """`rate` requests a second to a loopback port, in turn from `requests`; `observe` gets every answer."""

    def __init__(
        self, port: int, rate: float, requests: Sequence[bytes], observe: Callable[[Answer], None]
    ) -> None:
        self.idle: deque[Connection] = deque()
        self.sent = 0
        self._port = port
        self._period = 1 / rate
        self._requests = requests
        self._observe = observe
        self._waiting: deque[float] = deque()
        self._loop = asyncio.get_running_loop()
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._connections: list[Connection] = []

    async def start(self, connections: int) -> None:
        """Open the connections and begin with the timetable."""
        for _ in range(connections):
            made = await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
            self._connections.append(made[1])
        self._next = self._loop.time()
        self._tick()

    def stop(self) -> None:
        """Send no more and close; requests on their way are not observed any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._observe = lambda answer: None
        for connection in self._connections:
            connection.close()

    def _tick(self) -> None:
        now = self._loop.time()
        while self._next <= now:
            self._waiting.append(self._next)
            self._next += self._period
        self._dispatch()
        self._timer = self._loop.call_at(self._next, self._tick)

    def _dispatch(self) -> None:
        while self._waiting and self.idle:
            request = self._requests[self.sent % len(self._requests)]
            self.sent += 1
            self.idle.popleft().send(request, self._waiting.popleft())
        if len(self._waiting) > 100_000:
            raise BenchError("the gateway has answered nothing for 100 000 requests")

    def answered(
        self, connection: Connection, due: float, status: int, head: bytes, body: bytes, *, usable: bool
    ) -> None:
        """A connection has its answer, or has broken (`usable` false)."""
        if usable:
            self.idle.append(connection)
        self._observe(Answer(self._loop.time() - due, status, head, body))
        self._dispatch()
