"""One client's connection: heads and bodies in, answers out, in order.

Requests are taken one at a time; what a client pipelines behind the one being answered is held, and reading
stops when that is too much. So answers leave in the order of the requests, and a malformed request is
answered after those before it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from domain.errors import ClientProtocolError
from gateway.chunks import MOST_TINY, ChunkDecoder, ChunkError
from gateway.exchange import Exchange
from gateway.head import after_blank_lines
from gateway.message import RequestMessage
from gateway.origin import UNKNOWN, Origin
from gateway.problem import RETRY_AFTER, plain, problem
from gateway.recording import RecordedExchange

if TYPE_CHECKING:
    from gateway.service import ServedEndpoint
    from gateway.worker import Worker

CLOSE_TIMEOUT: Final = 5.0
"""Seconds a client gets to read its last answer."""
MAX_HELD: Final = 64 * 1024
"""Bytes held of what a client sends ahead; then reading stops."""
_CR: Final = 13
METHODS: Final = frozenset((b"GET", b"HEAD", b"POST"))
_POST: Final = b"POST"
_ALLOW: Final = b"\r\nallow: GET, HEAD, POST"
_CLOSE: Final = b"\r\nconnection: close"
_KEEP: Final = b"\r\nconnection: keep-alive"
_ALIVE: Final = b"/-/alive"
_READY: Final = b"/-/ready"
_ASKING: Final = frozenset((b"GET", b"HEAD"))

_HEAD: Final = 0
_BODY: Final = 1
_ANSWER: Final = 2
_CLOSED: Final = 3


class ClientConnection:
    """An asyncio.Protocol (by its methods: to inherit would keep it from being compiled whole).

    `quiet_since` is when the client last did what it was waited for: see `tick`."""

    __slots__ = (
        "_advancing", "_chunks", "_close_after", "_closing_since", "_exchange", "_half_closed", "_held",
        "_left", "_paused", "_ready", "_skip", "_state", "_unread", "_worker", "fields", "peer",
        "quiet_since", "transport",
    )  # fmt: skip

    def __init__(self, worker: Worker, origin: Origin = UNKNOWN) -> None:
        self._worker = worker
        self._state = _HEAD
        self._exchange: Exchange | None = None
        self._held = b""
        self._left = 0
        self._chunks: ChunkDecoder | None = None
        self._advancing = False
        self._close_after = False
        self._half_closed = False
        self._paused = False
        self._ready = True
        self._skip = 0
        self._unread = False
        self._closing_since = 0.0
        self.quiet_since = 0.0
        self.peer = origin.peer
        self.fields = origin.fields(worker.name)

    # ---- the connection -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.quiet_since = self._worker.clock()
        self._worker.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ready = False
        self._state = _CLOSED
        self._worker.left(self)
        exchange = self._exchange
        self._exchange = None
        if exchange is not None:
            exchange.abandon()

    def eof_received(self) -> bool:
        """A client may close its side and still read the answer to a whole request (RFC 9112, 9.6).

        Whether it closed the other side too shows only when something is written to it.
        """
        self._half_closed = True
        return self._state == _ANSWER

    def pause_writing(self) -> None:
        self._unread = True
        self._ready = False
        if self._exchange is not None:
            self._exchange.client_paused()

    def resume_writing(self) -> None:
        self._unread = False
        if self._exchange is not None:
            self._exchange.client_resumed()
        elif self._state == _HEAD:
            self._advance()
            self._read_on()

    def tick(self, now: float) -> None:
        """Close what was waited for too long."""
        quiet = now - self.quiet_since
        timeouts = self._worker.timeouts
        if self._state == _HEAD:
            if self._held and not self._unread:
                if quiet > timeouts.head:
                    late = f"the request head was not whole in {timeouts.head:g} s"
                    self._refuse(ClientProtocolError(late, 408))
            elif quiet > (timeouts.idle if not self._worker.draining else self._worker.drain_grace):
                self._close()
        elif self._state == _BODY:
            if quiet > timeouts.body and self._exchange is not None and not self._paused:
                self._close_after = True
                self._exchange.reject(408, f"the request body was silent for {timeouts.body:g} s")
        elif self._state == _CLOSED and now - self._closing_since > CLOSE_TIMEOUT:
            self.transport.abort()

    @property
    def idles(self) -> bool:
        """Whether the connection is kept alive for a request of which no byte has come."""
        return self._state == _HEAD and not self._held and not self._skip

    def give_up(self) -> None:
        """Close an idle connection: its place is needed."""
        self._close()

    # ---- bytes in -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._ready:  # between requests, nothing held of the next, nothing to wait for: the hot path
            worker = self._worker
            self.quiet_since = worker.clock()
            if data[0] == _CR:
                data = after_blank_lines(data)
            try:
                message = worker.grammar.read(data)
            except ClientProtocolError as error:
                self._refuse(error)
                return
            if message is None:
                self._ready = False
                self._held = data
                return
            self._advancing = True
            self._begin(message, data)
            self._advancing = False
            if self._state == _HEAD:
                self._advance()
            return
        if self._skip and self._state == _HEAD:
            data = self._skipped(data)
            if not data:
                return
        if self._state == _HEAD and not self._unread:
            if self._held:
                data = self._held + data
                self._held = b""
            else:
                self.quiet_since = self._worker.clock()
            self._advancing = True
            progress = self._read_head(data)
            self._advancing = False
            if progress and self._state == _HEAD:
                self._advance()
        elif self._state == _BODY:
            self.quiet_since = self._worker.clock()
            self._read_body(data)
            self._advance()
        elif self._state != _CLOSED:
            self._held += data
            if len(self._held) > MAX_HELD:
                self._pause()

    def _skipped(self, data: bytes) -> bytes:
        """`data` without the rest of a body that nobody wants."""
        rest = data[self._skip :]
        self._skip = max(self._skip - len(data), 0)
        return rest

    def _advance(self) -> None:
        """Take the next requests out of what is held, without recursion."""
        if self._advancing:
            return
        self._advancing = True
        progress = True
        while progress and self._held and self._state == _HEAD and not self._unread:
            data = self._held
            self._held = b""
            self.quiet_since = self._worker.clock()
            progress = self._read_head(data)
        self._advancing = False
        if self._half_closed and self._state in (_HEAD, _BODY) and not (self._unread and self._held):
            self._close()  # what is held of the last request will never be whole

    def _read_head(self, data: bytes) -> bool:
        """Begin the request whose head starts `data`; False, and `data` held, when the head is not whole."""
        if data[0] == _CR:
            data = after_blank_lines(data)
        try:
            message = self._worker.grammar.read(data)
        except ClientProtocolError as error:
            self._refuse(error)
            return False
        if message is None:
            self._held = data
            return False
        self._begin(message, data)
        return True

    def _begin(self, message: RequestMessage, data: bytes) -> None:
        worker = self._worker
        self._ready = False
        self._close_after = not message.keep_alive or worker.draining
        if not message.request_id:
            message.request_id = worker.new_request_id()
        message.own = self.fields
        service = worker.services.by_path.get(message.path)
        if (
            service is None
            or (message.method != _POST and message.method not in METHODS)
            or message.content_length > service.max_body
            or (message.via and worker.name in message.fields)
        ):
            self._decline(message, service, data[message.end :])
            return
        if service.exchange is Exchange:  # by its name, it is made as native classes are, at half the price
            exchange = Exchange(self, worker, service, message, self.quiet_since)
        elif service.exchange is RecordedExchange:
            exchange = RecordedExchange(self, worker, service, message, self.quiet_since)
        else:
            exchange = service.exchange(self, worker, service, message, self.quiet_since)
        self._exchange = exchange
        whole_at = message.whole_at
        if 0 <= whole_at <= len(data):
            self._state = _ANSWER
            if whole_at < len(data):
                self._held = data[whole_at:]
            exchange.whole(data[message.end : whole_at])
            return
        rest = data[message.end :]
        self._state = _BODY
        self._left = max(message.content_length, 0)
        self._chunks = ChunkDecoder(MOST_TINY) if message.chunked else None
        if message.expects_continue and not rest:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if rest:
            self._read_body(rest)

    def _decline(self, message: RequestMessage, service: ServedEndpoint | None, rest: bytes) -> None:
        if service is None:
            if message.path in (_ALIVE, _READY) and message.method in _ASKING:
                self._tell_health(message, rest)
            elif self._worker.sheds_requests:
                self._turn_away(503, "the gateway is short of memory", message, rest, RETRY_AFTER)
            else:
                self._turn_away(404, f"no endpoint at {_shown(message.path)}", message, rest)
        elif message.via and self._worker.name in message.fields:
            self._turn_away(508, "the request has come through this gateway before", message, rest)
        elif message.method not in METHODS:
            self._turn_away(405, f"{_shown(message.method)} is not for predictions", message, rest, _ALLOW)
        else:
            limit = service.max_body
            detail = f"the body of {message.content_length} bytes is over the limit of {limit}"
            self._turn_away(413, detail, message, rest)

    def _read_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        chunks = self._chunks
        if chunks is None:
            left = self._left - len(data)
            self._left = max(left, 0)
            if left < 0:
                self._held = data[left:]
                data = data[:left]
            exchange.received(data)
            if left <= 0:
                self._uploaded(exchange)
        else:
            self._read_chunks(exchange, chunks, data)
        if exchange.upload_stalls and self._state == _BODY:
            self._pause()

    def _read_chunks(self, exchange: Exchange, chunks: ChunkDecoder, data: bytes) -> None:
        try:
            pieces = chunks.feed(data)
        except ChunkError as error:
            self._close_after = True
            exchange.reject(400, f"the chunked body is malformed: {error}")
            return
        if pieces and self._exchange is exchange:  # else it is answered already
            piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            limit = exchange.max_body
            if exchange.message.size + len(piece) > limit:
                self._close_after = True
                exchange.reject(413, f"the body is over the limit of {limit} bytes")
                return
            exchange.received(piece)
        if chunks.done and self._exchange is exchange:
            self._held = chunks.rest
            self._uploaded(exchange)

    def _uploaded(self, exchange: Exchange) -> None:
        self._chunks = None
        if self._exchange is exchange:
            self._state = _ANSWER
            exchange.uploaded()

    def pause_upload(self) -> None:
        if self._state == _BODY:
            self._pause()

    def resume_upload(self) -> None:
        if self._state == _BODY:
            self._resume()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    # ---- bytes out ------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def close_when_answered(self) -> None:
        """The end of the answer is the end of the connection."""
        self._close_after = True

    def closing_field(self, exchange: Exchange) -> bytes:
        """The Connection line of the answer."""
        if self._close_after or self._state == _BODY or self._worker.draining:
            self._close_after = True
            return _CLOSE
        return b"" if exchange.message.minor else _KEEP

    def settled(self, exchange: Exchange, now: float) -> None:
        """`exchange` is over: next request, or close."""
        if self._exchange is not exchange:
            return
        self._exchange = None
        state = self._state
        if self._close_after or state == _BODY:
            self._close(linger=state == _BODY)
            return
        if state == _CLOSED:
            return
        self._state = _HEAD
        self.quiet_since = now
        if self._held or self._unread or self._half_closed or self._paused:
            self._advance()
            self._read_on()
        else:
            self._ready = True

    def _read_on(self) -> None:
        """Read again, unless enough is held, the client does not read itself, or its upload must wait."""
        exchange = self._exchange
        stalls = exchange is not None and exchange.upload_stalls
        if not (self._unread or stalls or len(self._held) > MAX_HELD):
            self._resume()

    def break_off(self) -> None:
        """End an answer that cannot be completed so that nobody takes it for whole."""
        self._ready = False
        self._state = _CLOSED
        self.transport.abort()

    def _close(self, *, linger: bool = False) -> None:
        """Close once everything is written.

        `linger`: the client may still be sending. Closing at once would reset the connection and with it our
        last answer (RFC 9112, 9.6), so only our side is closed and the rest is read and thrown away.
        """
        if self._state == _CLOSED:
            return
        self._ready = False
        self._state = _CLOSED
        self._closing_since = self._worker.clock()
        self._held = b""
        if linger and not self._half_closed and self.transport.can_write_eof():
            self._resume()
            self.transport.write_eof()
        else:
            self.transport.close()

    def _refuse(self, error: ClientProtocolError) -> None:
        """The bytes are not HTTP as we speak it: say so and close, for nothing behind them can be trusted."""
        worker = self._worker
        worker.counters.refused.request(error.status_hint, 0.0)
        self.transport.write(problem(error.status_hint, error.reason, worker.new_request_id(), fields=_CLOSE))
        self._close(linger=True)

    def _turn_away(
        self, status: int, detail: str, message: RequestMessage, rest: bytes, fields: bytes = b""
    ) -> None:
        """A well-formed request that we do not forward."""
        self._worker.counters.refused.request(status, 0.0)
        self._reply(status, detail, message, rest, fields, as_problem=True)

    def _tell_health(self, message: RequestMessage, rest: bytes) -> None:
        """What a load balancer or a kubelet asks, of the worker that happened to be asked; counted nowhere.

        Ready depends on nothing but this worker: a database or a control process that is down must not take
        a gateway that serves out of its load balancer.
        """
        worker = self._worker
        if message.path == _ALIVE:
            self._reply(200, "alive", message, rest)
        elif worker.leaving:
            self._reply(503, "draining", message, rest)
        elif worker.sheds_requests:
            self._reply(503, "short of memory", message, rest)
        else:
            self._reply(200, "ready", message, rest)

    def _reply(
        self,
        status: int,
        detail: str,
        message: RequestMessage,
        rest: bytes,
        fields: bytes = b"",
        *,
        as_problem: bool = False,
    ) -> None:
        """An answer of our own. The connection goes on if the request's body is short."""
        length = max(message.content_length, 0)
        keep = not self._close_after and not message.chunked and length <= MAX_HELD and status != 413
        if message.expects_continue and len(rest) < length:
            keep = False  # after a final answer the client may send the body or leave it out
        if not keep:
            fields += _CLOSE
        elif not message.minor:
            fields += _KEEP
        is_head = message.method == b"HEAD"
        write = problem if as_problem else plain
        self.transport.write(write(status, detail, message.request_id, fields=fields, bodiless=is_head))
        if keep:
            self._held = rest[length:]
            self._skip = max(length - len(rest), 0)
            self._ready = not (self._held or self._skip or self._unread)
        else:
            self._close(linger=True)


def _shown(text: bytes) -> str:
    return text[:200].decode("latin-1")
