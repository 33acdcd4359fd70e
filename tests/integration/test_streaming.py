"""Streams: what a model server says passes at once, what nobody reads is not held, who leaves is missed."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from domain.observation import Outcome
from domain.snapshot import ShadowLimits
from tests.support.gateway import PATH, Client, endpoint, eventually, gateway, post, serving_candidate
from tests.support.processes import Gateway
from tests.support.upstream import Heard, ScriptedUpstream, response, saying

TOKENS = [b"token-%d " % n for n in range(30)]
BIG = 128 << 20
"""Bytes of a body that must pass through a worker …"""
GROWTH = 64 << 20
"""… whose memory may grow by so much."""
PIECE = b"x" * 65536
CHUNK = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
GONE_WITHIN = 0.1
"""Seconds after which a model server knows that the client of its stream has left."""


def _run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Talker:
    """A model server that says its next token when it is told to, and remembers when it was cut off."""

    def __init__(self, head: bytes, wrap: Callable[[bytes], bytes], last: bytes) -> None:
        self._head = head
        self._wrap = wrap
        self._last = last
        self.more = asyncio.Semaphore(0)
        self.said = 0

    async def __call__(
        self, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(self._head + b"\r\n")
        for token in TOKENS:
            await self.more.acquire()
            writer.write(self._wrap(token))
            await writer.drain()
            self.said += 1
        writer.write(self._last)
        if not self._last:
            writer.close()


def _event(token: bytes) -> bytes:
    return b"data: %b\n\n" % token


FORMS = {
    "chunked tokens": (CHUNKED, _chunk, b"0\r\n\r\n"),
    "chunked events": (
        CHUNKED + b"content-type: text/event-stream\r\n",
        lambda t: _chunk(_event(t)),
        b"0\r\n\r\n",
    ),
    "events until the connection closes": (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n",
        _event,
        b"",
    ),
}


async def _next_piece(client: Client) -> bytes:
    size = int(await asyncio.wait_for(client.reader.readline(), 10), 16)
    piece = await client.reader.readexactly(size)
    await client.reader.readexactly(2)
    return piece


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("arm", ["incumbent", "candidate"])
def test_each_token_reaches_the_client_before_the_next_is_said(form: str, arm: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        talker = Talker(*FORMS[form])
        async with ScriptedUpstream(talker) as talking, ScriptedUpstream(saying(response(b"[0]"))) as other:
            served = (
                serving_candidate(other.port, talking.port)
                if arm == "candidate"
                else endpoint(talking.port, other.port)
            )
            async with gateway(tmp_path, served) as running:
                client = await running.connect()
                client.writer.write(post())
                head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)
                assert b"transfer-encoding: chunked" in head, "the head passes before any token"
                for number, token in enumerate(TOKENS):
                    assert talker.said == number
                    talker.more.release()
                    wanted = _event(token) if "events" in form else token
                    piece = b""
                    while len(piece) < len(wanted):
                        piece += await _next_piece(client)
                    assert piece == wanted
                assert await _next_piece(client) == b""
                client.close()

    _run(scenario)


@pytest.mark.parametrize("failing", ["", "other"])
def test_both_arms_of_a_stream_are_collected_whole_for_the_pair(failing: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        said = b"".join(_chunk(token) for token in TOKENS)
        stream = saying(CHUNKED + b"\r\n" + said + b"0\r\n\r\n")
        cut = saying(CHUNKED + b"\r\n" + said, close=True)
        async with ScriptedUpstream(stream) as one, ScriptedUpstream(cut if failing else stream) as two:
            async with gateway(tmp_path, endpoint(one.port, two.port, breaker=0)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).body == b"".join(TOKENS)
                await eventually(lambda: running.control.pairs, "the pair is handed over")
                client.close()
                pair = running.control.pairs[0]
                assert pair.incumbent.body == b"".join(TOKENS)
                if failing:
                    assert pair.candidate.outcome is Outcome.PROTOCOL
                else:
                    assert pair.candidate.body == b"".join(TOKENS)

    _run(scenario)


def test_a_mirrored_stream_over_the_bounds_passes_and_holds_nothing(tmp_path: Path) -> None:
    size = 2_000_000

    async def scenario() -> None:
        whole = saying(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        async with ScriptedUpstream(whole) as one, ScriptedUpstream(whole) as two:
            bounds = ShadowLimits(max_bytes=1_000_000)
            served = endpoint(one.port, two.port, shadow=bounds, breaker=0)
            async with gateway(tmp_path, served) as running:
                client = await running.connect()
                budget = running.worker.services.by_name["rain"].budget
                for _ in range(3):
                    client.writer.write(post())
                    assert len((await client.response()).body) == size
                    assert budget.held <= 1_000_000
                await eventually(lambda: not budget.pairs, "every pair ends")
                assert budget.held == 0
                client.close()
                for pair in running.control.pairs:
                    assert pair.incumbent.outcome is Outcome.OVERSIZE
                    assert pair.incumbent.body == b""

    _run(scenario)


def test_a_client_that_leaves_a_stream_ends_it_at_its_server_at_once(tmp_path: Path) -> None:
    """Whoever only closes its side may still read: that it left shows with the next token."""
    cut: list[float] = []

    async def tokens(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"\r\n")
        while True:
            writer.write(_chunk(b"token"))
            try:
                async with asyncio.timeout(0.005):
                    await reader.read(1)
            except TimeoutError:
                continue
            except ConnectionError:
                pass  # cut off hard, which is as well
            cut.append(time.monotonic())
            writer.close()
            return

    async def scenario() -> None:
        left: list[float] = []
        async with ScriptedUpstream(tokens) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                for _ in range(15):
                    client = await running.connect()
                    client.writer.write(post())
                    await client.reader.readuntil(b"\r\n\r\n")
                    await _next_piece(client)
                    left.append(time.monotonic())
                    client.close()
                    await eventually(lambda: len(cut) == len(left), "its server is cut off")
                await eventually(lambda: not running.worker.clients, "every client is gone")
        took = statistics.median(b - a for a, b in zip(left, cut, strict=True))
        assert took < GONE_WITHIN, "the median of fifteen"

    _run(scenario)


# ---- a large body through a worker's process ------------------------------------------------------------


def _memory(pid: int, key: str) -> int:
    """Bytes, as the kernel counts a process's own."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@asynccontextmanager
async def _worker(folder: Path, port: int) -> AsyncIterator[tuple[Gateway, Callable[[], int]]]:
    """A gateway's process, and by how many bytes its worker's memory has grown at the most."""
    gateway = Gateway(folder, port, port, max_body="1GiB", timeout="60s")
    for key in ("candidate", "flag", "guards", "plan"):
        del gateway.document["endpoints"]["rain"][key]
    async with gateway as running:
        async with _connected(running) as (reader, writer):
            writer.write(post())
            await reader.readuntil(b"\r\n\r\n")  # what is loaded with the first request is not growth
        pid = running.children("gateway.process")[0]
        before = _memory(pid, "VmRSS")
        _forget_peak(pid)
        yield running, lambda: _memory(pid, "VmHWM") - before


@asynccontextmanager
async def _connected(running: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0.01)


class Torrent:
    """A model server whose answers have BIG bytes; `sent` are those that somebody took off its hands."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(
        self, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if heard.body == b"{}":
            writer.write(response(b"[0]"))
            return
        writer.write(CHUNKED + b"\r\n")
        while self.sent < BIG:
            writer.write(CHUNK)
            await writer.drain()
            self.sent += len(PIECE)
        writer.write(b"0\r\n\r\n")


async def _still(value: Callable[[], int]) -> int:
    """`value` once it does not change any more."""
    seen = -1
    while seen != value():
        seen = value()
        await asyncio.sleep(0.2)
    return seen


def test_a_large_answer_waits_for_its_reader_in_bounded_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        torrent = Torrent()
        async with ScriptedUpstream(torrent) as one:
            async with _worker(tmp_path, one.port) as (running, growth), _connected(running) as ends:
                reader, writer = ends
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own, not in typeshed
                writer.write(post(b"[1]"))
                await eventually(lambda: torrent.sent, "it begins")
                assert await _still(lambda: torrent.sent) < GROWTH, "the server waits for the client"
                assert growth() < GROWTH
                writer.transport.resume_reading()  # type: ignore[attr-defined]
                got = 0
                while data := await reader.read(1 << 20):
                    got += len(data)
                    if data.endswith(b"\r\n0\r\n\r\n"):
                        break
                assert got > BIG, "the body and its framing"
                assert growth() < GROWTH

    _run(scenario)


def test_a_large_request_waits_for_its_server_in_bounded_memory(tmp_path: Path) -> None:
    reading = asyncio.Event()
    received = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        head = await reader.readuntil(b"\r\n\r\n")
        if b"content-length: 2\r\n" in head:
            await reader.readexactly(2)
            writer.write(response(b"[0]"))
            head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reading.wait()
        while received < length:
            received += len(await reader.read(1 << 20))
        writer.write(response(b"%d" % received))
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with _worker(tmp_path, port) as (running, growth), _connected(running) as (reader, writer):
            writer.write(b"POST %b HTTP/1.1\r\nHost: m\r\n" % PATH.encode())
            writer.write(b"X-User-Id: u\r\nContent-Length: %d\r\n\r\n" % BIG)
            sent = 0

            async def upload() -> None:
                nonlocal sent
                while sent < BIG:
                    writer.write(PIECE)
                    await writer.drain()
                    sent += len(PIECE)

            async with asyncio.TaskGroup() as group:
                group.create_task(upload())
                await eventually(lambda: sent, "it begins")
                assert await _still(lambda: sent) < GROWTH, "the client waits for the server"
                assert growth() < GROWTH
                reading.set()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert received == BIG
            assert growth() < GROWTH
        server.close()

    _run(scenario)
