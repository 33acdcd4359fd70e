"""The access log: a sample of the requests as JSON lines, written beside the event loop.

A sampled request costs an append to a bounded queue. A thread turns what is there into lines and writes them.
A disk that is full or slow makes that thread lose or wait; lines that are lost are counted, and no request
waits. Query strings, units and bodies are not written.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from math import log as logarithm
from typing import NamedTuple

from domain.routing import FULL_WEIGHT
from settings.schema import AccessLogSettings

QUEUE = 8192
"""Requests that wait to be written; more are lost."""
PERIOD = 0.2
"""Seconds between two writes."""
LONGEST = 200
"""Characters of a path or a request's id."""
ENDING = 1.0
"""Seconds that the end of the worker waits for the last lines."""
STANDARD_ERROR = "stderr"


class Access(NamedTuple):
    """One answered request: `at` in seconds since 1970, `seconds` until its answer was whole."""

    at: float
    peer: str
    method: bytes
    path: bytes
    endpoint: str
    version: str
    arm: str
    status: int
    seconds: float
    received: int
    request_id: bytes

    def line(self) -> bytes:
        """As JSON, control characters escaped."""
        record = {
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(),
            "peer": self.peer,
            "method": _text(self.method),
            "path": _text(self.path),
            "endpoint": self.endpoint,
            "version": self.version,
            "arm": self.arm,
            "status": self.status,
            "ms": round(self.seconds * 1000, 3),
            "received": self.received,
            "request_id": _text(self.request_id),
        }
        return json.dumps(record).encode() + b"\n"


class AccessLog:
    """`draw` gives random numbers in [0, 1). Nothing is written before `start`."""

    def __init__(self, settings: AccessLogSettings, draw: Callable[[], float]) -> None:
        self._path = settings.path
        self._share = settings.sample / FULL_WEIGHT
        self._draw = draw
        self._queue: deque[Access] = deque()
        self._lost = 0
        self._lost_writing = 0
        self._skip = self._gap()
        self._descriptor: int | None = None
        self._torn = False
        self._reopen = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def sampled(self) -> bool:
        """Whether this request is written: one subtraction, and a random number a written line."""
        self._skip -= 1
        if self._skip >= 0:
            return False
        self._skip = self._gap()
        return self._share > 0

    def record(self, access: Access) -> None:
        """Have `access` written, if there is room."""
        if len(self._queue) < QUEUE:
            self._queue.append(access)
        else:
            self._lost += 1

    def reopen(self) -> None:
        """The file was renamed: go on in a new one of the old name."""
        self._reopen = True

    def take_lost(self) -> int:
        """Lines lost since the last call."""
        # The thread only ever writes _lost_writing, the event loop only _lost: no lock is needed.
        lost = self._lost + self._lost_writing
        self._lost = -self._lost_writing
        return lost

    def close(self) -> None:
        """Write what waits; give up on a disk that takes longer than ENDING."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(ENDING)

    def _gap(self) -> int:
        """How many requests to pass over: geometric, so that every request has the same chance."""
        if self._share >= 1 or self._share <= 0:
            return 0
        return int(logarithm(1 - self._draw()) / logarithm(1 - self._share))

    def _run(self) -> None:
        while not self._ending.wait(PERIOD):
            self._write_queue()
        self._write_queue()
        if self._descriptor is not None and self._path != STANDARD_ERROR:
            os.close(self._descriptor)

    def _write_queue(self) -> None:
        count = len(self._queue)
        if count:
            lines = [self._queue.popleft().line() for _ in range(count)]
            try:
                self._write(b"".join(lines))
            except OSError:  # counted; the next write tries again
                self._lost_writing += count

    def _write(self, data: bytes) -> None:
        descriptor = self._opened()
        if self._torn:
            data = b"\n" + data
        rest = memoryview(data)
        while rest:
            self._torn = len(rest) < len(data)
            rest = rest[os.write(descriptor, rest) :]
        self._torn = False

    def _opened(self) -> int:
        if self._path == STANDARD_ERROR:
            return 2
        if self._reopen and self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._reopen = False
        if self._descriptor is None:
            self._descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640
            )
            self._torn = False
        return self._descriptor


def _text(data: bytes) -> str:
    return data[:LONGEST].decode("latin-1")
