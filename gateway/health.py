"""Active health checks: a request of our own, on a connection of its own, away from the path of requests.

A fresh connection each time proves that the server accepts, and neither waits for nor takes the place of a
client's. Any 2xx in time is a pass (Open Inference Protocol: `GET /v2/health/ready`). The first check decides
alone; later it takes several in a row to change what is believed, so that one lost packet does not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

from domain.routing import HealthCheck, Upstream
from gateway.dialer import Dialer

LONGEST_HEAD = 64 * 1024
"""Bytes; a head that is longer is no pass."""
JITTER = 0.2
"""Of the period: workers and machines do not check in step."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")


class HealthCount:
    """What the last checks say; `healthy` is None until the first has ended."""

    __slots__ = ("_against", "_falls", "_rises", "healthy")

    def __init__(self, rises: int, falls: int) -> None:
        self._rises = rises
        self._falls = falls
        self._against = 0
        self.healthy: bool | None = None

    def seen(self, passed: bool) -> bool:
        """One check ended; whether that changed what is believed."""
        if passed is self.healthy:
            self._against = 0
            return False
        self._against += 1
        if self.healthy is not None and self._against < (self._rises if passed else self._falls):
            return False
        self.healthy = passed
        self._against = 0
        return True


class HealthWatch:
    """Checks one server until it is cancelled; `tell(healthy)` is called whenever that changes."""

    def __init__(
        self,
        upstream: Upstream,
        check: HealthCheck,
        dialer: Dialer,
        draw: Callable[[], float],
        tell: Callable[[bool], None],
    ) -> None:
        self._check = check
        self._dialer = dialer
        self._draw = draw
        self._tell = tell
        self._count = HealthCount(check.healthy, check.unhealthy)
        target = f"{upstream.prefix}{check.path}"
        self._request = (
            f"GET {target} HTTP/1.1\r\nhost: {upstream.authority}\r\nuser-agent: pointsman\r\n"
            "accept: */*\r\nconnection: close\r\n\r\n"
        ).encode()

    async def run(self) -> None:
        """For ever."""
        while True:
            if self._count.seen(await self.passes()):
                self._tell(bool(self._count.healthy))
            await asyncio.sleep(self._check.every * (1 - JITTER / 2 + JITTER * self._draw()))

    async def passes(self) -> bool:
        """One check."""
        answer: _Answer | None = None
        try:
            async with asyncio.timeout(self._check.timeout):
                answer = await self._dialer.dial(_Answer)
                answer.transport.write(self._request)
                return 200 <= await answer.status < 300
        except OSError:
            return False
        finally:
            if answer is not None:
                answer.transport.abort()


class _Answer(asyncio.Protocol):
    """The status of the first final response; 0 for anything that is none."""

    def __init__(self) -> None:
        self._held = b""
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            found = _STATUS.match(self._held)
            if found is None or int(found[1]) >= 200:
                self._decide(0 if found is None else int(found[1]))
                return
            self._held = self._held[end + 4 :]
        if len(self._held) > LONGEST_HEAD:
            self._decide(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._decide(0)

    def _decide(self, status: int) -> None:
        if not self.status.done():
            self.status.set_result(status)
