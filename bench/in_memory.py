"""An event loop that connects to nothing: transports that only keep what is written to them.

A worker inside it runs its own code and no system call, so that what is measured is that code alone. While
the loop is `held`, callbacks and timers are kept for `run_held` in place of being run by the loop, so that a
stretch of the worker's work is one plain call that a clock can be read around.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)

LONG = 0.02
"""Seconds; a held timer of more is one that a busy worker would not yet run."""


class MemoryTransport(asyncio.Transport):
    """The gateway's end of a connection: `written` is what the far end would read."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 40000)})
        self.protocol = protocol
        self.written: list[bytes] = []
        self._closing = False
        self._reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.written.append(b"".join(list_of_data))

    def take(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self.written)
        self.written.clear()
        return data

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing ever waits here."""

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """The far end has no use for it."""

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol


class UpstreamTransport(MemoryTransport):
    """The gateway's end of a connection to a model server: each write is one whole request."""

    def __init__(self, protocol: asyncio.BaseProtocol, asked: deque[Any]) -> None:
        super().__init__(protocol)
        self._asked = asked

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._asked.append(self.protocol)

    def writelines(self, list_of_data: Any) -> None:
        self._asked.append(self.protocol)


class MemoryLoop(asyncio.SelectorEventLoop):
    """Outgoing connections are made at once, to nobody; `asked` are the protocols that await an answer."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self.asked: deque[Any] = deque()
        self.links: list[MemoryTransport] = []
        self.held = False
        self._kept: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []

    async def create_connection(
        self, protocol_factory: Callable[[], P], *address: object, **options: object
    ) -> tuple[MemoryTransport, P]:
        protocol = protocol_factory()
        transport = UpstreamTransport(protocol, self.asked)
        protocol.connection_made(transport)
        return transport, protocol

    async def create_unix_connection(
        self, protocol_factory: Callable[[], P], *address: object, **options: object
    ) -> tuple[MemoryTransport, P]:
        protocol = protocol_factory()
        transport = MemoryTransport(protocol)
        self.links.append(transport)
        protocol.connection_made(transport)
        return transport, protocol

    # typeshed ties the arguments of these two to their callback by a TypeVarTuple, which nobody here needs.
    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if not self.held:
            return super().call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        self._kept.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if not self.held or when - self.time() > LONG:
            return super().call_at(when, callback, *args, context=context)
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers.append(handle)
        return handle

    def run_held(self, *, timers: bool = False) -> None:
        """Run what `call_soon` kept, and with `timers` what short timers kept, due or not."""
        if timers:
            self._kept.extend(self._timers)
            self._timers.clear()
        while self._kept:
            handle = self._kept.popleft()
            if not handle.cancelled():
                handle._run()
