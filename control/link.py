"""The unix socket that the gateway workers connect to.

Each worker says Hello and is answered with the current snapshot; from then on every new snapshot is pushed
to it, and it answers Applied when no request is admitted under an older one. `confirmed` is what a trip
waits for: every worker that is connected has applied the generation. A worker that leaves no longer counts;
it serves from its last snapshot and gets the newest one when it comes back.

Whoever sends bytes that are not our messages is cut off and counted: the link is between processes of one
release, so a malformed frame is a defect or an intruder, and neither gets better by being read on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Protocol, cast

import msgspec

from control.clock import Clock
from control.log import note
from domain.errors import ConfigError
from domain.snapshot import Snapshot
from shadow.wire import (
    Acknowledged,
    Applied,
    Asked,
    Batch,
    BreakerOpened,
    FrameBuffer,
    FromWorker,
    Hello,
    Publish,
    TakenOut,
    decode_from_worker,
    frame,
)

CONFIRMATION = 1.0
"""Seconds that a trip waits for the workers."""

LONGEST_UNREAD = 64 * 1024 * 1024
"""Bytes that a worker may leave unread before it is cut off."""

HIGHEST_GENERATION = 2**53
"""A Hello that names more is not from a worker of ours."""

_LONGEST_PATH = 107

log = logging.getLogger("pointsman.link")


class Listener(Protocol):
    """What the link tells its owner."""

    def greeted(self, hello: Hello) -> Snapshot:
        """A worker is there; answers the snapshot it shall serve from."""

    def received(self, batch: Batch) -> None:
        """A batch came; it may have come before."""

    def breaker_opened(self, worker: int, message: BreakerOpened) -> None:
        """A worker stopped asking a candidate by itself."""

    def asked(self, session: str, message: Asked) -> None:
        """The worker of `session` wants to know of units."""


class Worker:
    """One connected worker: who it is, and the generation it decides by."""

    def __init__(self, hello: Hello, transport: asyncio.Transport) -> None:
        self.number = hello.worker
        self.session = hello.session
        self.pid = hello.pid
        self.generation = hello.generation
        self.applied_at = 0.0
        self.transport = transport

    def __repr__(self) -> str:
        return f"<Worker {self.number} pid {self.pid} generation {self.generation}>"


class Link:
    """The server side of the link. `faults` counts connections cut off for what they sent."""

    def __init__(self, clock: Clock) -> None:
        self.faults = 0
        self.clock = clock
        self._listener: Listener | None = None
        self._workers: set[Worker] = set()
        self._connections: set[Connection] = set()
        self._waiting: set[tuple[int, asyncio.Future[None]]] = set()
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    async def open(self, path: str, listener: Listener) -> None:
        """Listen on the unix socket `path`, readable and writable for the owner only."""
        self._listener = listener
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self), sock=bound(path))
        self._path = Path(path)

    async def close(self) -> None:
        """Stop listening and let every worker go."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.close()
        if self._server is not None:
            await self._server.wait_closed()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The connected workers by number."""
        return tuple(sorted(self._workers, key=lambda worker: worker.number))

    def take_out(self, endpoint: str, generation: int) -> None:
        """Have every worker stop asking the candidate of `endpoint`, ahead of the snapshot `generation`."""
        if self._workers:
            message = frame(TakenOut(endpoint, generation))
            for worker in tuple(self._workers):
                self.send(worker, message)

    def publish(self, snapshot: Snapshot) -> None:
        """Push `snapshot` to every worker."""
        if self._workers:
            message = frame(Publish(snapshot))
            for worker in tuple(self._workers):
                self.send(worker, message)

    def acknowledge(self, session: str, sequence: int) -> None:
        """Tell the worker of `session` that everything up to `sequence` is kept."""
        for worker in tuple(self._workers):
            if worker.session == session:
                self.send(worker, frame(Acknowledged(session, sequence)))

    def send(self, worker: Worker, message: bytes) -> None:
        """Write to `worker`; one that has stopped reading is cut off."""
        if worker.transport.is_closing():
            return
        if worker.transport.get_write_buffer_size() > LONGEST_UNREAD:
            self.fault(f"worker {worker.number} does not read what it is sent")
            worker.transport.abort()
            return
        worker.transport.write(message)

    async def confirmed(self, generation: int, within: float = CONFIRMATION) -> float | None:
        """Wait until every connected worker decides by `generation` or a newer one.

        Answers the monotonic time of the last confirmation (now when nobody is connected), or None when
        `within` seconds were not enough.
        """
        if not self._have_applied(generation):
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            entry = (generation, waiting)
            self._waiting.add(entry)
            try:
                await asyncio.wait_for(waiting, within)
            except TimeoutError:
                return None
            finally:
                self._waiting.discard(entry)
        last = max((worker.applied_at for worker in self._workers), default=0.0)
        return last or self.clock.monotonic()

    def serves(self, generation: int, expected: int) -> bool:
        """Whether `expected` workers are connected and all of them decide by `generation`."""
        numbers = {worker.number for worker in self._workers}
        return len(numbers) >= expected and self._have_applied(generation)

    def _have_applied(self, generation: int) -> bool:
        return all(worker.generation >= generation for worker in self._workers)

    def _look_again(self) -> None:
        for generation, waiting in tuple(self._waiting):
            if not waiting.done() and self._have_applied(generation):
                waiting.set_result(None)

    # What the connections report.

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)

    def joined(self, hello: Hello, transport: asyncio.Transport) -> Worker:
        """Greet a worker. An older connection of the same worker is given up: it has only not ended yet."""
        for earlier in [worker for worker in self._workers if worker.number == hello.worker]:
            self._workers.discard(earlier)
            earlier.transport.abort()
        assert self._listener is not None  # noqa: S101 - connections exist only after open()
        snapshot = self._listener.greeted(hello)
        worker = Worker(hello, transport)
        self._workers.add(worker)
        note(
            log,
            logging.INFO,
            "worker connected",
            worker=worker.number,
            pid=worker.pid,
            serves=hello.generation,
        )
        self.send(worker, frame(Publish(snapshot)))
        self._look_again()
        return worker

    def heard(self, worker: Worker, message: FromWorker) -> None:
        assert self._listener is not None  # noqa: S101 - connections exist only after open()
        match message:
            case Applied(generation):
                worker.generation = generation
                worker.applied_at = self.clock.monotonic()
                self._look_again()
            case Batch():
                self._listener.received(message)
            case BreakerOpened():
                self._listener.breaker_opened(worker.number, message)
            case Asked():
                self._listener.asked(worker.session, message)
            case Hello():
                self.fault(f"worker {worker.number} said Hello twice on one connection")
                worker.transport.abort()

    def left(self, connection: Connection, worker: Worker | None) -> None:
        self._connections.discard(connection)
        if worker is not None and worker in self._workers:
            self._workers.discard(worker)
            note(log, logging.WARNING, "worker disconnected", worker=worker.number, pid=worker.pid)
        self._look_again()

    def fault(self, reason: str) -> None:
        self.faults += 1
        note(log, logging.ERROR, "link cut", reason=reason)


class Connection(asyncio.Protocol):
    """One connection: bytes to messages, Hello first."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._frames = FrameBuffer()
        self._worker: Worker | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transport in all but their base class.
        self._transport = cast("asyncio.Transport", transport)
        self._link.opened(self)

    def data_received(self, data: bytes) -> None:
        frames = self._frames.feed(data)
        while self._transport is not None and not self._transport.is_closing():
            try:
                payload = next(frames, None)
                message = None if payload is None else decode_from_worker(payload)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                self._cut(f"a malformed frame: {error}")
                return
            if message is None:
                return
            self._heard(message)

    def _heard(self, message: FromWorker) -> None:
        if self._worker is not None:
            self._link.heard(self._worker, message)
        elif not isinstance(message, Hello):
            self._cut(f"{type(message).__name__} came before Hello")
        elif not 0 <= message.generation <= HIGHEST_GENERATION or not 0 <= message.worker <= 65_535:
            self._cut(f"Hello names generation {message.generation} of worker {message.worker}")
        elif self._transport is not None:
            self._worker = self._link.joined(message, self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._link.left(self, self._worker)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _cut(self, reason: str) -> None:
        self._link.fault(reason)
        if self._transport is not None:
            self._transport.abort()


def bound(path: str) -> socket.socket:
    """A unix socket bound to `path` with mode 0600; one left there by a process that died is replaced."""
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ConfigError("--link", path, f"a unix socket's path has at most {_LONGEST_PATH} bytes")
    try:
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            Path(path).unlink()
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(path)
    except OSError as error:
        listening.close()
        raise ConfigError("--link", path, f"give a path where a socket can be made ({error})") from error
    finally:
        os.umask(before)
    return listening
