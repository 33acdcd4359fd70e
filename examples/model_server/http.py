"""Just enough HTTP/1.1 to serve a model: keep-alive, Content-Length and chunked requests, 100-continue.

A web framework would cost several times what the model does, on the machine of the gateway that is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

MAX_BODY = 8 * 1024 * 1024
MAX_HEAD = 32 * 1024
IDLE_SECONDS = 75.0
LINGER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer; `allow` lists the methods with a 405."""

    status: int
    body: bytes
    allow: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's first line and headers (names in lower case)."""

    method: str
    path: str
    minor: int
    headers: dict[str, str]

    @property
    def keeps_alive(self) -> bool:
        wish = self.headers.get("connection", "").lower()
        return wish == "keep-alive" if self.minor == 0 else wish != "close"


class RefusedError(Exception):
    """The request cannot be served and the connection cannot go on."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


Respond = Callable[[str, str, bytes], Answer]
Refuse = Callable[[str], bytes]


class Exchanges:
    """Serves connections: `respond(method, path, body)` makes answers, `refuse(reason)` error bodies."""

    def __init__(self, respond: Respond, refuse: Refuse) -> None:
        self._respond = respond
        self._refuse = refuse

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first request to its last."""
        try:
            goes_on = True
            while goes_on:
                goes_on = await self._one(reader, writer)
                await writer.drain()
        except RefusedError as error:
            writer.write(_message(Answer(error.status, self._refuse(str(error))), "", keep=False))
            await _linger(reader)
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            pass  # the client left, or stayed idle for long: nobody is there to be answered
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                head = read_head(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.LimitOverrunError:
            raise RefusedError(431, f"the head is over {MAX_HEAD} bytes") from None
        if head.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _read_body(reader, head.headers)
        answer = self._respond(head.method, head.path, body)
        writer.write(_message(answer, head.method, keep=head.keeps_alive))
        return head.keeps_alive


def read_head(raw: bytes) -> Head:
    """Raises RefusedError for what is not HTTP/1.x."""
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise RefusedError(400, f"not an HTTP/1.1 request: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise RefusedError(400, f"not a header: {line[:80]!r}")
        headers[name.lower()] = value.strip()
    return Head(words[0], words[1].partition("?")[0], int(words[2][-1]), headers)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise RefusedError(
                400, f"transfer-encoding {coding!r} with content-length {length!r}: send one of them"
            )
        return await _read_chunks(reader)
    if length is None:
        return b""
    if not (length.isascii() and length.isdigit()):
        raise RefusedError(400, f"content-length is {length[:40]!r}: a number of bytes")
    if len(length) > 10 or int(length) > MAX_BODY:
        raise RefusedError(413, f"the body is over {MAX_BODY} bytes")
    return await reader.readexactly(int(length))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := await _chunk_size(reader):
        if len(body) + size > MAX_BODY:
            raise RefusedError(413, f"the body is over {MAX_BODY} bytes")
        body += await reader.readexactly(size)
        await reader.readuntil(b"\r\n")
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers say nothing to us
    return bytes(body)


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    text = (await reader.readuntil(b"\r\n")).split(b";")[0].strip()
    try:
        if not text.isalnum():
            raise ValueError
        return int(text, 16)
    except ValueError:
        raise RefusedError(400, f"not a chunk's size: {text[:40]!r}") from None


async def _linger(reader: asyncio.StreamReader) -> None:
    """Closing on unread bytes would reset the connection and lose the answer: read what comes for a while."""
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while await reader.read(MAX_HEAD):
                pass
    except (TimeoutError, ConnectionError):
        pass  # the client had its time


def _message(answer: Answer, method: str, *, keep: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        "content-type: application/json",
        f"content-length: {len(answer.body)}",
    ]
    if answer.allow:
        lines.append(f"allow: {answer.allow}")
    if not keep:
        lines.append("connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if method == "HEAD" else head + answer.body
