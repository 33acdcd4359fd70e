"""The worker's end of the link to the control process.

It reconnects for ever, with a growing pause, and says on each new connection who it is, which snapshot it
serves from, and all that was not acknowledged. Nothing a client waits for waits for the link.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from routing.answers import Answers
from shadow.outbox import Counts, Outbox
from shadow.reconnecting import Reconnecting
from shadow.tasks import Tasks
from shadow.wire import (
    Acknowledged,
    Answered,
    Asked,
    FrameBuffer,
    FromWorker,
    Publish,
    TakenOut,
    ToWorker,
    decode_to_worker,
    frame,
)

CLOSE_TIMEOUT = 2.0
"""Seconds the control process gets to read the last of it."""
MAX_UNSENT = 16 * 1024 * 1024
"""Bytes in the socket's buffer above which no further batch is cut."""


class Link(Reconnecting):
    """`greeting` gives the messages for a new connection, Hello first; `publish` gets each snapshot message,
    `take_out` what comes before one; `counts` the deltas since it was last called; `answers` is what is known
    of units, where that is asked."""

    def __init__(
        self,
        path: str,
        outbox: Outbox,
        *,
        greeting: Callable[[], list[FromWorker]],
        publish: Callable[[Publish], None],
        take_out: Callable[[TakenOut], None],
        counts: Callable[[], Counts],
        report: Callable[[str, BaseException], None],
        tasks: Tasks,
        answers: Answers | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(path)
        self._outbox = outbox
        self._greeting = greeting
        self._publish = publish
        self._take_out = take_out
        self._counts = counts
        self._report = report
        self._tasks = tasks
        self._monotonic = monotonic
        self._answers = Answers() if answers is None else answers
        self._frames = FrameBuffer()

    @property
    def connected(self) -> bool:
        return self._transport is not None

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        self._tasks.spawn(self._stay_connected(), "link")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._frames = FrameBuffer()
        for message in self._greeting():
            self.say(message)
        for data in self._outbox.resend():
            self._write(data)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._frames.feed(data):
                self._act(decode_to_worker(payload))
        except (ValueError, msgspec.DecodeError) as error:
            self._report("link", error)
            if self._transport is not None:
                self._transport.abort()

    def _act(self, message: ToWorker) -> None:
        if isinstance(message, Acknowledged):
            self._outbox.acknowledge(message.sequence)
        elif isinstance(message, Answered):
            self._answers.learn(message.source, message.answers)
        elif isinstance(message, TakenOut):
            self._take_out(message)
        else:
            self._publish(message)

    def say(self, message: FromWorker) -> None:
        """Send `message` if connected; what matters beyond a connection belongs in the greeting."""
        if self._transport is not None:
            self._transport.write(frame(message))

    def ask(self) -> None:
        """Send the questions that wait; to be called often, connected or not, for answers grow old by it."""
        questions = self._answers.take(self._monotonic())
        left_out = self._answers.take_left_out()
        if left_out:
            self._outbox.note("questions_left_out", left_out)
        if questions:
            self.say(Asked(questions))

    def flush(self) -> None:
        """Send what waits, as far as the bounds allow; at least one batch, so that counts travel."""
        self.ask()
        transport = self._transport
        if transport is None:
            return
        outbox = self._outbox
        first = True
        while outbox.room and (first or outbox.pending) and transport.get_write_buffer_size() < MAX_UNSENT:
            transport.write(outbox.cut(self._counts()))
            first = False

    async def close(self) -> None:
        """Send what waits and close."""
        self._closing = True
        self.flush()
        if self._transport is not None:
            transport = self._transport
            transport.close()
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._lost.wait()
            except TimeoutError:
                transport.abort()
