"""Timeouts, retries, bodies that stream, and the end of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from domain.routing import Upstream, Version
from domain.snapshot import UnitKind, UnitSource
from tests.support.gateway import PATH, endpoint, eventually, gateway, post, serving_candidate
from tests.support.upstream import Heard, ScriptedUpstream, hang_up, response, saying, silence


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20)

    asyncio.run(bounded())


@pytest.mark.parametrize(("answer", "status"), [(silence, 504), (hang_up, 502), (saying(b"\x00"), 502)])
def test_an_incumbent_that_fails_is_named_in_a_problem_document(
    answer: object, status: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(answer) as one:  # type: ignore[arg-type]  # an Answer
            async with gateway(tmp_path, endpoint(one.port, timeout=0.3)) as running:
                client = await running.connect()
                client.writer.write(post(fields=b"\r\nX-Request-Id: r-9"))
                received = await client.response()
                assert received.status == status
                assert b"rain-1" in received.body
                assert b'"r-9"' in received.body
                one.answer = saying(response(b"[1]"))
                client.writer.write(post())
                assert (await client.response()).status == 200, "the client's connection lives on"
                client.close()

    _run(scenario)


def test_a_refused_incumbent_is_a_502_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(hang_up) as one:
            await one.stop()
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).status == 502
                client.close()

    _run(scenario)


def test_a_refused_connection_tries_the_versions_other_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(hang_up) as dead, ScriptedUpstream(saying(response(b"[1]"))) as alive:
            await dead.stop()
            servers = tuple(Upstream("127.0.0.1", port) for port in (dead.port, alive.port))
            async with gateway(
                tmp_path, replace(endpoint(1), incumbent=Version("rain-1", servers))
            ) as running:
                client = await running.connect()
                for _ in range(4):
                    client.writer.write(post())
                    assert (await client.response()).status == 200
                client.close()

    _run(scenario)


async def _second_unanswered(
    heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if heard.body == b"first":
        writer.write(response(b"ok"))
        return
    writer.close()


@pytest.mark.parametrize(("idempotent", "asked"), [(False, 1), (True, 2)])
def test_a_post_is_sent_twice_only_where_that_was_declared_harmless(
    idempotent: bool, asked: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(_second_unanswered) as one:
            async with gateway(tmp_path, endpoint(one.port, idempotent=idempotent)) as running:
                client = await running.connect()
                client.writer.write(post(b"first"))
                assert (await client.response()).status == 200
                client.writer.write(post(b"second"))
                assert (await client.response()).status == 502
                client.close()
            assert [heard.body for heard in one.heard].count(b"second") == asked

    _run(scenario)


def test_a_server_that_closes_idle_connections_fails_no_request(tmp_path: Path) -> None:
    async def closing(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"ok"))
        await writer.drain()
        asyncio.get_running_loop().call_later(0.1, writer.close)

    async def scenario() -> None:
        async with ScriptedUpstream(closing) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                for pause in (0.0, 0.2, 0.11, 0.12, 0.0, 0.15):
                    await asyncio.sleep(pause)
                    client.writer.write(post())
                    assert (await client.response()).status == 200
                client.close()

    _run(scenario)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_streams_through_unchanged(chunked: bool, tmp_path: Path) -> None:
    body = bytes(range(256)) * 12_000

    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"ok"))) as one,
            ScriptedUpstream(saying(response(b"ok"))) as two,
        ):
            async with gateway(tmp_path, endpoint(one.port, two.port)) as running:
                client = await running.connect()
                if chunked:
                    client.writer.write(
                        b"POST %b HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode()
                    )
                    for at in range(0, len(body), 50_000):
                        piece = body[at : at + 50_000]
                        client.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                        await client.writer.drain()
                    client.writer.write(b"0\r\n\r\n")
                else:
                    client.writer.write(post(body))
                assert (await client.response()).status == 200
                await eventually(lambda: two.heard, "it is mirrored too")
                client.close()
            assert one.heard[0].body == body
            assert two.heard[0].body == body

    _run(scenario)


def test_a_large_answer_is_not_held_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    sent = 0

    async def torrent(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(1024):
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async def scenario() -> None:
        async with ScriptedUpstream(torrent) as one:
            async with gateway(tmp_path, endpoint(one.port, timeout=15.0)) as running:
                client = await running.connect()
                client.writer.write(post())
                await asyncio.sleep(0.5)
                held = sent
                assert held < (32 << 20), "the server is held back"
                received = await client.response()
                assert len(received.body) == 64 << 20
                one.answer = saying(response(b"next"))
                client.writer.write(post())
                assert (await client.response()).body == b"next"
                client.close()

    _run(scenario)


def test_an_answer_before_the_end_of_the_request_is_relayed_and_the_connection_closed(tmp_path: Path) -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b"no", status="413 Too Large"))
        await writer.drain()
        await reader.read()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(early, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with gateway(tmp_path, endpoint(port)) as running:
            client = await running.connect()
            client.writer.write(post(b"x" * 3_000_000)[:600_000])
            received = await client.response()
            assert received.status == 413
            assert received.fields["connection"] == "close"
            client.close()
        server.close()

    _run(scenario)


@pytest.mark.parametrize(
    ("body", "arm"),
    [(b'{"user": {"id": "u"}}', "candidate"), (b"not json", "incumbent"), (b"{}", "incumbent")],
)
def test_a_unit_in_the_body_is_found_or_the_incumbent_serves(body: bytes, arm: str, tmp_path: Path) -> None:
    flags = (
        b'{"version":1,"features":[{"name":"f","enabled":true,"strategies":'
        b'[{"name":"userWithId","parameters":{"userIds":"u"}}]}]}'
    )

    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            unit = UnitSource(UnitKind.BODY, "/user/id")
            serving = serving_candidate(one.port, two.port, unit=unit, flag="f")
            async with gateway(tmp_path, serving, flags=flags) as running:
                client = await running.connect()
                client.writer.write(post(body))
                assert (await client.response()).fields["x-pointsman-arm"] == arm
                client.close()

    _run(scenario)


def test_a_draining_worker_finishes_what_it_began_and_says_close(tmp_path: Path) -> None:
    async def slow(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(response(b"late"))

    async def scenario() -> None:
        async with ScriptedUpstream(slow) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                busy, idle = await running.connect(), await running.connect()
                busy.writer.write(post())
                await eventually(lambda: one.heard, "the server is asked")
                running.worker.drain()
                received = await busy.response()
                assert (received.body, received.fields["connection"]) == (b"late", "close")
                assert await idle.reader.read() == b""
                await asyncio.wait_for(running.worker.drained(), 5)
                busy.close()
                idle.close()

    _run(scenario)


def test_a_streamed_answer_passes_through_piece_by_piece(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def stream(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        await released.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    async def scenario() -> None:
        async with ScriptedUpstream(stream) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                await client.reader.readuntil(b"\r\n\r\n")
                assert await client.reader.readexactly(10) == b"5\r\nfirst\r\n", "before the server said more"
                released.set()
                assert await client.reader.readexactly(16) == b"6\r\nsecond\r\n0\r\n\r\n"
                client.close()

    _run(scenario)


def test_an_http_1_0_client_gets_a_stream_without_chunks(tmp_path: Path) -> None:
    chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n"

    async def scenario() -> None:
        async with ScriptedUpstream(saying(chunks)) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                answer = await running.ask(b"GET %b HTTP/1.0\r\n\r\n" % PATH.encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == b"first"
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head

    _run(scenario)
