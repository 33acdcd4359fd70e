"""The orders a worker process begins with."""

from __future__ import annotations

import os

import msgspec

from domain.snapshot import Snapshot


class Boot(msgspec.Struct, frozen=True):
    """What the supervisor tells a new worker, on its standard input; the end of that input means: drain."""

    index: int
    socket_fd: int
    link: str
    drain: float
    unit_key: bytes
    snapshot: Snapshot

    def frame(self) -> bytes:
        """The bytes that `read_boot` reads: 8 bytes of length, big-endian, and msgpack."""
        payload = msgspec.msgpack.encode(self)
        return len(payload).to_bytes(8, "big") + payload


def read_boot(descriptor: int) -> Boot:
    """Read the supervisor's message. Raises EOFError when the supervisor ended before it was whole."""
    length = int.from_bytes(_read_exactly(descriptor, 8), "big")
    return msgspec.msgpack.decode(_read_exactly(descriptor, length), type=Boot)


def _read_exactly(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(descriptor, count - len(data))
        if not more:
            raise EOFError("the supervisor closed the pipe before the worker had its orders")
        data += more
    return data
