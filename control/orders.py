"""What the log's processes are told by their standard input when they begin."""

from __future__ import annotations

import os

import msgspec

from settings.sinks import Sending


def read_sending(descriptor: int) -> Sending:
    """Read what `Sending.frame` made from a pipe. Raises EOFError when it is cut off."""
    size = int.from_bytes(_exactly(descriptor, 4), "big")
    return msgspec.json.decode(_exactly(descriptor, size), type=Sending)


def _exactly(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(descriptor, count - len(data))
        if not more:
            raise EOFError("the orders were cut off")
        data += more
    return data
