"""Servers that fail below HTTP: that do not accept, that cut, that hang."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.upstream import Heard

_LINGER = struct.pack("ii", 1, 0)


@asynccontextmanager
async def hanging_port() -> AsyncIterator[int]:
    """A port whose connects hang: the backlog is full and nobody accepts, so that SYNs are dropped."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listening.getsockname())
        fillers.append(filler)
    await asyncio.sleep(0.05)  # the kernel finishes the handshakes that fit
    try:
        yield listening.getsockname()[1]
    finally:
        for one in (*fillers, listening):
            one.close()


def refusing_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


async def reset(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a whole request with RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()


class FaultProxy:
    """A TCP proxy to `target` (a port of this machine) whose faults may change at any time.

    Attributes:
        down: refuse connections; set by `break_down` and `come_back`.
        blackhole: swallow what is sent, pass on nothing.
        most: connections that were open at the same time, at the most.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.blackhole = False
        self.opened = 0
        self.most = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> FaultProxy:
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.break_down()

    async def come_back(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def break_down(self) -> None:
        """Refuse connections and reset the open ones."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0.01)  # for the transports' own last callbacks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.opened += 1
        self._open.add(writer)
        self.most = max(self.most, len(self._open))
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(far_writer)
            await self._greet(reader, writer)
            await asyncio.gather(self._pipe(reader, far_writer), self._pipe(far_reader, writer))
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # one side is gone, or did not trust the other, or `break_down` ends both
        finally:
            self._open.discard(writer)
            for one in writers:
                one.transport.abort()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What whoever connects has to go through first: nothing."""

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.blackhole:
                writer.write(data)
                await writer.drain()
        raise ConnectionResetError
