"""A plain connection is to its protocol what asyncio says of a transport, whoever reads and writes it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from gateway.plain import ACCELERATED, Plain

WAYS = pytest.mark.parametrize(
    "accelerated",
    [False, pytest.param(True, marks=pytest.mark.skipif(not ACCELERATED, reason="not compiled here"))],
)
MORE_THAN_FITS = bytes(range(256)) * 40_000
"""About ten megabytes: no socket's buffers take that."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER by which a close is a reset."""


class Told:
    """A protocol by its methods that keeps what it is told, and in which call it was told so."""

    def __init__(self, *, keeps_open: bool = False) -> None:
        self.keeps_open = keeps_open
        self.transport: Any = None
        self.got = b""
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.on_data: Callable[[bytes], None] = lambda data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.on_data(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append("lost")
        self.error = error


async def until(holds: Callable[[], object]) -> None:
    """Wait for it; the test's own timeout is the limit."""
    while not holds():  # noqa: ASYNC110 - what happens is the kernel's to say
        await asyncio.sleep(0.001)


async def a_moment() -> None:
    """As long as anything that is ready would need to be heard of."""
    for _ in range(5):
        await asyncio.sleep(0.005)


@asynccontextmanager
async def made(accelerated: bool) -> AsyncIterator[Plain]:
    plain = Plain(asyncio.get_running_loop(), accelerated=accelerated)
    try:
        yield plain
    finally:
        await a_moment()
        plain.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On the loop that workers run on, and on Python's own."""
    for loop in (uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test())


async def pair(plain: Plain, told: Told) -> socket.socket:
    """Our end belongs to `told`; the other end is returned, and does not block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    near.setblocking(False)
    far.setblocking(False)
    await plain.accept(told, near)
    await until(lambda: told.transport)
    return far


async def read_all(far: socket.socket) -> bytes:
    """What comes until the other side closes."""
    loop = asyncio.get_running_loop()
    parts = []
    while part := await loop.sock_recv(far, 1 << 20):
        parts.append(part)
    return b"".join(parts)


@WAYS
def test_what_is_written_arrives_whole_and_in_order_however_slowly_it_is_read(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told()
            with await pair(plain, told) as far:
                for at in range(0, len(MORE_THAN_FITS), 1_000_000):
                    told.transport.write(MORE_THAN_FITS[at : at + 1_000_000])
                assert told.calls == ["made", "pause"]
                told.transport.close()
                assert await read_all(far) == MORE_THAN_FITS
                await until(lambda: "lost" in told.calls)
                assert told.error is None

    run(test)


@WAYS
def test_a_writer_that_was_paused_is_resumed_when_enough_was_read(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told()
            with await pair(plain, told) as far:
                told.transport.write(MORE_THAN_FITS)
                left = len(MORE_THAN_FITS)
                while left:
                    left -= len(await asyncio.get_running_loop().sock_recv(far, left))
                await until(lambda: "resume" in told.calls)
                assert told.calls == ["made", "pause", "resume"]
                told.transport.abort()

    run(test)


@WAYS
def test_nothing_is_read_while_reading_is_paused(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told()
            with await pair(plain, told) as far:
                told.transport.pause_reading()
                far.send(b"later")
                await a_moment()
                assert told.got == b""
                told.transport.resume_reading()
                await until(lambda: told.got == b"later")
                told.transport.abort()

    run(test)


@WAYS
def test_an_end_that_is_closed_for_writing_can_still_read_to_the_end(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told(keeps_open=True)
            with await pair(plain, told) as far:
                far.send(b"question")
                far.shutdown(socket.SHUT_WR)
                await until(lambda: "eof" in told.calls)
                assert told.got == b"question"
                told.transport.write(b"answer")
                told.transport.close()
                assert await read_all(far) == b"answer"

    run(test)


@WAYS
def test_a_protocol_that_wants_no_more_after_the_end_is_lost(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told()
            far = await pair(plain, told)
            far.close()
            await until(lambda: "lost" in told.calls)
            assert told.calls == ["made", "eof", "lost"]

    run(test)


@WAYS
def test_our_end_can_be_closed_for_writing_alone(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told()
            with await pair(plain, told) as far:
                told.transport.write(MORE_THAN_FITS)
                told.transport.write_eof()
                assert await read_all(far) == MORE_THAN_FITS
                far.send(b"still heard")
                await until(lambda: told.got == b"still heard")
                told.transport.abort()

    run(test)


@WAYS
def test_what_came_before_a_reset_is_heard_and_then_the_reset(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told()
            far = await pair(plain, told)
            far.send(b"last words")
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            far.close()
            await until(lambda: "lost" in told.calls)
            assert told.got in (b"last words", b"")  # which the kernel may throw away
            assert isinstance(told.error, ConnectionResetError)

    run(test)


@WAYS
def test_a_reset_that_comes_while_nothing_is_read_shows_when_reading_goes_on(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told()
            far = await pair(plain, told)
            told.transport.pause_reading()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            far.close()
            await a_moment()
            assert told.calls == ["made"]
            told.transport.resume_reading()
            await until(lambda: "lost" in told.calls)

    run(test)


@WAYS
def test_writing_to_who_is_gone_ends_the_connection_once(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told(keeps_open=True)
            far = await pair(plain, told)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            far.close()
            while "lost" not in told.calls:
                told.transport.write(b"anybody?")
                await asyncio.sleep(0.001)
            told.transport.abort()
            told.transport.close()
            await a_moment()
            assert told.calls.count("lost") == 1

    run(test)


@WAYS
def test_the_end_is_told_after_the_call_that_made_it(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            told = Told()
            seen: list[list[str]] = []

            def leave(data: bytes) -> None:
                told.transport.abort()
                seen.append(list(told.calls))

            told.on_data = leave
            with await pair(plain, told) as far:
                far.send(b"x")
                await until(lambda: "lost" in told.calls)
            assert seen == [["made"]]
            assert told.transport.is_closing()

    run(test)


@WAYS
def test_who_is_dropped_by_another_hears_nothing_more(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            one, other = Told(), Told()
            one.on_data = lambda data: other.transport.abort()
            other.on_data = lambda data: one.transport.abort()
            with await pair(plain, one) as far, await pair(plain, other) as farther:
                far.send(b"x")
                farther.send(b"x")
                await until(lambda: "lost" in one.calls + other.calls)
                await a_moment()
            assert sorted((one.got, other.got)) == [b"", b"x"]

    run(test)


@WAYS
def test_a_protocol_that_fails_loses_its_own_connection_and_is_reported(accelerated: bool) -> None:
    async def test() -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: reported.append(context["exception"])
        )
        async with made(accelerated) as plain:
            bad, good = Told(), Told()
            mistake = ValueError("a mistake")

            def fail(data: bytes) -> None:
                raise mistake

            bad.on_data = fail
            with await pair(plain, bad) as far, await pair(plain, good) as farther:
                far.send(b"x")
                await until(lambda: "lost" in bad.calls)
                farther.send(b"fine")
                await until(lambda: good.got == b"fine")
                good.transport.abort()
        assert reported == [mistake]

    run(test)


@WAYS
def test_a_connection_that_is_refused_is_an_error_and_leaves_nothing_behind(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            with socket.socket() as nobody:
                nobody.bind(("127.0.0.1", 0))
                with pytest.raises(ConnectionRefusedError):
                    await plain.connect(Told, *nobody.getsockname())

    run(test)


@WAYS
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_is_connected_knows_its_peer(accelerated: bool, address: str) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                server = socket.create_server((address, 0), family=family)
            except OSError:
                pytest.skip(f"this machine has no {address}")
            with server:
                told = await plain.connect(Told, address, server.getsockname()[1])
                near, _ = server.accept()
                with near:
                    assert told.transport.get_extra_info("peername")[:2] == server.getsockname()[:2]
                    assert told.transport.get_extra_info("nothing", "of it") == "of it"
                    near.send(b"hello")
                    await until(lambda: told.got == b"hello")
                    told.transport.abort()

    run(test)


@WAYS
def test_a_unix_socket_is_a_plain_connection(accelerated: bool) -> None:
    async def test() -> None:
        async with made(accelerated) as plain:
            near, far = socket.socketpair()
            near.setblocking(False)
            told = Told()
            await plain.accept(told, near)
            with far:
                far.send(b"hello")
                await until(lambda: told.got == b"hello")
                told.transport.write(b"there")
                assert far.recv(10) == b"there"
                told.transport.abort()

    run(test)


@pytest.mark.skipif(not ACCELERATED, reason="not compiled here")
def test_a_server_is_heard_before_a_client_whose_bytes_came_first() -> None:
    async def test() -> None:
        order: list[str] = []
        async with made(accelerated=True) as plain:
            client = Told()
            client.on_data = lambda data: order.append("client")
            with await pair(plain, client) as asking, socket.create_server(("127.0.0.1", 0)) as listening:
                server = await plain.connect(Told, *listening.getsockname())
                server.on_data = lambda data: order.append("server")
                unasked, _ = listening.accept()
                with unasked:
                    asking.send(b"request")
                    unasked.send(b"unasked")
                    await until(lambda: len(order) == 2)
                    client.transport.abort()
                    server.transport.abort()
        assert order == ["server", "client"]

    run(test)
