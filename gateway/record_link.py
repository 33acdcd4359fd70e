"""The worker's end of the socket to the prediction log: it reconnects for ever, as the link does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from gateway.records import RecordOutbox
from monitoring.log.wire import Kept, decode_from_log
from shadow.link import CLOSE_TIMEOUT, MAX_UNSENT
from shadow.reconnecting import FIRST_PAUSE, Reconnecting
from shadow.tasks import Tasks
from shadow.wire import FrameBuffer


class RecordLink(Reconnecting):
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
        super().__init__(path)
        self._outbox = outbox
        self._report = report
        self._tasks = tasks
        self._monotonic = monotonic
        self._frames = FrameBuffer()
        self._started = False

    def start(self) -> None:
        """Connect, now and whenever the connection is lost. Again: nothing."""
        if not self._started:
            self._started = True
            self._outbox.look(self._monotonic(), connected=True)
            self._tasks.spawn(self._stay_connected(), "record link")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._frames = FrameBuffer()
        for data in self._outbox.resend():
            self._write(data)

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
