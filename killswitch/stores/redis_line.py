"""The line on which replicas tell each other of kills: one connection to Redis, subscribed and publishing.

Between a kill here and the same kill there stand two reads of a socket and nothing else. So this connection
has no client library, no task and no queue: what comes is read where the loop has it, and what is told is
written where it happens. It is RESP3, in which a connection that is subscribed may publish as well. All of it
is a hint; whether it arrived is found out by the rounds of `control.fleet`.

Source: the RESP3 specification (redis.io/docs/latest/develop/reference/protocol-spec), push data and HELLO.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

MOST_UNREAD = 16 * 1024 * 1024
"""Bytes of one message that are none of ours: the connection is given up."""

DEEPEST = 8
"""Levels of an answer that are read."""


class Refused(Exception):  # noqa: N818 - what the server said
    """The server answers with an error."""


class KillLine(asyncio.Protocol):
    """One connection. `hear` is called with every message that comes on `channel`, and must not raise."""

    def __init__(self, channel: str, hear: Callable[[bytes], None]) -> None:
        self._channel = channel.encode()
        self._hear = hear
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self._subscribed: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[Exception] = loop.create_future()

    async def subscribe(self, user: str | None, password: str | None) -> None:
        """Say who we are, and hear from now on. Raises Refused, and OSError when the connection ends."""
        hello: list[bytes] = [b"HELLO", b"3"]
        if password is not None:
            hello += (b"AUTH", (user or "default").encode(), password.encode())
        self._send(*hello)
        self._send(b"SUBSCRIBE", self._channel)
        await asyncio.wait((self._subscribed, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if not self._subscribed.done():
            raise self._ended.result()

    def ring(self, message: bytes) -> None:
        """Publish `message`, now."""
        self._send(b"PUBLISH", self._channel, message)

    async def ended(self, within: float) -> Exception | None:
        """Why the connection ended; None when it did not in so many seconds."""
        done, _ = await asyncio.wait((self._ended,), timeout=within)
        return self._ended.result() if done else None

    def close(self) -> None:
        """Let go."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        at = 0
        try:
            while at < len(self._buffer):
                answer, at = _value(self._buffer, at, 0)
                self._heard(answer)
        except _Incomplete:
            if len(self._buffer) - at > MOST_UNREAD:
                self._end(ConnectionAbortedError(f"a message of more than {MOST_UNREAD} bytes"))
        except Refused as error:
            self._end(error)
        except ValueError as error:
            self._end(ConnectionAbortedError(str(error)))
        self._buffer = self._buffer[at:]

    def _heard(self, answer: object) -> None:
        if isinstance(answer, Refused):
            raise answer
        match answer:
            case _Push((b"message", self._channel, bytes(message))):
                self._hear(message)
            case _Push((b"subscribe", self._channel, _)) if not self._subscribed.done():
                self._subscribed.set_result(None)

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
        self.close()

    def _send(self, *parts: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            head = b"*%d\r\n" % len(parts)
            self._transport.write(head + b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in parts))


class _Incomplete(Exception):  # noqa: N818
    """More has to come."""


class _Push:
    """What the server sends unasked."""

    __match_args__ = ("parts",)

    def __init__(self, parts: tuple[object, ...]) -> None:
        self.parts = parts


def _value(data: bytes, at: int, depth: int) -> tuple[object, int]:
    """The value that begins at `at`, and where the next one does.

    Raises _Incomplete, and ValueError for what is not RESP3.
    """
    end = data.find(b"\r\n", at)
    if end < 0:
        raise _Incomplete
    kind, head, after = data[at : at + 1], data[at + 1 : end], end + 2
    if kind in b"+:,#(_" and kind:
        return head, after
    if kind == b"-":
        return Refused(head.decode("utf-8", "replace")), after
    size = int(head)
    if kind in (b"$", b"=", b"!"):
        if size < 0:
            return None, after
        if len(data) < after + size + 2:
            raise _Incomplete
        text = data[after : after + size]
        return Refused(text.decode("utf-8", "replace")) if kind == b"!" else text, after + size + 2
    if kind not in (b"*", b"~", b">", b"%", b"|") or depth > DEEPEST:
        raise ValueError(f"not RESP3: {data[at:end][:80]!r}")
    parts: list[object] = []
    for _ in range(2 * size if kind in (b"%", b"|") else size):
        part, after = _value(data, after, depth + 1)
        parts.append(part)
    return _Push(tuple(parts)) if kind == b">" else tuple(parts), after
