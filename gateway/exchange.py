"""One client request and its response: decide, ask, answer, and observe both arms.

The client's answer depends on nothing but the arm that serves it. A candidate that fails before a byte of
its answer reached the client costs the client nothing but time: the incumbent answers. The mirror is sent
after the served request is on its way, and whatever it does is between the mirror and its budget.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Protocol

from domain.observation import Observation, Outcome
from domain.routing import Arm, Decision
from domain.snapshot import UnitKind
from gateway.chunks import LAST_CHUNK, encode
from gateway.counters import Counters
from gateway.head import RequestHead, ResponseHead
from gateway.message import RequestMessage
from gateway.mirror import Mirror
from gateway.pointer import text_at
from gateway.pool import Pool
from gateway.problem import RETRY_AFTER, problem
from gateway.service import ServedEndpoint
from gateway.upstream import UpstreamConnection
from routing.exposure import FlagContext
from shadow.pairing import Capture, PendingPair
from shadow.sampler import Sampler

if TYPE_CHECKING:
    from gateway.client import ClientConnection

COLLECT = 256 * 1024
"""Bytes of a request's body up to which it is collected before anybody is asked; a longer one streams."""
KEPT_FOR_FAILOVER = 1024 * 1024
"""Bytes of a request's body up to which it can be sent again to the incumbent."""
CLIENT_LEFT = 499
"""Counted as status for a client that closed before its answer was whole (nginx's convention)."""
CANDIDATE_SHARE_OF_TIMEOUT = 0.5
"""A candidate must begin its answer in this share of the timeout, so that the incumbent has the rest."""


class Worker(Protocol):
    """What exchanges need of the worker they run in."""

    clock: Callable[[], float]
    wall: Callable[[], float]
    counters: Counters
    sampler: Sampler
    unit_hash: hashlib.blake2b
    """Keyed, of 8 bytes; copied for each unit."""

    def current(self, service: ServedEndpoint) -> ServedEndpoint:
        """`service` as the snapshot in force has it."""

    def samples_overhead(self) -> bool:
        """Whether the gateway's own time is measured for this request."""

    def later(self, mirror: Mirror) -> None:
        """Send `mirror` once the event loop has written what clients wait for."""

    def observe(
        self,
        service: ServedEndpoint,
        arm: Arm,
        observation: Observation,
        pending: PendingPair | None,
        *,
        mirrored: bool,
    ) -> None:
        """One arm's part of an exchange ended."""

    def context(self, service: ServedEndpoint, head: RequestHead, peer: str) -> FlagContext:
        """What the flag's constraints may ask about a request."""


class Exchange:
    """The recipient of the serving arm's answer. See gateway.upstream.Recipient."""

    # Defaults of the class: an exchange writes only what differs, for it is made once a request.
    _at_once = False
    _capture: Capture | None = None
    _connection: UpstreamConnection | None = None
    _decision: Decision | None = None
    _encode = False
    _head: ResponseHead | None = None
    _pending: PendingPair | None = None
    _pool: Pool | None = None
    _replayed = False
    _settled = False
    _tried: frozenset[Pool] = frozenset()
    _unit: str | None = None
    _upload_paused = False
    abandoned = False
    sent_head = False
    streams_answer = True
    streams_upload = False

    def __init__(
        self, client: ClientConnection, worker: Worker, service: ServedEndpoint, head: RequestHead,
        request_id: bytes, began: float,
    ) -> None:  # fmt: skip
        self._client = client
        self._worker = worker
        self._service = service
        self._began = self._asked = self.deadline = began
        self._version = service.incumbent
        self.head = head
        self.message = RequestMessage(head, client.fields, request_id)
        self.request_id = request_id
        self.is_head = head.method == b"HEAD"

    @property
    def max_body(self) -> int:
        """Bytes."""
        return self._service.endpoint.max_body

    # ---- the request comes in -------------------------------------------------------------------------

    def whole(self, body: bytes) -> None:
        """The request's body, all of it, at once: the hot path."""
        message = self.message
        if body:
            message.pieces.append(body)
            message.size = len(body)
        message.complete = True
        self._at_once = True
        self._dispatch()

    def received(self, piece: bytes) -> None:
        """A part of the request's body."""
        message = self.message
        message.add(piece, self._keep_up_to())
        if self._decision is None:
            if message.size > COLLECT and self._service.endpoint.unit.kind is not UnitKind.BODY:
                self.streams_upload = True
                self._dispatch()
        elif self._connection is not None:
            self._extend_deadline(self._connection)
            self._connection.send(encode(piece) if message.head.chunked else piece)

    def uploaded(self) -> None:
        """The request's body is whole."""
        message = self.message
        if self._decision is None:
            message.complete = True
            self._dispatch()
            return
        if self._connection is not None:
            self.streams_upload = False
            self._extend_deadline(self._connection)
            if message.head.chunked:
                self._connection.send(LAST_CHUNK)
        message.complete = True
        # Not where a pair could no longer hold both arms' ends: the answer has begun, or the arm failed over.
        if not self._settled and not self.sent_head and self._version.arm is self._decision.arm:
            self._mirror()

    def _extend_deadline(self, connection: UpstreamConnection) -> None:
        """The server's time starts when it has the request; a slow client has its own timeout."""
        timeout = self._service.endpoint.timeout
        now = self._worker.clock()
        self.deadline = now + timeout
        if self.streams_upload and not self._upload_paused:
            connection.deadline = inf
        elif self._version.arm is Arm.CANDIDATE and not self.sent_head:
            connection.deadline = now + timeout * CANDIDATE_SHARE_OF_TIMEOUT
        else:
            connection.deadline = self.deadline

    def _keep_up_to(self) -> int:
        decision = self._decision
        if decision is None or decision.mirror is not None or self._connection is None:
            return self._service.endpoint.max_body
        return KEPT_FOR_FAILOVER if self._version.arm is Arm.CANDIDATE else COLLECT

    # ---- decide and ask -------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        # Decided now, not when the head came: after a swap nobody is admitted under the old snapshot.
        worker = self._worker
        self._service = service = worker.current(self._service)
        route = service.route
        self._asked = now = self._began if self._at_once else worker.clock()
        self.deadline = now + service.endpoint.timeout
        self._unit = unit = self._read_unit()
        context = None
        if route.needs_context:
            context = self._worker.context(service, self.head, self._client.peer)
        decision = route.decide(unit, context)
        self._decision = decision
        version = service.candidate if decision.arm is Arm.CANDIDATE else service.incumbent
        self._version = version or service.incumbent
        if decision.mirror is not None and service.endpoint.shadow.share and self.message.complete:
            self._mirror()
        self._ask(worker.clock())

    def _read_unit(self) -> str | None:
        source = self._service.unit_field
        if source is not None:
            values = self.head.values
            value = None if values is None else values.get(source)
            if not value:
                return None
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value.decode("latin-1")
        endpoint = self._service.endpoint
        if endpoint.unit.kind is UnitKind.BODY:
            return text_at(self.message.body(), endpoint.unit.name)
        return self.request_id.decode()

    def _mirror(self) -> None:
        """Sample, open a pair, and have the other arm asked as well."""
        decision = self._decision
        if decision is None or decision.mirror is None or not self.message.kept:
            return
        service = self._service
        endpoint = service.endpoint
        worker = self._worker
        if not worker.sampler.sampled(endpoint.shadow.share):
            return
        size = self.message.size
        if not service.budget.open(size):
            worker.counters.mirror(endpoint.name, "dropped")
            return
        self._pending = pending = PendingPair(
            budget=service.budget,
            size=size,
            limit=endpoint.max_body,
            request_id=self.request_id.decode(),
            endpoint=endpoint.name,
            unit=self._unit_digest(),
            generation=decision.generation,
            served=decision.arm,
            at=worker.wall(),
        )
        worker.later(Mirror(worker, service, service.version(decision.mirror), self.message, pending))

    def _unit_digest(self) -> int:
        unit = self._unit
        if unit is None or self._service.endpoint.unit.kind is UnitKind.REQUEST:
            return 0
        digest = self._worker.unit_hash.copy()
        digest.update(unit.encode("utf-8", "replace"))
        return int.from_bytes(digest.digest(), "big")

    def _ask(self, now: float) -> None:
        pool = self._version.servers.choose(self._tried)
        if pool is None:
            self.failed(Outcome.OVERLOAD, "the version has no server left to ask", unanswered_reuse=False)
            return
        self._pool = pool
        self._asked = now
        self._upload_paused = False
        timeout = self._service.endpoint.timeout
        if self.streams_upload:
            self.deadline = now + timeout
        deadline = self.deadline
        if self._version.arm is Arm.CANDIDATE:
            deadline = min(deadline, now + timeout * CANDIDATE_SHARE_OF_TIMEOUT)
        pool.ask(self, deadline, timeout)

    def payload(self, authority: bytes, target_prefix: bytes) -> bytes:
        return self.message.payload(authority, target_prefix, self._version.path)

    def connected(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        if self.streams_upload:
            if self.message.complete:
                self.streams_upload = False
            self._extend_deadline(connection)
            if not self._upload_paused:
                self._client.resume_upload()

    @property
    def upload_stalls(self) -> bool:
        """Reading on would only fill memory: the body streams and there is no server to stream it to."""
        return self.streams_upload and (self._connection is None or self._upload_paused)

    # ---- the answer comes back ------------------------------------------------------------------------

    def answered(self, head: ResponseHead, body: bytes) -> None:
        now = self._worker.clock()
        self._connection = None
        self._head = head
        if not self.abandoned:
            self.sent_head = True
            fields = self._version.fields
            if head.status == 204:
                fields = fields + self._client.closing_field(self)
                self._client.write(self._head_bytes(head, fields))
            else:
                self._client.write(
                    b"HTTP/1.1 %b%b\r\nx-request-id: %b%b%b\r\n\r\n%b"
                    % (
                        head.reason,
                        head.fields,
                        self.request_id,
                        fields,
                        self._client.closing_field(self),
                        body,
                    )
                )
        self._observed(Outcome.ANSWERED, head.status, now, body)
        self._settle(head.status, now)

    def begun(self, head: ResponseHead, *, until_close: bool) -> None:
        self._head = head
        if self._version.arm is Arm.CANDIDATE and self._connection is not None:
            self._connection.deadline = max(self._connection.deadline, self.deadline)
        self.sent_head = True
        fields = self._version.fields
        if head.chunked or until_close:
            if self.head.minor:
                self._encode = True
                fields += b"\r\ntransfer-encoding: chunked"
            else:
                self._client.close_when_answered()
        if self._pending is not None:
            self._capture = Capture(self._pending)
        self._client.write(self._head_bytes(head, fields + self._client.closing_field(self)))

    def _head_bytes(self, head: ResponseHead, fields: bytes) -> bytes:
        return b"HTTP/1.1 %b%b\r\nx-request-id: %b%b\r\n\r\n" % (
            head.reason,
            head.fields,
            self.request_id,
            fields,
        )

    def interim(self, head: ResponseHead) -> None:
        if self.head.minor and not self.sent_head:
            self._client.write(b"HTTP/1.1 %b%b\r\n\r\n" % (head.reason, head.fields))

    def piece(self, data: bytes) -> None:
        self._client.write(encode(data) if self._encode else data)
        if self._capture is not None:
            self._capture.add(data)

    def ended(self) -> None:
        now = self._worker.clock()
        self._connection = None
        if self._encode:
            self._client.write(LAST_CHUNK)
        capture = self._capture
        status = 0 if self._head is None else self._head.status
        if capture is not None and capture.overflowed:
            self._observed(Outcome.OVERSIZE, status, now, b"")
        else:
            self._observed(
                Outcome.ANSWERED, status, now, b"" if capture is None else capture.body(), held=True
            )
        self._settle(status, now)

    def failed(self, outcome: Outcome, reason: str, *, unanswered_reuse: bool) -> None:
        now = self._worker.clock()
        self._connection = None
        if self.abandoned:
            return
        again = self.message.kept and not self.sent_head
        if unanswered_reuse and again and not self._replayed and self._may_replay():
            self._replayed = True
            self._ask(now)
            return
        if outcome is Outcome.CONNECT and again and self._pool is not None:
            self._tried |= {self._pool}
            if self._version.servers.choose(self._tried) is not None:
                self._ask(now)
                return
        self._observed(outcome, 0 if self._head is None else self._head.status, now, b"")
        if self.sent_head:
            self._client.break_off()
            self._settle(502, now)
        elif self._version.arm is Arm.CANDIDATE and again:
            self._version = self._service.incumbent
            self._tried = frozenset()
            self._pending = None
            self._ask(now)
        else:
            self._answer_problem(outcome, reason, now)

    def _may_replay(self) -> bool:
        return self._service.endpoint.idempotent or self.head.method in (b"GET", b"HEAD")

    def _answer_problem(self, outcome: Outcome, reason: str, now: float) -> None:
        status = _STATUS_OF.get(outcome, 502)
        fields = self._client.closing_field(self)
        if status == 503:
            fields += RETRY_AFTER
        detail = f"{self._version.arm} {self._version.name}: {reason}"
        self.sent_head = True
        self._client.write(problem(status, detail, self.request_id, fields=fields, bodiless=self.is_head))
        self._settle(status, now)

    # ---- the end --------------------------------------------------------------------------------------

    def _observed(
        self, outcome: Outcome, status: int, now: float, body: bytes, *, held: bool = False
    ) -> None:
        """Tell the worker how this arm did. `held` bodies are in the pair's budget already."""
        pending = self._pending
        if pending is None and self._version.arm is Arm.INCUMBENT:
            return
        if (
            pending is not None
            and body
            and not held
            and not (len(body) <= pending.limit and pending.hold(len(body)))
        ):
            outcome, body = Outcome.OVERSIZE, b""
        observation = Observation(
            self._version.name, outcome, status, now - self._asked, body if pending else b""
        )
        self._worker.observe(self._service, self._version.arm, observation, pending, mirrored=False)

    def _settle(self, status: int, now: float) -> None:
        """The client has its answer."""
        if self._settled:
            return
        self._settled = True
        worker = self._worker
        version = self._version
        endpoint = self._service.endpoint.name
        version.tally.request(status, now - self._began)
        if self._at_once and worker.samples_overhead():
            worker.counters.overhead(endpoint, (self._asked - self._began) + (worker.clock() - now))
        self._client.settled(self, now)

    def abandon(self) -> None:
        """The client left: nobody is asked any longer on its behalf; the mirror goes on by itself."""
        self._let_go()
        self._settle(CLIENT_LEFT, self._worker.clock())

    def reject(self, status: int, detail: str) -> None:
        """The request itself turned out to be unacceptable while its body came in."""
        self._let_go()
        if self.sent_head:
            self._client.break_off()
        else:
            self.sent_head = True
            fields = self._client.closing_field(self)
            self._client.write(problem(status, detail, self.request_id, fields=fields, bodiless=self.is_head))
        self._settle(status, self._worker.clock())

    def _let_go(self) -> None:
        self.abandoned = True
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        if not self._settled and self._pending is not None:
            observation = Observation(self._version.name, Outcome.ABANDONED, 0, 0.0, b"")
            self._worker.observe(self._service, self._version.arm, observation, self._pending, mirrored=False)

    def upload_paused(self) -> None:
        self._upload_paused = True
        if self._connection is not None:
            self._extend_deadline(self._connection)
        self._client.pause_upload()

    def upload_resumed(self) -> None:
        self._upload_paused = False
        if self._connection is not None:
            self._extend_deadline(self._connection)
        self._client.resume_upload()

    def client_paused(self) -> None:
        """The client reads too slowly: stop reading from the server."""
        if self._connection is not None:
            self._connection.pause()

    def client_resumed(self) -> None:
        if self._connection is not None:
            self._connection.resume()


_STATUS_OF = {
    Outcome.CONNECT: 502,
    Outcome.TIMEOUT: 504,
    Outcome.PROTOCOL: 502,
    Outcome.OVERLOAD: 503,
}
