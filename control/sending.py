"""Everything that leaves the prediction log's process: sinks, spans, and the archive's own process."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping

import msgspec

from control.forwarding import Forwarder, RedisRunner
from control.log import note
from control.tracing import Tracer, exporter
from domain.errors import ConfigError
from killswitch.stores.redis_client import RedisClient
from monitoring.log.forwarding.parcel import Sink
from monitoring.log.forwarding.stream import StreamSink
from monitoring.log.forwarding.trail import Trail
from monitoring.log.wire import Archived, Forwarded, Section, Status
from settings.sinks import KafkaSettings, Sending, StreamSettings
from shadow.reconnecting import FIRST_PAUSE
from shadow.tasks import Tasks

PATIENCE = 10.0
"""Seconds for a call to Redis: nobody waits for it."""
LONGEST_PAUSE = 10.0
"""Seconds between starts of the archive's process, while it ends at once."""
GRACE = 0.7
"""Seconds that spans, and the archive's process, have at the end."""
NOT_STARTED = Archived(0, 0, 0, 0, 0, "its process has not begun")

log = logging.getLogger("pointsman.log")


class Downstream:
    """Where `sending` says. What cannot be set up is told of and left out: records are kept all the same.

    Attributes:
        sinks: the names of those that records are sent on to.
        kept: to be called with what is on disk; None: nobody wants it.
    """

    def __init__(
        self, sending: Sending, environment: Mapping[str, str], *, monotonic: Callable[[], float]
    ) -> None:
        self.kept: Callable[[Section], None] | None = None
        self._sending = sending
        self._monotonic = monotonic
        self._tasks = Tasks(lambda name, error: log.error("%s ended: %r", name, error))
        self._sinks: dict[str, Sink] = {}
        self._impossible: dict[str, str] = {}
        self._forwarders: list[Forwarder] = []
        self._archived: Archived | None = NOT_STARTED if sending.archive is not None else None
        self._tracer: Tracer | None = None
        if (stream := sending.stream) is not None:
            self._add("redis", lambda: _stream(stream, environment))
        if (kafka := sending.kafka) is not None:
            self._add("kafka", lambda: _topic(kafka, environment))
        if sending.tracing is not None:
            try:
                self._tracer = Tracer(sending.tracing, exporter(sending.tracing, environment))
                self.kept = self._tracer.offer
            except Exception as error:  # the client library reads more of the environment than we do
                note(log, logging.ERROR, "no spans are made", reason=str(error))

    @property
    def sinks(self) -> tuple[str, ...]:
        return (*self._sinks, *self._impossible)

    def open(self, trail: Callable[[str], Trail | None]) -> None:
        """Begin to send; `trail` gives a sink's place in the log, None while the log is not open."""
        for name, sink in self._sinks.items():
            one = Forwarder(sink, lambda name=name: trail(name), monotonic=self._monotonic)  # type: ignore[misc]
            self._forwarders.append(one)
            self._tasks.spawn(one.run(), f"sending to {name}")
        if self._sending.archive is not None:
            self._tasks.spawn(self._keep_archiving(), "archive")

    def told(self, status: Status) -> Status:
        """The log's status with what is known here."""
        forwards = [one.status() for one in self._forwarders]
        forwards += [Forwarded(name, 0, 0, reason) for name, reason in self._impossible.items()]
        spans = {} if self._tracer is None else self._tracer.counts()
        return msgspec.structs.replace(status, forwards=forwards, archive=self._archived, spans=spans)

    async def end(self) -> None:
        """Send nothing any more; what was not sent is sent by the next process."""
        await self._tasks.cancel()
        await asyncio.gather(*(one.close() for one in self._forwarders))

    async def close(self) -> None:
        """Send the last spans."""
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close, GRACE)

    def _add(self, name: str, make: Callable[[], Sink]) -> None:
        try:
            self._sinks[name] = make()
        except (ConfigError, ImportError) as error:
            self._impossible[name] = str(error)
            note(log, logging.ERROR, "the prediction log is not sent on", sink=name, reason=str(error))

    # ---- the archive's process --------------------------------------------------------------------------

    async def _keep_archiving(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = self._monotonic()
            try:
                reason = f"its process ended with {await self._archive()}"
            except Exception as error:  # no process to be had now, or one that says what nobody understands
                reason = f"its process failed: {type(error).__name__}: {error}"
            self._archived = msgspec.structs.replace(self._archived or NOT_STARTED, failure=reason)
            note(log, logging.ERROR, "process ended", name="archive", reason=reason)
            pause = (
                FIRST_PAUSE if self._monotonic() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            )
            await asyncio.sleep(pause)

    async def _archive(self) -> int:
        """Run it; its exit status. It ends with the task, and with this process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "control.archiving",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        before = self._archived or NOT_STARTED
        try:
            if process.stdin is None or process.stdout is None:
                raise OSError("the archive's process has no pipes")
            process.stdin.write(self._sending.frame())
            async for line in process.stdout:
                self._archived = _added(before, msgspec.json.decode(line, type=Archived))
            return await process.wait()
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), GRACE)
                except TimeoutError:
                    process.kill()
                    await process.wait()


def _stream(settings: StreamSettings, environment: Mapping[str, str]) -> Sink:
    client = RedisClient(
        settings.redis, environment, PATIENCE,
        name="the prediction log's stream", key="log.redis.password_env",
    )  # fmt: skip
    return StreamSink(RedisRunner(client), settings.name, settings.most)


def _topic(settings: KafkaSettings, environment: Mapping[str, str]) -> Sink:
    from monitoring.log.forwarding.kafka import KafkaSink

    return KafkaSink(settings, environment)


def _added(before: Archived, now: Archived) -> Archived:
    """Counts go on over the process's lives."""
    return Archived(
        before.files + now.files, before.records + now.records, before.unreadable + now.unreadable,
        before.failures + now.failures, now.waiting, now.failure,
    )  # fmt: skip
