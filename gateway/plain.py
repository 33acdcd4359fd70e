"""Plain connections: those without TLS, which nearly all are inside a cluster.

Where it was compiled, `gateway._transport` reads and writes them; everywhere else, and for TLS, the event
loop does. To the protocols there is no difference, and the suites run both ways.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, TypeVar, cast

from gateway import accelerator

_transport: Final = accelerator.extension("gateway._transport")
ACCELERATED: Final = _transport is not None
"""Whether plain connections are read and written by the compiled transport."""

P = TypeVar("P")
"""An asyncio.Protocol by its methods: see gateway.client."""


class Plain:
    """Makes the transports of one worker's plain connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, accelerated: bool = ACCELERATED) -> None:
        """Raises OSError when there is no file descriptor left."""
        self._loop = loop
        self._readiness = _transport.Readiness(loop) if accelerated else None

    async def accept(self, protocol: object, connection: socket.socket) -> None:
        """Let `protocol` have `connection`, which was accepted. Raises OSError; it is closed then."""
        told = cast("asyncio.Protocol", protocol)
        if self._readiness is None:
            await self._loop.connect_accepted_socket(lambda: told, connection)
            return
        _at_once(connection)
        _transport.PlainTransport(self._readiness, told, connection)

    async def connect(self, protocol: Callable[[], P], address: str, port: int) -> P:
        """A connection to an IP `address`, as the protocol made for it. Raises OSError."""
        if self._readiness is None:
            factory = cast("Callable[[], asyncio.Protocol]", protocol)
            _, told = await self._loop.create_connection(factory, address, port)
            return cast("P", told)
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        family, kind, number, _, endpoint = found[0]
        connection = socket.socket(family, kind, number)
        try:
            connection.setblocking(False)
            _at_once(connection)
            await self._loop.sock_connect(connection, endpoint)
        except BaseException:
            connection.close()
            raise
        made = protocol()
        _transport.PlainTransport(self._readiness, cast("asyncio.Protocol", made), connection, ahead=True)
        return made

    def close(self) -> None:
        """Make no more; call it when every connection is closed or aborted."""
        if self._readiness is not None:
            self._readiness.close()


def _at_once(connection: socket.socket) -> None:
    """What is written is sent at once: no waiting for more (RFC 9293, 3.7.4)."""
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
