"""What a model server may answer, what the client gets of it, and what is refused: RFC 9112, case by case."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateway import PATH, Client, endpoint, gateway, post
from tests.support.upstream import Heard, ScriptedUpstream, response, saying

OK = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True)
class Case:
    """`body` None: the client gets a 502. `reused`: the next request goes over the same connection."""

    name: str
    section: str
    answer: bytes
    body: bytes | None
    reused: bool
    closes: bool = False
    status: int = 200


CASES = [
    Case("content-length", "6.2", OK + b"content-length: 4\r\n\r\nrain", b"rain", True),
    Case("zero length", "6.2", OK + b"content-length: 0\r\n\r\n", b"", True),
    Case("chunked", "7.1", OK + b"transfer-encoding: chunked\r\n\r\n2\r\nra\r\n2\r\nin\r\n0\r\n\r\n", b"rain", True),
    Case("chunked with a trailer", "7.1.2", OK + b"transfer-encoding: chunked\r\n\r\n4\r\nrain\r\n0\r\nx-evil: 1\r\n\r\n", b"rain", True),
    Case("close-delimited", "6.3", OK + b"\r\nrain", b"rain", False, closes=True),
    Case("connection: close", "9.6", OK + b"connection: close\r\ncontent-length: 4\r\n\r\nrain", b"rain", False),
    Case("HTTP/1.0", "9.3", b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nrain", b"rain", False),
    Case("HTTP/1.0 close-delimited", "6.3", b"HTTP/1.0 200 OK\r\n\r\nrain", b"rain", False, closes=True),
    Case("204", "6.3", b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, status=204),
    Case("304", "6.3", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", b"", True, status=304),
    Case("no reason phrase", "4", b"HTTP/1.1 200\r\ncontent-length: 4\r\n\r\nrain", b"rain", True),
    Case("an error of the model", "9110 15", b"HTTP/1.1 422 No\r\ncontent-length: 4\r\n\r\nrain", b"rain", True, status=422),
    Case("100 first", "9110 15.2.1", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 4\r\n\r\nrain", b"rain", True),
    Case("surplus bytes", "9.3", OK + b"content-length: 4\r\n\r\nrainHTTP/1.1 200 OK\r\n\r\n", b"rain", False),
    Case("surplus after chunks", "9.3", OK + b"transfer-encoding: chunked\r\n\r\n4\r\nrain\r\n0\r\n\r\nmore", b"rain", False),
    Case("surplus after 204", "9.3", b"HTTP/1.1 204 No Content\r\n\r\nrain", b"", False, status=204),
    Case("two lengths", "6.3", OK + b"content-length: 4\r\ncontent-length: 5\r\n\r\nrain", None, False),
    Case("signed length", "9110 8.6", OK + b"content-length: +4\r\n\r\nrain", None, False),
    Case("length and chunked", "6.3", OK + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", None, False),
    Case("other coding", "6.1", OK + b"transfer-encoding: gzip\r\n\r\nrain", None, False),
    Case("obs-fold", "5.2", OK + b"x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n", None, False),
    Case("bare LF", "2.2", b"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n", None, False),
    Case("NUL in a value", "9110 5.5", OK + b"x-a: \x00\r\ncontent-length: 0\r\n\r\n", None, False),
    Case("space before the colon", "5.1", OK + b"x-a : b\r\ncontent-length: 0\r\n\r\n", None, False),
    Case("unasked 101", "9110 15.2.2", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", None, False),
    Case("flood of 1xx", "9110 15.2", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200, None, False),
    Case("status of two digits", "4", b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n", None, False),
    Case("status 600", "9110 15", b"HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n", None, False),
    Case("HTTP/2.0", "2.3", b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", None, False),
    Case("not HTTP", "4", b"SSH-2.0-OpenSSH_9.2\r\n", None, False),
    Case("too many fields", "5", OK + b"".join(b"x-%d: y\r\n" % n for n in range(120)) + b"\r\n", None, False),
    Case("endless head", "5", OK + b"x-a: " + b"y" * 70_000, None, False),
]  # fmt: skip


async def _exchange(folder: Path, case: Case, slices: int) -> None:
    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = slices or len(case.answer)
        for at in range(0, len(case.answer), size):
            writer.write(case.answer[at : at + size])
            await writer.drain()
            if slices:
                await asyncio.sleep(0)
        if case.closes:
            writer.close()

    async with ScriptedUpstream(answer) as upstream:
        async with gateway(folder, endpoint(upstream.port)) as running:
            client = await running.connect()
            client.writer.write(post())
            while (answered := await client.response()).status == 103:
                pass
            if case.body is None:
                assert answered.status == 502
                assert answered.fields["content-type"] == "application/problem+json"
            else:
                assert (answered.status, answered.body) == (case.status, case.body)
                assert "x-evil" not in answered.fields
            await asyncio.sleep(0.02)
            upstream.answer = saying(response(b"next"))
            client.writer.write(post())
            following = await client.response()
            assert (following.status, following.body) == (200, b"next"), "no surplus byte is the next answer"
            client.close()
        assert (upstream.connections == 1) == case.reused


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("feeding", ["whole", "bytes"])
def test_each_answer_reaches_the_client_whole_or_not_at_all(case: Case, feeding: str, tmp_path: Path) -> None:
    asyncio.run(_exchange(tmp_path, case, 0 if feeding == "whole" or len(case.answer) > 9000 else 1))


CUT = [
    Case("short body", "6.3", OK + b"content-length: 9\r\n\r\nrain", None, False),
    Case("chunk cut", "7.1", OK + b"transfer-encoding: chunked\r\n\r\n9\r\nrain", None, False),
    Case("no last chunk", "7.1", OK + b"transfer-encoding: chunked\r\n\r\n4\r\nrain\r\n", None, False),
    Case(
        "malformed chunk", "7.1", OK + b"transfer-encoding: chunked\r\n\r\n4\r\nrain\r\nzz\r\n", None, False
    ),
]


@pytest.mark.parametrize("case", CUT, ids=lambda case: case.name)
def test_a_cut_answer_is_never_taken_for_whole(case: Case, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(case.answer, close=True)) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                head = await client.reader.readuntil(b"\r\n\r\n")
                if b" 200 " in head:
                    with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
                        await _rest(client, head)
                else:
                    assert b" 502 " in head, "a head that was not sent yet may become a 502"
                client.close()

    asyncio.run(scenario())


async def _rest(client: Client, head: bytes) -> None:
    """Read what `head` promises."""
    if b"content-length" in head:
        await client.reader.readexactly(9)
        return
    while (size := int(await client.reader.readline(), 16)) > 0:
        await client.reader.readexactly(size + 2)


def test_a_cut_head_is_a_502(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(b"HTTP/1.1 200 OK\r\ncontent-le", close=True)) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).status == 502
                client.close()

    asyncio.run(scenario())


def test_an_answer_to_head_has_no_body_whatever_it_says(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(OK + b"content-length: 4\r\n\r\n")) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                client.writer.write(b"HEAD " + PATH.encode() + b" HTTP/1.1\r\nHost: m\r\n\r\n")
                answer = await client.response(head_only=True)
                assert answer.fields["content-length"] == "4"
                upstream.answer = saying(response(b"next"))
                client.writer.write(post())
                assert (await client.response()).body == b"next"
                client.close()
            assert upstream.connections == 1

    asyncio.run(scenario())


def test_bytes_nobody_asked_for_poison_an_idle_connection(tmp_path: Path) -> None:
    async def late(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"mine"))
        await asyncio.sleep(0.05)
        writer.write(response(b"foreign"))

    async def scenario() -> None:
        async with ScriptedUpstream(late) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).body == b"mine"
                await asyncio.sleep(0.1)
                upstream.answer = saying(response(b"next"))
                client.writer.write(post())
                assert (await client.response()).body == b"next"
                client.close()
            assert upstream.connections == 2

    asyncio.run(scenario())
