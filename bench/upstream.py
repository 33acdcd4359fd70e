"""A model server that misbehaves on command: `python -m bench.upstream --port P`.

Commands are lines on stdin, each acknowledged by a line on stdout:

    good      answers with class 0
    bad       answers with class 1, which flips every prediction of `good`
    large     answers right, 100 kB of it
    slow      answers right, 20 ms late
    stream    answers with 20 events, one each 5 ms, the first at once
    endless   begins to answer and never stops
    hang      takes requests and never answers
    refuse    closes its port and every connection
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from enum import Enum
from typing import cast

import uvloop

from bench.traffic import answer

FLOOD = b"10000\r\n" + b"0" * 0x10000 + b"\r\n"
GOOD = 0.9
BAD = 0.1
SLOW_SECONDS = 0.02
EVENTS = 20
EVENT_SECONDS = 0.005
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"token":"benchmark","probability":0.83}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
LAST_CHUNK = b"0\r\n\r\n"


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"
    LARGE = "large"
    SLOW = "slow"
    STREAM = "stream"
    ENDLESS = "endless"
    HANG = "hang"
    REFUSE = "refuse"


def whole(content: bytes) -> bytes:
    """A whole HTTP answer around `content`."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(content),
        content,
    )


class ModelServer:
    """What all connections share: the mood, and the answers prepared for it."""

    def __init__(self, model: str) -> None:
        self.mood = Mood.GOOD
        self.connections: set[Connection] = set()
        self.answers = {
            Mood.GOOD: whole(answer(model, GOOD)),
            Mood.BAD: whole(answer(model, BAD)),
            Mood.LARGE: whole(answer(model, GOOD, 11000)),
            Mood.SLOW: whole(answer(model, GOOD)),
        }


class Connection(asyncio.Protocol):
    """One connection; requests need a Content-Length."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._received = b""
        self._flooding = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (size := request_size(self._received)) is not None and size <= len(self._received):
            self._received = self._received[size:]
            self._answer()

    def _answer(self) -> None:
        mood = self._server.mood
        if self._transport is None or mood is Mood.HANG:
            return
        if mood is Mood.ENDLESS:
            self._transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            self._flooding = True
            self._flood()
        elif mood is Mood.REFUSE:
            self._transport.abort()
        elif mood is Mood.SLOW:
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._write, self._server.answers[mood])
        elif mood is Mood.STREAM:
            self._transport.write(STREAM_HEAD)
            self._stream(EVENTS)
        else:
            self._transport.write(self._server.answers[mood])

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _stream(self, left: int) -> None:
        if left == 1:
            self._write(CHUNK + LAST_CHUNK)
        else:
            self._write(CHUNK)
            asyncio.get_running_loop().call_later(EVENT_SECONDS, self._stream, left - 1)

    def _flood(self) -> None:
        if self._transport is None:
            return
        self._transport.write(FLOOD)
        # The write may have called pause_writing.
        if self._flooding:
            asyncio.get_running_loop().call_soon(self._flood)

    def pause_writing(self) -> None:
        self._flooding = False

    def resume_writing(self) -> None:
        self._flooding = True
        self._flood()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def request_size(received: bytes) -> int | None:
    """Bytes of the first request in `received`, by its Content-Length; None while its head is incomplete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    at = received[:end].lower().find(b"\r\ncontent-length:")
    length = int(received[at + 17 : end].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return end + 4 + length


async def serve(port: int, model: str) -> None:
    """Until stdin ends."""
    server = ModelServer(model)
    loop = asyncio.get_running_loop()

    async def listen() -> asyncio.Server:
        return await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=4096)

    listening: asyncio.Server | None = await listen()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", 0))
    gc.freeze()
    while line := await reader.readline():
        was, server.mood = server.mood, Mood(line.decode().strip())
        if server.mood is Mood.REFUSE and listening is not None:
            listening.close()
            listening = None
        elif server.mood is not Mood.REFUSE and listening is None:
            listening = await listen()
        if server.mood is Mood.REFUSE or was in (Mood.HANG, Mood.ENDLESS):
            for connection in tuple(server.connections):
                connection.abort()
        sys.stdout.write(f"{server.mood.value}\n")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="a model server that misbehaves on command")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="bench")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.model))


if __name__ == "__main__":
    main()
