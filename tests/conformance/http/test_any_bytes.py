"""Whatever bytes a client sends: every request is answered or waited for, in order, at a bounded cost."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from random import Random
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ClientProtocolError
from gateway.chunks import ChunkDecoder, ChunkError
from gateway.client import MAX_HELD
from gateway.message import NO_LENGTH
from tests.support.gateway import PATH, Running, endpoint, gateway, post
from tests.support.grammars import (
    GRAMMARS,
    PURE,
    read_request,
    read_response,
    request_grammar,
    response_grammar,
    use,
)
from tests.support.heads import request_head
from tests.support.upstream import ScriptedUpstream, response, saying

if TYPE_CHECKING:
    from _typeshed import TraceFunction

SEEDS = st.integers(0, 2**32 - 1)

_GOOD = post(b"rain")
_CHUNKED_POST = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode()
_PIECES = st.one_of(
    st.sampled_from(
        [_GOOD, post(b"x" * 300), _CHUNKED_POST, b"4\r\nrain\r\n", b"0\r\n\r\n", b"\r\n", b"\r\n\r\n", b"\r", b"\n",
         b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % PATH.encode(), b"GET /nowhere HTTP/1.1\r\nHost: a\r\n",
         b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", b"Content-Length: 5\r\n",
         b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"HEAD %b HTTP/1.0\r\n\r\n" % PATH.encode()]
    ),
    st.binary(max_size=12),
    SEEDS.map(lambda seed: request_head(Random(seed)) + b"\r\n\r\n"),
)  # fmt: skip


def _answers(output: bytes) -> list[int]:
    """The statuses of the whole responses; fails when `output` is anything else. (None here answers HEAD.)"""
    statuses: list[int] = []
    while output:
        head, blank, output = output.partition(b"\r\n\r\n")
        if not blank:
            break
        answer = read_response(response_grammar(PURE), head)
        assert answer.content_length != NO_LENGTH or answer.status < 200
        if len(output) < answer.content_length:
            break
        output = output[max(answer.content_length, 0) :]
        if answer.status >= 200:
            statuses.append(answer.status)
    return statuses


async def _fed(running: Running, data: bytes, size: int) -> bytes:
    """What the gateway says to `data`: at least one answer, unless it may wait for more."""
    client = await running.connect()
    try:
        client.feed(data, size=size)
        if _waits(data):
            client.writer.write_eof()
            return await asyncio.wait_for(client.reader.read(), 10)
        output = b""
        while not _answers(output):
            more = await asyncio.wait_for(client.reader.read(1 << 20), 10)
            assert more, "the gateway closed without an answer"
            output += more
        return output
    finally:
        client.close()


def _waits(data: bytes) -> bool:
    """Whether a server may say nothing to `data`: no whole request is in it, and nothing wrong."""
    data = re.sub(rb"\A(?:\r\n)*", b"", data)
    head, blank, rest = data.partition(b"\r\n\r\n")
    if not blank:
        return True
    decoder = ChunkDecoder()
    try:
        request = read_request(request_grammar(PURE), head)
        if request.chunked:
            decoder.feed(rest)
            return not decoder.done
    except (ClientProtocolError, ChunkError):
        return False
    return request.content_length > len(rest)


@pytest.mark.parametrize("name", GRAMMARS)
def test_whatever_bytes_come_every_request_is_answered_or_waited_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, name)

    @settings(deadline=None, max_examples=250)
    @given(data=st.lists(_PIECES, max_size=5).map(b"".join), size=st.sampled_from([1, 2, 7, 64, 100_000]))
    def examined(data: bytes, size: int) -> None:
        statuses = _answers(runner.run(_fed(running, data.replace(b"HEAD ", b"GET "), size)))
        assert all(status == 200 or 400 <= status < 500 or status in (501, 505) for status in statuses)

    with asyncio.Runner() as runner:
        upstream = ScriptedUpstream(saying(response(b"[0.5]")))
        runner.run(upstream.start())
        serving = gateway(tmp_path, endpoint(upstream.port, max_body=4096))
        running = runner.run(serving.__aenter__())
        try:
            examined()
            answer = runner.run(_fed(running, _GOOD, 100_000))
            assert answer.startswith(b"HTTP/1.1 200 "), "the gateway serves on"
        finally:
            runner.run(serving.__aexit__(None, None, None))
            runner.run(upstream.stop())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_client_that_sends_ahead_is_read_in_order_whatever_the_slices(size: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0.5]"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                data = (_GOOD + _CHUNKED_POST + b"4\r\nrain\r\n0\r\n\r\n") * 5
                assert len(data) < MAX_HELD
                client = await running.connect()
                client.feed(data, size=size)
                for _ in range(10):
                    assert (await asyncio.wait_for(client.response(), 10)).body == b"[0.5]"
                client.close()
            assert [heard.body for heard in upstream.heard] == [b"rain"] * 10

    asyncio.run(scenario())


def test_half_a_request_behind_a_whole_one_is_not_waited_for_once_the_client_closed_its_side(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0.5]"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                try:
                    client.writer.write(_GOOD + _CHUNKED_POST)
                    client.writer.write_eof()
                    assert _answers(await asyncio.wait_for(client.reader.read(), 3))[0] == 200
                finally:
                    client.close()

    asyncio.run(scenario())


class _Effort:
    """Counts the lines of Python that run inside it: a measure of work that no machine changes."""

    def __init__(self) -> None:
        self.lines = 0

    def __enter__(self) -> _Effort:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, arg: object) -> TraceFunction:
        self.lines += 1
        return self._trace


def test_blank_lines_before_a_request_are_skipped_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0.5]"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                with _Effort() as effort:
                    client.server_side.data_received(b"\r\n" * 20_000)
                client.close()
                assert effort.lines < 2000, "each turn of a loop would copy all that is left"

    asyncio.run(scenario())


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_connection_field_costs_no_more_than_its_options(name: str) -> None:
    options = 4000
    fields = b"\r\nHost: a\r\nConnection: " + b",".join(b"x%d" % n for n in range(options))
    with _Effort() as effort:
        read_request(request_grammar(name), b"GET / HTTP/1.1" + fields)
        read_response(response_grammar(name), b"HTTP/1.1 200 OK" + fields)
    assert effort.lines < 40 * options, "a pattern compiled for each option"
