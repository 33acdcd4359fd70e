"""A gateway worker inside the test's event loop, with no process around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from domain.observation import Pair
from domain.routing import FULL_WEIGHT, Mode, Upstream, Version
from domain.snapshot import Endpoint, Snapshot, UnitKind, UnitSource
from gateway import sockets
from gateway.boot import Boot
from gateway.certificates import Certificate
from gateway.client import ClientConnection
from gateway.worker import Worker
from settings.schema import Address, Downstream, UnixAddress
from shadow.wire import (
    Acknowledged,
    Applied,
    Batch,
    BreakerOpened,
    FrameBuffer,
    FromWorker,
    Publish,
    TakenOut,
    decode_from_worker,
    frame,
)

PATH = "/v2/models/rain/infer"
LOOPBACK = Address("127.0.0.1", 0)


def version(name: str, *ports: int) -> Version:
    return Version(name, tuple(Upstream("127.0.0.1", port) for port in ports))


def endpoint(incumbent: int, candidate: int | None = None, **changes: object) -> Endpoint:
    """An endpoint `rain` whose servers listen at these ports; the candidate only mirrors unless changed."""
    base = Endpoint(
        name="rain",
        path=PATH,
        incumbent=version("rain-1", incumbent),
        candidate=None if candidate is None else version("rain-2", candidate),
        unit=UnitSource(UnitKind.HEADER, "x-user-id"),
        release="rain:rain-2",
        tripped=False,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # any field of Endpoint, checked by itself


def serving_candidate(incumbent: int, candidate: int, **changes: object) -> Endpoint:
    """The candidate serves every unit."""
    return endpoint(incumbent, candidate, mode=Mode.CANARY, weight=FULL_WEIGHT, **changes)


class Control:
    """The control process's end of the link: keeps what it hears, publishes what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[FromWorker] = []
        self.acknowledges = True
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """Die: cut every link and listen no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        frames = FrameBuffer()
        try:
            while data := await reader.read(1 << 20):
                for payload in frames.feed(data):
                    message = decode_from_worker(payload)
                    self.heard.append(message)
                    if isinstance(message, Batch) and self.acknowledges:
                        writer.write(frame(Acknowledged(message.session, message.sequence)))
        except ConnectionError:
            pass
        finally:
            writer.close()

    def publish(self, snapshot: Snapshot) -> None:
        for writer in self._writers:
            writer.write(frame(Publish(snapshot)))

    def take_out(self, endpoint: str, generation: int) -> None:
        for writer in self._writers:
            writer.write(frame(TakenOut(endpoint, generation)))

    @property
    def pairs(self) -> list[Pair]:
        """Every pair handed over, re-sent batches counted once."""
        seen: dict[tuple[str, int], Batch] = {}
        for message in self.heard:
            if isinstance(message, Batch):
                seen.setdefault((message.session, message.sequence), message)
        return [pair for batch in seen.values() for pair in batch.pairs]

    @property
    def batches(self) -> list[Batch]:
        return [message for message in self.heard if isinstance(message, Batch)]

    @property
    def breakers(self) -> list[BreakerOpened]:
        return [message for message in self.heard if isinstance(message, BreakerOpened)]

    @property
    def applied(self) -> list[int]:
        return [message.generation for message in self.heard if isinstance(message, Applied)]


class Running:
    """A worker that serves at `port`."""

    def __init__(self, worker: Worker, port: int, control: Control) -> None:
        self.worker = worker
        self.port = port
        self.control = control

    async def connect(self) -> Client:
        before = set(self.worker.clients)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await eventually(lambda: set(self.worker.clients) - before, "the connection is accepted")
        return Client(reader, writer, (set(self.worker.clients) - before).pop())

    async def ask(self, data: bytes) -> bytes:
        """Send `data` on a new connection, close our side, and read until the gateway closes its own."""
        client = await self.connect()
        client.writer.write(data)
        await client.writer.drain()
        client.writer.write_eof()
        answer = await client.reader.read()
        client.writer.close()
        return answer


class Client:
    """A raw connection; `server_side` is the gateway's protocol object for it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server_side: ClientConnection
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.server_side = server_side

    def feed(self, data: bytes, *, size: int) -> None:
        """Hand `data` to the gateway in reads of `size` bytes, whatever the kernel would make of it."""
        for at in range(0, len(data), size):
            if not self.server_side.transport.is_closing():
                self.server_side.data_received(data[at : at + size])

    async def response(self, *, head_only: bool = False) -> Received:
        """The next response."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        received = Received(head, b"")
        if received.fields.get("transfer-encoding") == "chunked":
            body = b""
            while (size := int(await self.reader.readline(), 16)) > 0:
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            received.body = body
        elif not head_only and received.status not in (204, 304):
            received.body = await self.reader.readexactly(int(received.fields.get("content-length", "0")))
        return received

    def close(self) -> None:
        self.writer.close()


class Received:
    """A response as the client read it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head
        self.body = body

    @property
    def status(self) -> int:
        return int(self.head[9:12])

    @property
    def fields(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").strip().split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def post(body: bytes = b"{}", *, unit: str = "u1", fields: bytes = b"", path: str = PATH) -> bytes:
    """A prediction request."""
    return b"POST %b HTTP/1.1\r\nHost: models\r\nX-User-Id: %b\r\nContent-Length: %d%b\r\n\r\n%b" % (
        path.encode(), unit.encode(), len(body), fields, body,
    )  # fmt: skip


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition()` holds; fails after a minute by naming `what`."""
    for _ in range(12_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never happened: {what}")


@asynccontextmanager
async def gateway(
    folder: Path,
    *endpoints: Endpoint,
    flags: bytes | None = None,
    control: bool = True,
    drain: float = 5.0,
    downstream: Downstream | None = None,
    certificates: tuple[Certificate, ...] = (),
    address: Address | UnixAddress = LOOPBACK,
    log: str = "",
) -> AsyncIterator[Running]:
    """A worker that serves `endpoints`, with (unless `control` is False) a Control that it is linked to."""
    snapshot = build(endpoints, flags=flags)
    (listening,) = sockets.bind(address, 1)
    name = listening.getsockname()
    far_end = Control(folder / "link.sock")
    if control:
        await far_end.start()
    boot = Boot(
        0, listening.fileno(), str(far_end.path), drain, b"k" * 32, snapshot,
        downstream or Downstream(), certificates, log=log,
    )  # fmt: skip
    worker = Worker(boot, asyncio.get_running_loop())
    await worker.start(listening)
    if control:
        await eventually(lambda: far_end.heard, "the worker is linked")
    try:
        yield Running(worker, name[1] if isinstance(name, tuple) else 0, far_end)
    finally:
        await worker.stop()
        await far_end.stop()
        await asyncio.sleep(0.01)  # for the transports' own last callbacks


def build(endpoints: Sequence[Endpoint], *, generation: int = 1, flags: bytes | None = None) -> Snapshot:
    snapshot = Snapshot(generation, tuple(endpoints))
    return snapshot if flags is None else replace(snapshot, flags=flags)
