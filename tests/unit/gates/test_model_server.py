"""A model server's answer is waited for as long as is said, and not longer."""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import GateError
from gates import server as servers
from gates.server import ModelServer
from tests.support.trials import settings_of

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"


async def asked(part: bytes, every: float, patience: float) -> None:
    """Ask a server that sends `part` again and again, `every` seconds."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD)
            while True:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(every)
        except ConnectionError:
            writer.close()
            ended.set()

    ended = asyncio.Event()
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = int(listening.sockets[0].getsockname()[1])
    version = settings_of(port, port, {}).endpoints[0].incumbent
    try:
        async with ModelServer(version, "/infer", patience) as server:
            await server.predict(b"{}")
    finally:
        await ended.wait()  # the client has hung up
        listening.close()


def test_a_server_that_drips_is_too_late() -> None:
    async def scenario() -> None:
        with pytest.raises(GateError, match=r"gives no answer: none within 0\.3 s"):
            async with asyncio.timeout(20):
                await asked(b" ", 0.01, 0.3)

    asyncio.run(scenario())


def test_an_answer_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LARGEST", 5000)
    with pytest.raises(GateError, match="more than 5000 bytes"):
        asyncio.run(asked(b" " * 1000, 0.001, 20.0))
