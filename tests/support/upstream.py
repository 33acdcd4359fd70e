"""A model server that answers by script and remembers every byte it was sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from gateway.chunks import ChunkDecoder

Answer = Callable[["Heard", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Heard:
    """One request as it arrived: `raw` head bytes and the decoded body."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head
        self.body = body

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n")[0]

    @property
    def fields(self) -> dict[str, str]:
        """Names in lower case; repeated ones joined by '|'."""
        found: dict[str, str] = {}
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            key = name.lower()
            found[key] = f"{found[key]}|{value.strip()}" if key in found else value.strip()
        return found


def response(body: bytes, *, status: str = "200 OK", fields: bytes = b"") -> bytes:
    """A whole response with a Content-Length."""
    return b"HTTP/1.1 %b\r\ncontent-length: %d%b\r\n\r\n%b" % (status.encode(), len(body), fields, body)


def saying(data: bytes, *, close: bool = False) -> Answer:
    """An answer of exactly these bytes."""

    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return answer


async def silence(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never answer; end when the gateway hangs up."""
    while await reader.read(65536):
        pass
    writer.close()


async def hang_up(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close without an answer."""
    writer.close()


class ScriptedUpstream:
    """`answer` may be replaced at any time; `heard` holds every request; `connections` counts the opened."""

    def __init__(self, answer: Answer, *, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.tls = tls
        self.heard: list[Heard] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> ScriptedUpstream:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections from now on and cut the open ones."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0.01)  # for the transports' own last callbacks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while not writer.is_closing():
                heard = await _read_request(reader)
                self.heard.append(heard)
                await self.answer(heard, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
    heard = Heard(head, b"")
    fields = heard.fields
    if fields.get("transfer-encoding") == "chunked":
        decoder = ChunkDecoder()
        pieces: list[bytes] = []
        while not decoder.done:
            data = await reader.read(65536)
            if not data:
                raise asyncio.IncompleteReadError(b"", None)
            pieces += decoder.feed(data)
        heard.body = b"".join(pieces)
    else:
        heard.body = await reader.readexactly(int(fields.get("content-length", "0")))
    return heard
