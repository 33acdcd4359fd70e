"""What is kept of an upload stays within bounds, however it comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from domain.snapshot import ShadowLimits
from gateway.chunks import MOST_TINY
from tests.support.gateway import PATH, endpoint, eventually, gateway
from tests.support.upstream import ScriptedUpstream, response, saying


def test_what_is_kept_of_an_upload_for_its_mirror_is_in_the_budget(tmp_path: Path) -> None:
    size = 24 << 20

    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            served = endpoint(one.port, two.port, max_body=64 << 20, shadow=ShadowLimits(max_bytes=1 << 20))
            async with gateway(tmp_path, served) as running:
                client = await running.connect()
                client.writer.write(
                    b"POST %b HTTP/1.1\r\nHost: m\r\nX-User-Id: u\r\nContent-Length: %d\r\n\r\n"
                    % (PATH.encode(), size)
                )
                client.writer.write(b"x" * (size - 1))
                await client.writer.drain()
                exchange = client.server_side._exchange
                assert exchange is not None
                message = exchange.message
                await eventually(lambda: message.size == size - 1, "all but a byte has come")
                held = sum(map(len, message._pieces))
                client.writer.write(b"x")
                assert (await client.response()).status == 200
                client.close()
                assert held <= 2 << 20

    asyncio.run(scenario())


def test_tiny_chunks_are_kept_together(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.feed(
                    b"POST %b HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode(),
                    size=1000,
                )
                client.feed(b"2\r\nxy\r\n" * 16_000, size=65536)
                exchange = client.server_side._exchange
                assert exchange is not None
                assert exchange.message.size == 32_000
                kept = len(exchange.message._pieces)
                client.feed(b"0\r\n\r\n", size=10)
                assert (await client.response()).status == 200
                client.close()
                assert kept < 50

    asyncio.run(scenario())


def test_a_flood_of_tiny_chunks_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.writer.write(
                    b"POST %b HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode()
                    + b"2\r\nxy\r\n" * (MOST_TINY + 1)
                )
                assert (await client.response()).status == 400
                client.close()

    asyncio.run(scenario())
