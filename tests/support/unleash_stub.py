"""A server where Unleash should be, which answers what a test wants: faults that a real one will not do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

TOKEN = "default:development.not-a-real-secret"


class Asked(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def feature(name: str = "canary", rollout: str = "100", *, enabled: bool = True) -> dict[str, Any]:
    parameters = {"rollout": rollout, "stickiness": "default", "groupId": name}
    strategy = {"name": "flexibleRollout", "parameters": parameters, "constraints": []}
    return {"name": name, "enabled": enabled, "strategies": [strategy]}


def features(*listed: dict[str, Any]) -> bytes:
    return json.dumps({"version": 2, "features": list(listed)}).encode()


class Stub:
    """Answers every request by `answer`; `asked` has all of them."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[Asked] = []
        self.answer: Answer = status(503)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def serve(self, document: bytes) -> None:
        """From now on `document`, with an ETag, and 304 for whoever has it."""
        self.answer = with_etag(document)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(method, target, headers)
                self.asked.append(asked)
                await self.answer(asked, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()


def written(code: int, body: bytes = b"", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {code} Stub", f"content-length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status(code: int, body: bytes = b"", *fields: str) -> Answer:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(written(code, body, *fields))

    return answer


def with_etag(document: bytes) -> Answer:
    etag = f'"{hash(document)}"'

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.headers.get("if-none-match") == etag:
            writer.write(b"HTTP/1.1 304 Not Modified\r\n\r\n")
        else:
            writer.write(written(200, document, f"etag: {etag}"))

    return answer


@asynccontextmanager
async def stub() -> AsyncIterator[Stub]:
    """A running stub."""
    serving = Stub()
    server = await asyncio.start_server(serving.handle, "127.0.0.1", 0)
    serving.port = server.sockets[0].getsockname()[1]
    try:
        yield serving
    finally:
        server.close()
        for _ in range(3):  # for the connections' own last callbacks
            await asyncio.sleep(0)
