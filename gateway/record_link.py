"""The worker's end of the socket to the prediction log: it reconnects for ever, as the link does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

import msgspec

from gateway.records import RecordOutbox
from monitoring.log.wire import Kept, decode_from_log
from shadow.link import CLOSE_TIMEOUT, FIRST_PAUSE, LONGEST_PAUSE, MAX_UNSENT, STEADY
from shadow.tasks import Tasks
from shadow.wire import FrameBuffer


class RecordLink(asyncio.Protocol):
    """Sends what is in `outbox` to the log at `path`."""

    def __init__(
        self,
        path: str,
        outbox: RecordOutbox,
        *,
        report: Callable[[str, BaseException], None],
        tasks: Tasks,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._outbox = outbox
        self._report = report
        self._tasks = tasks
        self._monotonic = monotonic
        self._transport: asyncio.Transport | None = None
        self._frames = FrameBuffer()
        self._lost = asyncio.Event()
        self._closing = False
        self._started = False

    def start(self) -> None:
        """Connect, now and whenever the connection is lost. Again: nothing."""
        if not self._started:
            self._started = True
            self._outbox.look(self._monotonic(), connected=True)
            self._tasks.spawn(self._stay_connected(), "record link")

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not self._closing:
            self._lost.clear()
            try:
                await loop.create_unix_connection(lambda: self, self._path)
            except OSError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            connected = loop.time()
            await self._lost.wait()
            if loop.time() - connected > STEADY:
                pause = FIRST_PAUSE
            elif not self._closing:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._frames = FrameBuffer()
        for data in self._outbox.resend():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._frames.feed(data):
                message = decode_from_log(payload)
                if isinstance(message, Kept):
                    self._outbox.acknowledge(message.sequence, self._monotonic())
        except (ValueError, msgspec.DecodeError) as error:
            self._report("record link", error)
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost.set()

    def flush(self) -> None:
        """Send what waits, as far as the bounds allow, and judge how the log keeps up."""
        transport = self._transport
        outbox = self._outbox
        if transport is not None:
            while outbox.room and outbox.pending and transport.get_write_buffer_size() < MAX_UNSENT:
                transport.write(outbox.cut())
        outbox.look(self._monotonic(), connected=transport is not None)

    async def close(self) -> None:
        """Send what waits, wait a moment for the log to have it, and close."""
        self._outbox.give_up_waiting()
        ends = self._monotonic() + CLOSE_TIMEOUT
        while self._outbox.size and self._monotonic() < ends:
            self.flush()
            await asyncio.sleep(FIRST_PAUSE)
        self._closing = True
        if self._transport is not None:
            self._transport.close()
