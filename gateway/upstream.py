"""One connection to a model server.

A connection serves one recipient at a time and answers it by exactly one of: `answered` (head and whole body
came in one read: the hot path), `begun … piece … ended`, or `failed`. Bytes that nobody asked for poison
the connection: it is closed, for they could otherwise become the next client's answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, cast

from domain.errors import UpstreamProtocolError
from domain.observation import Outcome
from gateway.chunks import ChunkDecoder, ChunkError
from gateway.head import ResponseHead
from gateway.message import NO_LENGTH

if TYPE_CHECKING:
    from gateway.pool import Pool

MAX_INTERIM: Final = 100
"""1xx responses before one final response; more is a flood."""


class Recipient(Protocol):
    """Who asked: a client's exchange or a mirror. Its methods run on the event loop and do not raise."""

    abandoned: bool
    """Nobody waits for the answer any more."""
    is_head: bool
    """The request's method is HEAD: the answer has no body, whatever its fields say."""
    streams_answer: bool
    """An answer of unknown length may go on for as long as it is not silent."""
    streams_upload: bool
    """More of the request's body follows by `UpstreamConnection.send`."""

    def payload(self, authority: bytes, target_prefix: bytes) -> bytes:
        """The request's bytes for the server at `authority`."""

    def connected(self, connection: UpstreamConnection) -> None:
        """The request was written to `connection`."""

    def interim(self, head: ResponseHead) -> None:
        """A 1xx response other than 100 and 101."""

    def answered(self, head: ResponseHead, body: bytes) -> None:
        """The whole answer."""

    def begun(self, head: ResponseHead, *, until_close: bool) -> None:
        """The answer's head; its body follows."""

    def piece(self, data: bytes) -> None:
        """A part of the body, with no transfer coding."""

    def ended(self) -> None:
        """The body is whole."""

    def failed(self, outcome: Outcome, reason: str, *, unanswered: bool) -> None:
        """No whole answer will come.

        `unanswered`: not a byte of an answer came, so what may be done twice can be asked again.
        """

    def upload_paused(self) -> None: ...
    def upload_resumed(self) -> None: ...


_IDLE: Final = 0
_HEAD: Final = 1
_LENGTH: Final = 2
_CHUNKED: Final = 3
_CLOSE: Final = 4


class UpstreamConnection:
    """An asyncio.Protocol (see gateway.client.ClientConnection).

    `deadline` and `idle_since` are loop time; the pool's tick acts on them."""

    __slots__ = (
        "_chunks", "_heard", "_held", "_interims", "_left", "_pool", "_state", "_timeout", "deadline", "head",
        "idle_since", "open", "paused", "recipient", "served", "transport",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._state = _IDLE
        self._held = b""
        self._heard = False
        self._left = 0
        self._interims = 0
        self._timeout = 0.0
        self._chunks: ChunkDecoder | None = None
        self.head: ResponseHead | None = None
        self.recipient: Recipient | None = None
        self.open = False
        self.paused = False
        self.served = 0
        self.deadline = 0.0
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.open = True

    def start(self, recipient: Recipient, payload: bytes, deadline: float, timeout: float) -> None:
        """Send `payload` for `recipient`; `timeout` bounds each silence of a stream of unknown length."""
        self.recipient = recipient
        self._state = _HEAD
        self._heard = False
        self._interims = 0
        self._timeout = timeout
        self.deadline = deadline
        self.transport.write(payload)
        recipient.connected(self)

    def stale(self, now: float) -> bool:
        """Whether it idled so long that its server may have closed it while a request was on its way."""
        return now - self.idle_since > self._pool.idle_limit / 2

    def send(self, data: bytes) -> None:
        """A further part of the request's body, in its transfer coding."""
        if self.open:
            self.transport.write(data)

    def pause(self) -> None:
        """Read no further for now: whoever waits for the answer cannot take it."""
        if self.open and not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.open and self.paused:
            self.paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection without a word to the recipient (who left, or is told by the caller)."""
        self.recipient = None
        self._drop()

    def fail(self, outcome: Outcome, reason: str) -> None:
        """Drop the connection and tell the recipient why."""
        recipient = self.recipient
        unanswered = not self._heard and outcome is Outcome.PROTOCOL
        if self.paused and outcome is Outcome.TIMEOUT:
            outcome = Outcome.ABANDONED  # we stopped reading, for a client that does not
        self.recipient = None
        self._drop()
        crossed = unanswered and self.served  # with its close of an idle connection: nobody's fault
        if outcome.blames_the_arm and not crossed:
            self._pool.observed(False)
        if recipient is not None:
            recipient.failed(outcome, reason, unanswered=unanswered)

    def _drop(self) -> None:
        if self.open:
            self.open = False
            self._pool.closed(self)
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _HEAD:
            recipient = self.recipient
            if self._held or self._interims or recipient is None:
                self._receive_more(data)
                return
            pool = self._pool
            head = pool.grammar.last
            if head is None or not data.startswith(head.raw):
                try:
                    head = pool.grammar.read(data)
                except UpstreamProtocolError as error:
                    self._heard = True
                    self.fail(Outcome.PROTOCOL, error.reason)
                    return
                if head is None:
                    self._heard = True
                    self._held = data
                    return
            end = head.end
            if len(data) - end != head.final_length or recipient.is_head:
                self._receive_answer(recipient, head, data[end:])
                return
            self.recipient = None
            self.served += 1
            if head.keep_alive and self.open and not recipient.streams_upload:
                self._state = _IDLE
                if self.paused:
                    self.resume()
                pool.release(self)
            else:
                self._drop()
            if head.status >= 500 or pool.outlier.errors:
                pool.observed(head.status < 500)
            recipient.answered(head, data[end:])
        elif state == _LENGTH:
            self._receive_length(data)
        elif state == _CHUNKED:
            self._receive_chunks(data)
        elif state == _CLOSE:
            self._stretch()
            if self.recipient is not None:
                self.recipient.piece(data)
        else:
            self.abort()

    def _receive_more(self, data: bytes) -> None:
        """More of a head, or the head after an interim one."""
        self._heard = True
        if self._held:
            data = self._held + data
            self._held = b""
        try:
            head = self._pool.grammar.read(data)
        except UpstreamProtocolError as error:
            self.fail(Outcome.PROTOCOL, error.reason)
            return
        if head is None:
            self._held = data
        elif self.recipient is None:
            self.abort()
        else:
            self._receive_answer(self.recipient, head, data[head.end :])

    def _receive_answer(self, recipient: Recipient, head: ResponseHead, body: bytes) -> None:
        self._heard = True
        self.head = head
        status = head.status
        if status < 200:
            self._receive_interim(recipient, head, body)
        elif recipient.is_head or status == 204 or status == 304:
            self._finish_whole(recipient, head, b"", surplus=bool(body))
        elif head.chunked:
            self._state = _CHUNKED
            self._chunks = ChunkDecoder()
            recipient.begun(head, until_close=False)
            self._receive_chunks(body)
        elif head.content_length == NO_LENGTH:
            self._state = _CLOSE
            self._stretch()
            recipient.begun(head, until_close=True)
            if body and self.recipient is not None:
                recipient.piece(body)
        else:
            left = head.content_length - len(body)
            if left <= 0:
                self._finish_whole(recipient, head, body[: head.content_length], surplus=left < 0)
                return
            self._state = _LENGTH
            self._left = left
            recipient.begun(head, until_close=False)
            if body and self.recipient is not None:
                recipient.piece(body)

    def _receive_interim(self, recipient: Recipient, head: ResponseHead, rest: bytes) -> None:
        self._interims += 1
        if head.status == 101:
            self.fail(Outcome.PROTOCOL, "it switched protocols unasked (101)")
        elif self._interims > MAX_INTERIM:
            self.fail(Outcome.PROTOCOL, f"more than {MAX_INTERIM} interim responses")
        else:
            if head.status != 100:
                recipient.interim(head)
            if rest:
                self._receive_more(rest)

    def _receive_length(self, data: bytes) -> None:
        recipient = self.recipient
        if recipient is None:
            self.abort()
            return
        self._left -= len(data)
        if self._left > 0:
            recipient.piece(data)
            return
        recipient.piece(data if self._left == 0 else data[: self._left])
        if self.recipient is not None:
            self._finish(surplus=self._left < 0)
            recipient.ended()

    def _receive_chunks(self, data: bytes) -> None:
        recipient, chunks = self.recipient, self._chunks
        if recipient is None or chunks is None:
            self.abort()
            return
        self._stretch()
        try:
            pieces = chunks.feed(data)
        except ChunkError as error:
            self.fail(Outcome.PROTOCOL, f"its chunked body is malformed: {error}")
            return
        if pieces:
            recipient.piece(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if chunks.done and self.recipient is not None:
            self._finish(surplus=bool(chunks.rest))
            recipient.ended()

    def _stretch(self) -> None:
        """A stream of unknown length may go on as long as it is not silent."""
        if self.recipient is not None and self.recipient.streams_answer:
            self.deadline = self._pool.now() + self._timeout

    def _finish_whole(self, recipient: Recipient, head: ResponseHead, body: bytes, *, surplus: bool) -> None:
        self._finish(surplus=surplus)
        recipient.answered(head, body)

    def _finish(self, *, surplus: bool) -> None:
        """The answer is whole: back to the pool, or close."""
        recipient = self.recipient
        head = self.head
        unfinished_upload = recipient is not None and recipient.streams_upload
        self.recipient = None
        self.head = None
        self._chunks = None
        self.served += 1
        if head is not None and (head.status >= 500 or self._pool.outlier.errors):
            self._pool.observed(head.status < 500)
        if surplus or unfinished_upload or head is None or not head.keep_alive or not self.open:
            self._drop()
        else:
            self._state = _IDLE
            self.resume()
            self._pool.release(self)

    def eof_received(self) -> bool:
        if self.recipient is None and self.open:
            self.open = False  # now, not with connection_lost: nobody is to be sent here meanwhile
            self._pool.closed(self, by_peer=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        recipient = self.recipient
        if recipient is None:
            if self.open:
                self.open = False
                self._pool.closed(self, by_peer=True)
            return
        if self._state == _CLOSE and exc is None:
            self.recipient = None
            self._drop()
            recipient.ended()
        else:
            cut = "it closed the connection before its answer was whole"
            self.fail(Outcome.PROTOCOL, f"{cut} ({exc})" if exc else cut)

    def pause_writing(self) -> None:
        if self.recipient is not None:
            self.recipient.upload_paused()

    def resume_writing(self) -> None:
        if self.recipient is not None:
            self.recipient.upload_resumed()
