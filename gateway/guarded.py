"""Guarded: both arms are asked; the candidate's answer is served only if it agrees with the incumbent's.

The problem: a canary shows some users a prediction that nobody has checked. Guarded shows it only where the
incumbent would have said the same, at the price that the client waits for both. The guarantee: the client
gets exactly one answer, by the incumbent's own rules (its retries, its timeout, its failures), and it is the
candidate's only when both answers were whole, were compared, and are no flip. The client never waits for the
candidate longer than the candidate's patience, half of the timeout, and not at all for one that failed, or
when the incumbent's answer is none that could be compared.

The incumbent is asked as the serving arm, by the exchange; the candidate by a `Challenger`, a mirror that
tells the exchange of its end. The incumbent's whole answer is held until then:

| the incumbent's answer | the candidate's answer | the client gets |
|---|---|---|
| whole, 2xx, of known length, up to `MOST_HELD` | such a one, in any framing; it agrees | the candidate's |
| the same | anything else, or none in time | the incumbent's, then |
| chunked or until close, longer, or no 2xx | any | the incumbent's, at once |
| failed | any | that failure |

What the incumbent answered is handed in last, once it is settled what was served, so that the pair says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.members import ANSWERED, CANDIDATE, INCUMBENT
from domain.observation import Observation, Outcome
from domain.routing import Decision
from gateway.agreement import Finding
from gateway.exchange import text_of, to_incumbent
from gateway.head import ResponseHead
from gateway.message import NO_LENGTH, RequestMessage
from gateway.mirror import Mirror
from gateway.service import ServedEndpoint, ServedVersion
from gateway.watched import WatchedExchange
from shadow.pairing import NOTHING_KEPT, PendingPair, asked, observed

if TYPE_CHECKING:
    from gateway.client import ClientConnection
    from gateway.worker import Worker

MOST_HELD = 256 * 1024
"""Bytes of an answer that is compared; a longer one is not waited for."""
NO_CONTENT = 204


class GuardedExchange(WatchedExchange):
    """`challenged` is what the candidate's side calls; the rest is gateway.upstream.Recipient.

    `_guards` holds from the moment the candidate is asked until it is known which answer is served.
    """

    __slots__ = ("_guards", "_pieces", "_rival", "_rival_head", "_trusted", "_trusted_at")

    def __init__(
        self, client: ClientConnection, worker: Worker, service: ServedEndpoint, message: RequestMessage,
        began: float,
    ) -> None:  # fmt: skip
        super().__init__(client, worker, service, message, began)
        self._guards = False
        self._pieces: list[bytes] | None = None
        self._rival: Observation | None = None
        self._rival_head: ResponseHead | None = None
        self._trusted: Observation | None = None
        self._trusted_at = began

    # ---- ask both -------------------------------------------------------------------------------------

    def _follow(self, decision: Decision, now: float) -> None:
        service = self._service
        if service.guarded and decision.arm is CANDIDATE:
            decision = to_incumbent(decision)
            message = self.message
            if service.comparer is not None and message.complete and message.kept and not self.is_head:
                self._challenge(decision.generation)
                decision = Decision(INCUMBENT, None, decision.reason, decision.generation)
        super()._follow(decision, now)

    def _challenge(self, generation: int) -> None:
        """Open the pair and have the candidate asked, if there is room for that."""
        message = self.message
        service = self._service
        worker = self._worker
        size = message.size
        gate = self._gate
        if (gate is not None and gate.crowded) or not service.budget.open(size):
            service.mirrored["dropped"] += 1
            return
        question = asked(
            text_of(message.request_id), service.name, self._unit_digest(), generation,
            INCUMBENT, worker.wall(),
        )  # fmt: skip
        kept = self._kept() if service.keeps else NOTHING_KEPT
        noise = service.budget.limits.noise_share
        repeats = noise > 0 and worker.sampler.sampled(noise)
        max_body = service.endpoint.max_body
        self._pending = pending = PendingPair(service.budget, size, max_body, question, kept, repeats=repeats)
        self._guards = True
        worker.later(Challenger(worker, service, service.version(CANDIDATE), message, pending, self))
        if repeats:
            worker.later(Mirror(worker, service, service.incumbent, message, pending, repeats=True))

    # ---- the incumbent's answer -----------------------------------------------------------------------

    def answered(self, head: ResponseHead, body: bytes) -> None:
        pending = self._pending
        if self._guards and pending is not None:
            if _comparable(head, len(body)) and pending.keeps(body):
                self._hold(head, body)
                return
            self._found(Finding.INCOMPARABLE)
        super().answered(head, body)

    def begun(self, head: ResponseHead, *, until_close: bool) -> None:
        pending = self._pending
        if self._guards and pending is not None:
            length = head.content_length
            if _comparable(head, length) and length <= pending.limit and pending.hold(length):
                self._head = head
                self._pieces = []
                connection = self._connection
                if connection is not None:
                    connection.deadline = max(connection.deadline, self.deadline)
                return
            self._found(Finding.INCOMPARABLE)
        super().begun(head, until_close=until_close)

    def piece(self, data: bytes) -> None:
        if self._pieces is None:
            super().piece(data)
        else:
            self._pieces.append(data)

    def ended(self) -> None:
        pieces, head = self._pieces, self._head
        if pieces is None or head is None:
            super().ended()
        else:
            self._pieces = None
            self._hold(head, b"".join(pieces))

    def _hold(self, head: ResponseHead, body: bytes) -> None:
        """The incumbent's answer is whole, and `body` in the pair's budget."""
        self._connection = None
        self._head = head
        self._trusted_at = now = self._worker.clock()
        self._trusted = observed(
            self._version.name, ANSWERED, head.status, now - self._asked, body, head.media
        )
        if not self._guards:
            self._serve_trusted()  # the candidate's failure came while this was collected
        elif self._rival is not None:
            self._judge()

    # ---- the candidate's answer -----------------------------------------------------------------------

    def challenged(self, head: ResponseHead | None, answer: Observation | None) -> None:
        """The candidate's part is over: with `answer`, or (None) with one that is not to be served."""
        if not self._guards or self._settled:
            return
        if head is not None and answer is not None and _servable(answer):
            self._rival, self._rival_head = answer, head
            if self._trusted is not None:
                self._judge()
            return
        came = answer is None or answer.outcome in _CAME
        self._found(Finding.OVERRULED if came else Finding.UNANSWERED)
        if self._trusted is not None:
            self._serve_trusted()

    # ---- which one is served --------------------------------------------------------------------------

    def _judge(self) -> None:
        """Both answers are there."""
        comparer, trusted, rival = self._service.comparer, self._trusted, self._rival
        if comparer is None or trusted is None or rival is None:
            return
        patience = self.deadline - self._worker.clock()
        self._host.comparing.compare(comparer, (trusted, rival), patience, self._judged)

    def _judged(self, finding: Finding) -> None:
        if self._settled:
            return  # the client left while they were compared
        self._found(finding)
        rival, head = self._rival, self._rival_head
        if finding is Finding.AGREED and rival is not None and head is not None:
            self._serve(self._service.version(CANDIDATE), head, rival.body)
        else:
            self._serve_trusted()

    def _found(self, finding: Finding) -> None:
        self._guards = False
        self._host.event(finding.value)

    def _serve_trusted(self) -> None:
        trusted, head = self._trusted, self._head
        if trusted is not None and head is not None:
            self._serve(self._version, head, trusted.body)

    def _serve(self, version: ServedVersion, head: ResponseHead, body: bytes) -> None:
        """Answer with what `version` said; then the pair can be whole."""
        now = self._worker.clock()
        client = self._client
        self._version = version
        self.sent_head = True
        fields = version.fields
        if head.content_length == NO_LENGTH:
            fields += b"\r\ncontent-length: %d" % len(body)
        client.write(self._head_bytes(head, fields + client.closing_field(self)) + body)
        pending = self._pending
        if pending is not None and version.arm is CANDIDATE:
            pending.serve(CANDIDATE)
        self._observe_trusted()
        self._settle(head.status, now)

    def _observe_trusted(self) -> None:
        trusted = self._trusted
        if trusted is not None:
            self._worker.observe(self._service, self._service.incumbent, trusted, self._pending)

    def abandon(self) -> None:
        """The client left. An incumbent's answer that was held is evidence, like any other.

        Were it not, the pairs in which the candidate is slow would be missing.
        """
        if not self._settled:
            self._observe_trusted()
        super().abandon()

    def _served_in(self, now: float) -> float:
        return now - self._asked if self._trusted is None else self._trusted_at - self._asked


class Challenger(Mirror):
    """Asks the candidate for an answer that may be served; never later than by the candidate's patience."""

    __slots__ = ("_exchange",)

    def __init__(
        self, worker: Worker, service: ServedEndpoint, version: ServedVersion, message: RequestMessage,
        pending: PendingPair, exchange: GuardedExchange,
    ) -> None:  # fmt: skip
        super().__init__(worker, service, version, message, pending)
        self._exchange = exchange
        self._patience = version.patience

    def payload(self, authority: bytes, target_prefix: bytes) -> bytes:
        """Without the field that says "mirror": whoever reads it may not bother to answer well."""
        return self._message.payload(authority, target_prefix, self._version.path)

    def begun(self, head: ResponseHead, *, until_close: bool) -> None:
        if head.content_length > MOST_HELD or not 200 <= head.status < 300:
            self._exchange.challenged(None, None)
        super().begun(head, until_close=until_close)

    def piece(self, data: bytes) -> None:
        capture = self._capture
        if capture is not None and capture.held + len(data) > MOST_HELD:
            self._exchange.challenged(None, None)
        super().piece(data)

    def _observe(self, outcome: Outcome, body: bytes) -> None:
        super()._observe(outcome, body)
        self._exchange.challenged(self._head, self._pending.seen(CANDIDATE))


_CAME = frozenset((ANSWERED, Outcome.OVERSIZE, Outcome.FLOOD))
"""Something was answered, though nothing to serve."""


def _comparable(head: ResponseHead, length: int) -> bool:
    """Whether the incumbent's answer of `length` bytes is one to wait with."""
    return head.content_length >= 0 and length <= MOST_HELD and 200 <= head.status < 300


def _servable(answer: Observation) -> bool:
    """Whether the candidate's answer is one to compare."""
    return answer.ok and answer.status != NO_CONTENT and len(answer.body) <= MOST_HELD
