"""A real HTTP server that is told things: it answers as it is told to, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

PATIENCE = 20.0


class Received(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `hangs` gives none at all."""

    status: int = 200
    headers: Mapping[str, str] | None = None
    body: bytes = b"ok"
    hangs: bool = False
    cut: bool = False


class HttpReceiver:
    """Answers with `replies`, one after the other, and with `usual` when there are none left."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.replies: deque[Reply] = deque()
        self.usual = Reply()
        self.port = 0
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def count(self, wanted: int) -> list[Received]:
        """What was received, once there are `wanted` of them."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: len(self.received) >= wanted), PATIENCE)
        return self.received

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side went away, which some tests want
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        reply = self.replies.popleft() if self.replies else self.usual
        async with self._news:
            self.received.append(Received(head[0].split(" ")[1], headers, body))
            self._news.notify_all()
        if reply.hangs:
            await reader.read()  # until the other side has had enough
            return
        if reply.cut:
            return
        fields = {"Content-Length": str(len(reply.body)), "Connection": "close", **(reply.headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode() + reply.body)
        await writer.drain()


@asynccontextmanager
async def receiving(
    port: int = 0, tls: ssl.SSLContext | None = None, receiver: HttpReceiver | None = None
) -> AsyncIterator[HttpReceiver]:
    """A receiver on 127.0.0.1."""
    found = receiver or HttpReceiver()
    server = await asyncio.start_server(found.serve, "127.0.0.1", port, ssl=tls)
    found.port = int(server.sockets[0].getsockname()[1])
    try:
        yield found
    finally:
        server.close()
