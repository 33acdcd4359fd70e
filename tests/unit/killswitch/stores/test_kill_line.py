"""The line of kills, by the bytes of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.stores.redis_line import MOST_UNREAD, KillLine, Refused

HELLO = b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n"
SUBSCRIBED = b">3\r\n$9\r\nsubscribe\r\n$5\r\nkills\r\n:1\r\n"


def message(content: bytes, channel: bytes = b"kills") -> bytes:
    return b">3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(channel), channel, len(content), content,
    )  # fmt: skip


class Wire(asyncio.Transport):
    """Where the line writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.gone

    def abort(self) -> None:
        self.gone = True


def run(scenario: Callable[[KillLine, Wire, list[bytes]], Awaitable[None]]) -> None:
    async def whole() -> None:
        heard: list[bytes] = []
        line, wire = KillLine("kills", heard.append), Wire()
        line.connection_made(wire)
        async with asyncio.timeout(10):
            await scenario(line, wire, heard)

    asyncio.run(whole())


@settings(deadline=None)
@given(
    contents=st.lists(st.binary(max_size=40), max_size=6),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
def test_messages_are_the_same_however_the_bytes_are_cut(contents: list[bytes], cuts: list[int]) -> None:
    async def scenario(line: KillLine, wire: Wire, heard: list[bytes]) -> None:
        other = message(b"of nobody's business", b"log")
        stream = HELLO + SUBSCRIBED + b"".join(other + message(one) + b":2\r\n" for one in contents)
        places = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
        for start, end in itertools.pairwise(places):
            line.data_received(stream[start:end])
        await line.subscribe(None, None)
        assert heard == contents
        assert not wire.gone

    run(scenario)


def test_it_says_who_it_is_before_it_subscribes_and_rings_at_once() -> None:
    async def scenario(line: KillLine, wire: Wire, heard: list[bytes]) -> None:
        line.data_received(HELLO + SUBSCRIBED)
        await line.subscribe("me", "secret")
        line.ring(b"a kill")
        assert wire.written == [
            b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$6\r\nsecret\r\n",
            b"*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nkills\r\n",
            b"*3\r\n$7\r\nPUBLISH\r\n$5\r\nkills\r\n$6\r\na kill\r\n",
        ]

    run(scenario)


@pytest.mark.parametrize("answer", [b"-WRONGPASS no\r\n", b"!12\r\nWRONGPASS no\r\n"])
def test_a_refusal_ends_it_and_says_why(answer: bytes) -> None:
    async def scenario(line: KillLine, wire: Wire, heard: list[bytes]) -> None:
        line.data_received(answer)
        with pytest.raises(Refused, match="WRONGPASS no"):
            await line.subscribe(None, "wrong")
        assert wire.gone

    run(scenario)


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b"*1\r\n" * 20, b"$%d\r\n" % (2**40) + bytes(MOST_UNREAD)],
    ids=["http", "no number", "too deep", "too long"],
)
def test_what_is_no_redis_ends_it(garbage: bytes) -> None:
    async def scenario(line: KillLine, wire: Wire, heard: list[bytes]) -> None:
        line.data_received(garbage)
        assert isinstance(await line.ended(5.0), OSError)
        line.ring(b"nobody hears it")
        assert wire.gone
        assert not wire.written
        assert not heard

    run(scenario)


def test_a_connection_that_is_closed_ends_it() -> None:
    async def scenario(line: KillLine, wire: Wire, heard: list[bytes]) -> None:
        line.data_received(HELLO + SUBSCRIBED)
        await line.subscribe(None, None)
        assert await line.ended(0.0) is None
        line.connection_lost(None)
        assert isinstance(cast("Exception", await line.ended(5.0)), ConnectionResetError)

    run(scenario)
