"""One client request and its response: decide, ask, answer, and observe both arms.

The client's answer depends on nothing but the arm that serves it. A candidate that fails before a byte of
its answer reached the client costs the client nothing but time: the incumbent answers. The mirror is sent
after the served request is on its way, and whatever it does is between the mirror and its budget.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from domain.members import ANSWERED, CANDIDATE, INCUMBENT
from domain.observation import Outcome
from domain.routing import Decision
from domain.snapshot import UnitKind
from gateway.chunks import LAST_CHUNK, encode
from gateway.head import ResponseHead
from gateway.message import RequestMessage
from gateway.mirror import Mirror
from gateway.pointer import text_at
from gateway.pool import Pool
from gateway.problem import RETRY_AFTER, problem
from gateway.retries import RetryBudget
from gateway.service import ServedEndpoint
from gateway.upstream import UpstreamConnection
from shadow.pairing import NOTHING_KEPT, Capture, Kept, PendingPair, asked, observed

if TYPE_CHECKING:
    from gateway.client import ClientConnection
    from gateway.worker import Worker

COLLECT: Final = 256 * 1024
"""Bytes of a request's body up to which it is collected before anybody is asked; a longer one streams."""
KEPT_FOR_FAILOVER: Final = 1024 * 1024
"""Bytes of a request's body up to which it can be sent again to the incumbent."""
CLIENT_LEFT: Final = 499
"""Counted as status for a client that closed before its answer was whole (nginx's convention)."""
OVERHEAD_SAMPLE: Final = 16
"""Of so many requests the gateway's own time is measured for one."""
NONE_TRIED: Final[frozenset[Pool]] = frozenset()


class Exchange:
    """The recipient of the serving arm's answer. See gateway.upstream.Recipient."""

    __slots__ = (
        "__dict__",  # for what stands below: made only where one of these is set
        "_asked", "_at_once", "_began", "_client", "_connection", "_decision", "_head", "_owes", "_pending",
        "_pool", "_service", "_settled", "_unit", "_version", "_worker", "abandoned", "deadline", "is_head",
        "message", "sent_head", "streams_upload",
    )  # fmt: skip
    # What is rare stands in the class: a request only writes what it has.
    streams_answer = True
    _encode = False
    _upload_paused = False
    _held = 0
    _tried = NONE_TRIED
    _capture: Capture | None = None
    _retry: RetryBudget | None = None

    def __init__(
        self, client: ClientConnection, worker: Worker, service: ServedEndpoint, message: RequestMessage,
        began: float,
    ) -> None:  # fmt: skip
        self._client = client
        self._worker = worker
        self._service = service
        self._version = service.incumbent
        self.message = message
        self._began = self._asked = self.deadline = began
        self._at_once = self._owes = self._settled = False
        self.abandoned = self.sent_head = self.streams_upload = False
        self._connection: UpstreamConnection | None = None
        self._decision: Decision | None = None
        self._head: ResponseHead | None = None
        self._pending: PendingPair | None = None
        self._pool: Pool | None = None
        self._unit: str | None = None
        self.is_head = message.method == b"HEAD"

    @property
    def max_body(self) -> int:
        """Bytes."""
        return self._service.endpoint.max_body

    # ---- the request comes in -------------------------------------------------------------------------

    def whole(self, body: bytes) -> None:
        """The request's body, all of it, at once: the hot path."""
        message = self.message
        message.content = body
        message.size = len(body)
        message.complete = True
        self._at_once = True
        self._dispatch(self._service, self._began)

    def received(self, piece: bytes) -> None:
        """A part of the request's body."""
        message = self.message
        message.add(piece, self._keep_up_to(message.size + len(piece)))
        if self._held and not message.kept:
            self._release_held()
        if self._decision is None:
            if message.size > COLLECT and self._service.endpoint.unit.kind is not UnitKind.BODY:
                self.streams_upload = True
                self._decide_now()
        elif self._connection is not None:
            self._extend_deadline(self._connection)
            self._connection.send(encode(piece) if message.chunked else piece)

    def uploaded(self) -> None:
        """The request's body is whole."""
        message = self.message
        if self._decision is None:
            message.complete = True
            self._decide_now()
            return
        if self._connection is not None:
            self.streams_upload = False
            self._extend_deadline(self._connection)
            if message.chunked:
                self._connection.send(LAST_CHUNK)
        message.complete = True
        self._release_held()  # the pair takes it over
        # Not where a pair could no longer hold both arms' ends: the answer has begun, or the arm failed over.
        if not self._settled and not self.sent_head and self._version.arm is self._decision.arm:
            self._mirror(self._decision)

    def _decide_now(self) -> None:
        # By the snapshot of now, not of the head's time: after a swap nobody is admitted under the old one.
        worker = self._worker
        self._dispatch(worker.current(self._service), worker.clock())

    def _extend_deadline(self, connection: UpstreamConnection) -> None:
        """The server's time starts when it has the request; a slow client has its own timeout."""
        now = self._worker.clock()
        self.deadline = now + self._service.timeout
        if self.streams_upload and not self._upload_paused:
            connection.deadline = inf
        elif self.sent_head:
            connection.deadline = self.deadline
        else:
            connection.deadline = now + self._version.patience

    def _keep_up_to(self, size: int) -> int:
        """Bytes of a body of which `size` bytes have come: what goes beyond is not kept, only passed on."""
        most = self._service.max_body
        if self._decision is None or self._connection is None:
            return most
        by_right = KEPT_FOR_FAILOVER if self._version.arm is CANDIDATE else COLLECT
        if size <= by_right or self._decision.mirror is None or not self.message.kept:
            return by_right
        # To mirror it, all of it has to be kept, and there is a budget for that.
        if not self._service.budget.hold(size - self._held):
            return by_right
        self._held = size
        self._owes = True
        return most

    def _release_held(self) -> None:
        self._service.budget.release(self._held)
        self._held = 0

    # ---- decide and ask -------------------------------------------------------------------------------

    def _dispatch(self, service: ServedEndpoint, now: float) -> None:
        worker = self._worker
        message = self.message
        self._service = service
        self._asked = now
        self.deadline = now + service.timeout
        field = service.unit_field
        if field is None:
            self._unit = unit = self._read_unit()
        else:
            values = message.values
            value = None if values is None else values.get(field)
            self._unit = unit = text_of(value) if value else None
        route = service.route
        context = worker.context(service, message, self._client.peer) if route.needs_context else None
        self._follow(route.decide(unit, context), now)

    def _follow(self, decision: Decision, now: float) -> None:
        """Ask whom `decision` names."""
        service = self._service
        if decision.arm is INCUMBENT:
            version = service.incumbent
        else:
            candidate = service.candidate
            if candidate is None or service.guarded:
                # Guarded since the request began: it was none that a GuardedExchange was made for.
                decision = to_incumbent(decision)
                version = service.incumbent
            else:
                version = candidate
        self._decision = decision
        self._version = version
        if service.mirrors and self.message.complete and decision.mirror is not None:
            self._mirror(decision)
        servers = version.servers
        pool = servers.only or servers.choose()
        if pool is None or self.streams_upload:
            self._ask(now)
            return
        self._pool = pool
        self._asked = now = self._worker.clock()
        pool.ask(self, now + version.patience, service.timeout)

    def _read_unit(self) -> str | None:
        endpoint = self._service.endpoint
        if endpoint.unit.kind is UnitKind.BODY:
            return text_at(self.message.body(), endpoint.unit.name)
        return text_of(self.message.request_id)

    def _mirror(self, decision: Decision) -> None:
        """Sample, open a pair, and have the other arm asked as well."""
        message = self.message
        if decision.mirror is None or not message.kept:
            return
        service = self._service
        worker = self._worker
        if not worker.sampler.sampled(service.share):
            return
        size = message.size
        if not service.budget.open(size):
            service.mirrored["dropped"] += 1
            return
        question = asked(
            text_of(message.request_id), service.name, self._unit_digest(), decision.generation,
            decision.arm, worker.wall(),
        )  # fmt: skip
        kept = self._kept() if service.keeps else NOTHING_KEPT
        repeats = service.noise_share > 0 and worker.sampler.sampled(service.noise_share)
        pending = PendingPair(service.budget, size, service.max_body, question, kept, repeats=repeats)
        self._pending = pending
        worker.later(Mirror(worker, service, service.version(decision.mirror), message, pending))
        if repeats:
            worker.later(Mirror(worker, service, service.incumbent, message, pending, repeats=True))

    def _kept(self) -> Kept:
        """What the endpoint's guards read of the request itself."""
        message = self.message
        values = message.values or {}
        cohorts = tuple(
            None if (value := values.get(name)) is None else text_of(value) for name in self._service.cohorts
        )
        if not self._service.endpoint.keep_request:
            return Kept(cohorts=cohorts)
        return Kept(message.body(), message.media(), cohorts)

    def _unit_digest(self) -> int:
        unit = self._unit
        return 0 if unit is None or self._service.unit_is_request else self._worker.unit_hash.digest(unit)

    def _ask(self, now: float) -> None:
        pool = self._version.servers.choose(self._tried)
        if pool is None:
            self.failed(Outcome.CONNECT, "the version has no server left to ask", unanswered=False)
            return
        self._pool = pool
        self._asked = now
        self._upload_paused = False
        timeout = self._service.timeout
        if self.streams_upload:
            self.deadline = now + timeout
            pool.upload(self, now + self._version.patience, timeout)
        else:
            pool.ask(self, min(self.deadline, now + self._version.patience), timeout)

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
        version = self._version
        self._connection = None
        self._head = head
        if not self.abandoned:
            self.sent_head = True
            client = self._client
            client.transport.write(
                b"HTTP/1.1 %b%b\r\nx-request-id: %b%b%b\r\n\r\n%b"
                % (
                    head.reason, head.fields, self.message.request_id, version.fields,
                    client.closing_field(self), body,
                )
            )  # fmt: skip
        if self._pending is not None or version.arm is CANDIDATE:
            self._observed(ANSWERED, head, now, body)
        self._settle(head.status, now)

    def begun(self, head: ResponseHead, *, until_close: bool) -> None:
        self._head = head
        if self._connection is not None:
            self._connection.deadline = max(self._connection.deadline, self.deadline)
        self.sent_head = True
        fields = self._version.fields
        if head.chunked or until_close:
            if self.message.minor:
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
            self.message.request_id,
            fields,
        )

    def interim(self, head: ResponseHead) -> None:
        if self.message.minor and not self.sent_head:
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
        head = self._head
        if capture is not None and capture.overflowed:
            self._observed(Outcome.OVERSIZE, head, now, b"")
        else:
            self._observed(ANSWERED, head, now, b"" if capture is None else capture.body(), held=True)
        self._settle(0 if head is None else head.status, now)

    def failed(self, outcome: Outcome, reason: str, *, unanswered: bool) -> None:
        now = self._worker.clock()
        self._connection = None
        if self.abandoned:
            return
        again = self.message.kept and not self.sent_head
        if unanswered and again and self._may_retry():
            self._ask(now)
            return
        servers = self._version.servers
        if outcome is Outcome.CONNECT and again and self._pool is not None and len(servers.pools) > 1:
            self._tried |= {self._pool}
            if servers.choose(self._tried) is not None:
                self._ask(now)
                return
        self._observed(outcome, self._head, now, b"")
        if self.sent_head:
            self._client.break_off()
            self._settle(502, now)
        elif self._version.arm is CANDIDATE and again:
            # The client gets the incumbent's answer; that this arm gave none is counted all the same.
            self._version.tally.request(0, now - self._began)
            self._end_retry()
            self._version = self._service.incumbent
            self._tried = NONE_TRIED
            self._pending = None
            self._ask(now)
        else:
            self._answer_problem(outcome, reason, now)

    def _may_retry(self) -> bool:
        """Once, only what may be done twice (RFC 9110, 9.2.2), and only within the version's budget."""
        repeatable = self._service.endpoint.idempotent or self.message.method in (b"GET", b"HEAD")
        budget = self._version.servers.retries
        if self._retry is not None or not repeatable or not budget.may_retry():
            return False
        budget.started()
        self._retry = budget
        self._owes = True
        return True

    def _end_retry(self) -> None:
        if self._retry is not None:
            self._retry.ended()
            self._retry = None

    def _answer_problem(self, outcome: Outcome, reason: str, now: float) -> None:
        status = _STATUS_OF.get(outcome, 502)
        detail = f"{self._version.arm} {self._version.name}: {reason}"
        self._write_problem(status, detail, RETRY_AFTER if status == 503 else b"")
        self._settle(status, now)

    def _write_problem(self, status: int, detail: str, fields: bytes = b"") -> None:
        self.sent_head = True
        fields = self._client.closing_field(self) + fields
        self._client.write(
            problem(status, detail, self.message.request_id, fields=fields, bodiless=self.is_head)
        )

    # ---- the end --------------------------------------------------------------------------------------

    def _observed(
        self, outcome: Outcome, head: ResponseHead | None, now: float, body: bytes, *, held: bool = False
    ) -> None:
        """Tell the worker how this arm did. `held` bodies are in the pair's budget already."""
        pending = self._pending
        version = self._version
        if pending is None:
            if version.arm is INCUMBENT:
                return
            body = b""
        elif body and not held and not pending.keeps(body):
            outcome, body = Outcome.OVERSIZE, b""
        status, media = (0, "") if head is None else (head.status, head.media)
        observation = observed(version.name, outcome, status, now - self._asked, body, media)
        self._worker.observe(self._service, version, observation, pending)

    def _settle(self, status: int, now: float) -> None:
        """The client has its answer."""
        if self._settled:
            return
        self._settled = True
        self._version.tally.request(status, now - self._began)
        worker = self._worker
        worker.until_sample -= 1
        if worker.until_sample <= 0:
            worker.until_sample = OVERHEAD_SAMPLE
            if self._at_once:
                own = (self._asked - self._began) + (worker.clock() - now)
                worker.counters.overhead(self._service.name, own)
        if self._owes:
            self._end_retry()
            self._release_held()
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
            self._write_problem(status, detail)
        self._settle(status, self._worker.clock())

    def _let_go(self) -> None:
        self.abandoned = True
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        elif self._pool is not None:
            self._pool.leave(self)
        if not self._settled and self._pending is not None:
            self._observed(Outcome.ABANDONED, None, self._asked, b"")

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


def to_incumbent(decision: Decision) -> Decision:
    """The same in a shadow stage."""
    return Decision(INCUMBENT, CANDIDATE, decision.reason, decision.generation)


def text_of(value: bytes) -> str:
    """A field's value as text, whatever its bytes."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
