"""An upgrade in place: the supervisor becomes its own successor, and keeps everything that clients notice.

On SIGUSR2 the supervisor executes the program anew, in the same process (execve(2)): the new code and the new
configuration take over with the same process id, so that whoever watches it (a container, systemd) sees
nothing; the listening sockets stay open, so that no connection is refused; and the workers go on until their
successors serve. What the new program has to know is left for it in a pipe.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from typing import NoReturn

import msgspec

from gateway.children import Heir

VARIABLE = "POINTSMAN_HANDOVER"
"""The environment variable with the descriptor to read the message from."""
LARGEST = 60 * 1024
"""Bytes of a message: it has to fit into the pipe before anybody reads."""


class Handover(msgspec.Struct, frozen=True):
    """`sockets` are descriptors; `listen` is the address as configured, `folder` the private one.

    `killing`: every candidate is to be killed, by a control process that does not run yet.
    """

    listen: str
    sockets: list[int]
    unit_key: bytes
    folder: str
    control: Heir | None
    workers: list[Heir]
    killing: bool = False
    log: Heir | None = None


def become_successor(message: Handover) -> NoReturn:
    """Execute this program anew and leave it `message`. Raises OSError when that is impossible."""
    data = msgspec.msgpack.encode(message)
    if len(data) > LARGEST:
        raise OSError(f"the message to the successor is too long ({len(data)} bytes)")
    children = [heir for heir in (message.control, message.log, *message.workers) if heir is not None]
    descriptors = [*message.sockets, *(heir.orders for heir in children)]
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    try:
        for descriptor in (reading, *descriptors):
            os.set_inheritable(descriptor, True)
        environment = {**os.environ, VARIABLE: str(reading)}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - ourselves
    except OSError:
        os.close(reading)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        raise


def inherited(environment: MutableMapping[str, str]) -> Handover | None:
    """What the supervisor before this one left; None when this one is the first."""
    left = environment.pop(VARIABLE, None)
    if left is None:
        return None
    reading = int(left)
    try:
        message = msgspec.msgpack.decode(os.read(reading, LARGEST), type=Handover)
    finally:
        os.close(reading)
    children = [heir for heir in (message.control, message.log, *message.workers) if heir is not None]
    for descriptor in (*message.sockets, *(heir.orders for heir in children)):
        os.set_inheritable(descriptor, False)
    return message
