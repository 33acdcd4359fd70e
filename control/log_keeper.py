"""The prediction log's own process: workers' records come in, are read, and are on disk when acknowledged.

It is a process of its own so that neither clients nor trips ever wait for a payload to be read or for a disk:
workers hand over bytes, the control process only looks. One thread reads sockets, one makes records and
commits them, many at a time, one turns what is old into Parquet.

A worker keeps what is not acknowledged and sends it again, so this process may be killed at any moment and
nothing that it acknowledged is lost. When the disk is full or gone, nothing is acknowledged, and it tries
again; what it holds is bounded, and beyond that it reads no further.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from control.log import note
from domain.errors import PointsmanError, StateUnavailable
from monitoring.drift import drawing
from monitoring.log import rolling
from monitoring.log.forwarding.trail import Trail
from monitoring.log.interpreter import Interpreter
from monitoring.log.record import PredictionRecord
from monitoring.log.wire import (
    Counted,
    Dropped,
    FromLog,
    Kept,
    Records,
    Sampled,
    Section,
    Status,
    Watch,
    decode_to_log,
    frame,
)
from monitoring.log.writer import Bounds, Delivery, LogWriter
from shadow.wire import FrameBuffer

MOST_WAITING = 64 * 1024 * 1024
"""Bytes of batches that have come and are not on disk; beyond that no worker is read from."""
AT_ONCE = 4000
"""Records that one commit has, or the records of one batch."""
PAUSE = 0.5
"""Seconds between attempts to write when that fails, and between looks at what is to be rolled."""
ROLL_AGAIN = 60.0
"""Seconds until a segment that could not be rolled is tried again."""

KEPT, UNREADABLE = "kept", "unreadable"

log = logging.getLogger("pointsman.log")


class Came(NamedTuple):
    """A batch, where it came from, and its bytes."""

    connection: Connection
    records: Records
    size: int


class LogKeeper:
    """Keeps the log in `folder`. `wall` gives seconds since 1970, `monotonic` seconds."""

    def __init__(
        self,
        folder: Path,
        bounds: Bounds,
        interpreter: Interpreter,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        open_writer: Callable[[Path, Bounds, float], LogWriter] = LogWriter,
        sinks: Sequence[str] = (),
        more: Callable[[Status], Status] = lambda status: status,
        kept: Callable[[Section], None] | None = None,
    ) -> None:
        """`sinks`: names of those that records are sent on to; `more` adds to the status what others know;
        `kept` is told of everything that is on disk, in another thread."""
        self._folder = folder
        self._bounds = bounds
        self._interpreter = interpreter
        self._wall = wall
        self._monotonic = monotonic
        self._open_writer = open_writer
        self._sinks = sinks
        self._more = more
        self._told = kept
        self._trails: dict[str, Trail] = {}
        self._process = secrets.token_hex(8)
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._waiting: deque[Came] = deque()
        self._waiting_size = 0
        self._backlog = 0
        self._woken = threading.Condition()
        self._ending = False
        self._records: Counter[tuple[str, str]] = Counter()
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._told_of: set[str] = set()
        self._failure = "the prediction log is not open yet"
        self._newest = 0.0
        self._rolled = self._unrolled = 0
        self._size, self._segments = 0, 0
        self._writer: LogWriter | None = None
        self._draw = drawing.Draw()
        self._drawing = threading.Lock()
        self._to_roll = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._write, "log writer"), (self._look_after, "log roller"))
        ]

    async def open(self, listening: object) -> None:
        """Serve workers on the unix socket `listening`."""
        for thread in self._threads:
            thread.start()
        self._server = await self._loop.create_unix_server(
            lambda: Connection(self),
            sock=listening,  # type: ignore[arg-type]
        )

    async def close(self, within: float) -> None:
        """Keep what has come, as far as `within` seconds allow, and end."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.stop_reading()
        with self._woken:
            self._ending = True
            self._woken.notify_all()
        self._to_roll.set()
        await asyncio.to_thread(self._threads[0].join, within)
        for connection in tuple(self._connections):
            connection.close()

    def trail(self, sink: str) -> Trail | None:
        """How far that sink is; None while the folder is not open."""
        return self._trails.get(sink)

    def status(self) -> Status:
        """How the log is doing."""
        return self._more(self._own_status())

    def _own_status(self) -> Status:
        unsent = [
            Dropped(endpoint, f"unsent_{sink}", count)
            for sink, trail in self._trails.items()
            for endpoint, count in trail.lost.copy().items()
        ]
        return Status(
            self._process,
            [Counted(endpoint, outcome, n) for (endpoint, outcome), n in self._records.copy().items()],
            [Dropped(endpoint, reason, n) for (endpoint, reason), n in self._dropped.copy().items()] + unsent,
            self._backlog,
            self._newest,
            self._size,
            self._segments,
            self._failure,
            (self._rolled, self._unrolled),
        )

    def sampled(self) -> Sampled:
        """Some of the records that were written since this was last asked."""
        with self._drawing:
            found = self._draw.drawn()
        return Sampled(drawing.encode(found))

    # ---- the loop's side ------------------------------------------------------------------------------

    def joined(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self._waiting_size > MOST_WAITING:
            connection.pause()

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def came(self, connection: Connection, records: Records, size: int) -> None:
        """A batch, in its turn."""
        with self._woken:
            self._waiting.append(Came(connection, records, size))
            self._waiting_size += size
            self._backlog += _count(records)
            self._woken.notify_all()
        if self._waiting_size > MOST_WAITING:
            for one in self._connections:
                one.pause()

    def _kept(self, taken: list[Came], size: int) -> None:
        last: dict[Connection, Kept] = {}
        for one in taken:
            last[one.connection] = Kept(one.records.session, one.records.sequence)
        for connection, kept in last.items():
            connection.say(kept)
        before, self._waiting_size = self._waiting_size, self._waiting_size - size
        if before > MOST_WAITING >= self._waiting_size:
            for one_connection in self._connections:
                one_connection.resume()

    # ---- the writer's thread --------------------------------------------------------------------------

    def _write(self) -> None:
        while True:
            with self._woken:
                if not self._waiting and not self._ending:
                    self._woken.wait(PAUSE)
                if not self._waiting and self._ending:
                    break
                taken = self._take()
            try:
                self._write_some(taken)
            except Exception as error:  # this thread ends only with the process
                log.exception("the prediction log's writer failed")
                self._failure = str(error)
                self._put_back(taken)
                self._rest()
        if self._writer is not None:
            self._writer.close()

    def _take(self) -> list[Came]:
        taken: list[Came] = []
        count = 0
        while self._waiting and (not taken or count + _count(self._waiting[0].records) <= AT_ONCE):
            one = self._waiting.popleft()
            taken.append(one)
            count += _count(one.records)
        return taken

    def _put_back(self, taken: list[Came]) -> None:
        with self._woken:
            self._waiting.extendleft(reversed(taken))

    def _write_some(self, taken: list[Came]) -> None:
        """Keep batches, trying until they are on disk or the process ends."""
        made = [self._delivery(one.records) for one in taken]
        while (fresh := self._keep([delivery for delivery, _ in made])) is None:
            self._rest()
            if self._ending:
                return
        kept = {id(delivery) for delivery in fresh}
        with self._drawing:
            for delivery in fresh:
                self._draw.take(delivery.records)
        for (delivery, unreadable), one in zip(made, taken, strict=True):
            if id(delivery) in kept:  # what came twice is counted once
                for dropped in one.records.dropped:
                    self._dropped[dropped.endpoint, dropped.reason] += dropped.count
                self._records.update((record.endpoint, KEPT) for record in delivery.records)
                self._records.update(unreadable)
                if self._told is not None:
                    for section in one.records.sections:
                        self._told(section)
        if taken:
            count = sum(_count(one.records) for one in taken)
            size = sum(one.size for one in taken)
            with self._woken:
                self._backlog -= count
            self._loop.call_soon_threadsafe(self._kept, taken, size)

    def _keep(self, deliveries: list[Delivery]) -> list[Delivery] | None:
        """Have them on disk: those that were not there before; None when that is impossible now."""
        now = self._wall()
        fresh: list[Delivery] = []
        try:
            if self._writer is None:
                self._writer = self._opened(now)
            before = self._writer.number
            if deliveries:
                fresh = self._writer.keep(deliveries, now)
            else:
                self._writer.end_segment(now)
        except StateUnavailable as error:
            if self._failure != str(error):
                note(log, logging.ERROR, "the prediction log cannot be written", reason=str(error))
            self._failure = str(error)
            return None if deliveries else fresh
        if self._failure:
            note(log, logging.INFO, "the prediction log is written", folder=str(self._folder))
            self._failure = ""
        self._newest = self._writer.newest
        if self._writer.number != before:
            self._to_roll.set()
        return fresh

    def _opened(self, now: float) -> LogWriter:
        writer = self._open_writer(self._folder, self._bounds, now)
        try:
            self._trails = {sink: Trail(self._folder, sink) for sink in self._sinks}
        except StateUnavailable:
            writer.close()
            raise
        writer.trails = tuple(self._trails.values())
        return writer

    def _rest(self) -> None:
        with self._woken:
            if not self._ending:
                self._woken.wait_for(lambda: self._ending, PAUSE)

    def _delivery(self, batch: Records) -> tuple[Delivery, Counter[tuple[str, str]]]:
        """A batch's records, and how many were kept without what they say."""
        records: list[PredictionRecord] = []
        unreadable: Counter[tuple[str, str]] = Counter()
        for section in batch.sections:
            endpoint = section.context.endpoint
            for entry in section.entries:
                try:
                    record, read = self._interpreter.record(section.context, entry)
                except Exception as error:  # one payload must not keep all the others out
                    self._tell_of(endpoint, error)
                    record, read = self._interpreter.bare(section.context, entry), False
                records.append(record)
                if not read:
                    unreadable[endpoint, UNREADABLE] += 1
        return Delivery(batch.session, batch.sequence, records), unreadable

    def _tell_of(self, endpoint: str, error: Exception) -> None:
        if endpoint not in self._told_of:
            self._told_of.add(endpoint)
            expected = isinstance(error, PointsmanError)
            log.error(
                "payloads of endpoint %s are recorded unread: %s", endpoint, error,
                exc_info=None if expected else error,
            )  # fmt: skip

    # ---- the roller's thread --------------------------------------------------------------------------

    def _look_after(self) -> None:
        failed: dict[int, float] = {}
        can_roll = True
        while not self._ending:
            self._to_roll.wait(10 * PAUSE)
            self._to_roll.clear()
            writer = self._writer
            if writer is None or self._ending:
                continue
            try:
                if can_roll:
                    self._roll(writer, failed)
                writer.prune(self._wall())
                sizes = writer.sizes()
                self._size, self._segments = sum(sizes.values()), len(sizes)
            except ModuleNotFoundError:
                can_roll = False
                note(log, logging.INFO, "segments stay in SQLite: for Parquet pip install 'pointsman[log]'")
            except (StateUnavailable, OSError) as error:
                log.error("the prediction log cannot be pruned: %s", error)
            except Exception:  # this thread ends only with the process: without it the disk fills up
                log.exception("looking after the prediction log failed")

    def _roll(self, writer: LogWriter, failed: dict[int, float]) -> None:
        for number in writer.to_roll():
            if self._ending:
                return
            if failed.get(number, 0.0) > self._monotonic():
                continue
            try:
                rolling.roll(self._folder, number)
            except ModuleNotFoundError:
                raise
            except Exception as error:  # whatever is in this one, the others are rolled, and all are pruned
                self._unrolled += 1
                failed[number] = self._monotonic() + ROLL_AGAIN
                log.error("segment %d of the prediction log stays in SQLite for now: %s", number, error)
            else:
                self._rolled += 1
                failed.pop(number, None)


class Connection(asyncio.Protocol):
    """One worker, or somebody who watches."""

    def __init__(self, keeper: LogKeeper) -> None:
        self._keeper = keeper
        self._frames = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._keeper.joined(self)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._frames.feed(data):
                message = decode_to_log(payload)
                if isinstance(message, Records):
                    self._keeper.came(self, message, len(payload))
                elif isinstance(message, Watch):
                    self.say(self._keeper.status())
                else:
                    self.say(self._keeper.sampled())
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            note(log, logging.ERROR, "connection cut", reason=f"a malformed frame: {error}")
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._keeper.left(self)

    def say(self, message: FromLog) -> None:
        """Answer, if somebody is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(message))

    def pause(self) -> None:
        """Read no further for now."""
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def stop_reading(self) -> None:
        """Take nothing more; what was taken is still acknowledged."""
        self.pause()

    def close(self) -> None:
        """Send what is written, and end."""
        if self._transport is not None:
            self._transport.close()


def _count(records: Records) -> int:
    return sum(len(section.entries) for section in records.sections)
