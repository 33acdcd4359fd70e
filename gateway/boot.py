"""What the supervisor says to a worker: the orders it begins with, and those that follow.

They travel over the worker's standard input, a pipe, as frames like the link's. Its end means: drain.
"""

from __future__ import annotations

import os

import msgspec

from domain.snapshot import Snapshot
from gateway.certificates import Certificate
from settings.schema import Downstream

_LENGTH = 4


class Boot(msgspec.Struct, frozen=True):
    """The orders that a new worker begins with.

    Attributes:
        index: the worker's number, its own among all that live.
        drain: seconds it has to finish what it has begun.
        news_fd: where the worker says that it serves, and that it was told to end.
        waits: whether to accept nobody before the control process has told the true state (it takes a
            predecessor's place, which serves meanwhile), or that time is up.
        log: the path of the prediction log's socket; "": nothing is recorded.
    """

    index: int
    socket_fd: int
    link: str
    drain: float
    unit_key: bytes
    snapshot: Snapshot
    downstream: Downstream = Downstream()
    certificates: tuple[Certificate, ...] = ()
    news_fd: int | None = None
    waits: bool = False
    log: str = ""

    def frame(self) -> bytes:
        """The bytes that `read_boot` reads."""
        return _framed(msgspec.msgpack.encode(self))


class NewCertificates(msgspec.Struct, frozen=True, tag=True):
    """Use these for new connections."""

    certificates: tuple[Certificate, ...]


class ReopenLogs(msgspec.Struct, frozen=True, tag=True):
    """The access log's file was renamed: open it anew."""


Order = NewCertificates | ReopenLogs

_order: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)


def order_frame(order: Order) -> bytes:
    """The bytes that a worker's `shadow.wire.FrameBuffer` cuts and `decode_order` reads."""
    return _framed(msgspec.msgpack.encode(order))


def decode_order(payload: bytes) -> Order:
    """Raises msgspec.DecodeError for anything that is not an order."""
    return _order.decode(payload)


def read_boot(descriptor: int) -> Boot:
    """Read the supervisor's message. Raises EOFError when the supervisor ended before it was whole."""
    length = int.from_bytes(_read_exactly(descriptor, _LENGTH), "big")
    return msgspec.msgpack.decode(_read_exactly(descriptor, length), type=Boot)


def _framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(_LENGTH, "big") + payload


def _read_exactly(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(descriptor, count - len(data))
        if not more:
            raise EOFError("the supervisor closed the pipe before the worker had its orders")
        data += more
    return data
