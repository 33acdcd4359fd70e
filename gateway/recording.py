"""Requests that are recorded: each answered one leaves what its record is made of in the worker's outbox.

A worker makes these exchanges only where an endpoint has a log, so that who has none pays nothing. What one
costs is a tuple: bodies are handed on as they passed, the very same bytes, and everything that takes work is
the log's own process's. A mirrored request waits with its tuple until the other arm has ended as well, which
it does by the endpoint's timeout, so that a record is whole and written once.

Where a record is `required`, a request is refused (503) as long as it is known that records cannot be kept:
the outbox is full, or nothing has been acknowledged for LATE seconds. One that was let in is always recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from domain.members import CANDIDATE
from domain.observation import Outcome
from domain.routing import FULL_WEIGHT, Arm, Decision
from gateway.guarded import GuardedExchange
from gateway.head import ResponseHead
from gateway.message import RequestMessage
from gateway.records import Recorder, RecordOutbox
from gateway.service import ServedEndpoint, ServedVersion
from shadow.pairing import PendingPair

if TYPE_CHECKING:
    from gateway.client import ClientConnection
    from gateway.worker import Worker

LONGEST: Final = 256 * 1024
"""Bytes of a request's or an answer's body up to which it is recorded."""
REFUSAL: Final = "its record could not be kept now"
JSON_TYPE: Final = b"application/json"
NO_COHORTS: Final[tuple[str | None, ...]] = ()


class Waiting:
    """A request that was answered and whose other arm has not ended."""

    __slots__ = ("_facts", "_recorder", "_served", "_size")

    def __init__(self, recorder: Recorder, facts: tuple[object, ...], size: int, served: Arm) -> None:
        self._recorder = recorder
        self._facts = facts
        self._size = size
        self._served = served

    def paired(self, pending: PendingPair) -> None:
        """The other arm has ended."""
        other = pending.seen(self._served.other)
        size = self._size if other is None else self._size + len(other.body)
        if other is not None and len(other.body) > LONGEST:
            other = other._replace(body=b"")
            size = self._size
        outbox = self._recorder.outbox
        if outbox.waiting.pop(id(self), None) is not None:  # else it was given up, and left as it was
            outbox.add(self._recorder, (*self._facts, other), size)

    def give_up(self) -> None:
        """It will not end in this worker's time."""
        self._recorder.outbox.add(self._recorder, (*self._facts, None), self._size)


def _media(message: RequestMessage) -> str:
    """How the request's body is written; nearly always as JSON, which is seen without reading fields."""
    values = message.values
    if values is None:
        return ""
    plain = b"content-encoding" not in values and b"inference-header-content-length" not in values
    if plain and values.get(b"content-type", JSON_TYPE) == JSON_TYPE:
        return ""
    return message.media()


def _cohorts(recorder: Recorder, message: RequestMessage) -> tuple[str | None, ...]:
    values = message.values or {}
    return tuple([_text(values.get(name)) for name in recorder.cohorts])


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


class RecordedExchange(GuardedExchange):
    """Any exchange that is recorded; a guarded one only where its endpoint is guarded."""

    __slots__ = ("_answer", "_long", "_outbox", "_parts", "_started")

    def __init__(
        self, client: ClientConnection, worker: Worker, service: ServedEndpoint, message: RequestMessage,
        began: float,
    ) -> None:  # fmt: skip
        super().__init__(client, worker, service, message, began)
        self._answer: bytes | None = b""
        self._parts: list[bytes] | None = None
        self._outbox: RecordOutbox | None = None
        self._long = 0
        self._started = worker.wall()

    def _dispatch(self, service: ServedEndpoint, now: float) -> None:
        recorder = service.recorder
        if recorder is not None and recorder.required and recorder.outbox.refuses:
            self._host.event("record_impossible")
            self._answer_problem(Outcome.OVERLOAD, REFUSAL, now)
            return
        super()._dispatch(service, now)

    def answered(self, head: ResponseHead, body: bytes) -> None:
        self._answer = body if len(body) <= LONGEST else None
        super().answered(head, body)

    def begun(self, head: ResponseHead, *, until_close: bool) -> None:
        recorder = self._service.recorder
        if recorder is not None:
            self._parts = []
            self._outbox = recorder.outbox
        super().begun(head, until_close=until_close)

    def piece(self, data: bytes) -> None:
        parts = self._parts
        outbox = self._outbox
        if parts is not None and outbox is not None:
            size = len(data)
            if self._long + size <= LONGEST and outbox.hold(size):
                self._long += size
                parts.append(data)
            else:
                self._let_go()
                self._answer = None
        super().piece(data)

    def ended(self) -> None:
        parts = self._parts
        if parts is not None:
            self._answer = b"".join(parts)
        super().ended()

    def _let_go(self) -> None:
        """Of what was kept of an answer that comes in pieces."""
        if self._outbox is not None:
            self._outbox.let_go(self._long)
        self._parts = self._outbox = None
        self._long = 0

    def _serve(self, version: ServedVersion, head: ResponseHead, body: bytes) -> None:
        self._answer = body if len(body) <= LONGEST else None
        self._head = head
        super()._serve(version, head, body)

    def _settle(self, status: int, now: float) -> None:
        service = self._service
        recorder = service.recorder
        decision = self._decision
        if recorder is not None and decision is not None and not self._settled:
            worker = self._host
            if recorder.share >= FULL_WEIGHT or worker.sampler.sampled(recorder.share):
                self._record(recorder, decision, status, now)
        self._let_go()
        super()._settle(status, now)

    def _record(self, recorder: Recorder, decision: Decision, status: int, now: float) -> None:
        """Leave what the record is made of, now or when the other arm has ended."""
        message, version, head, answer = self.message, self._version, self._head, self._answer
        size = 0 if answer is None else len(answer)
        request: bytes | None = None
        if message.complete and message.kept and message.size <= LONGEST:
            request = message.content or message.body()
            size += len(request)
        entry = (
            message.request_id, self._started, self._unit if recorder.has_units else None,
            version.arm is CANDIDATE, status, now - self._began, decision.reason, request,
            _media(message), answer, "" if head is None else head.media,
            _cohorts(recorder, message) if recorder.cohorts else NO_COHORTS,
        )  # fmt: skip
        pending = self._pending
        if pending is None:
            recorder.outbox.add(recorder, (*entry, None), size)
            return
        waiting = Waiting(recorder, entry, size, version.arm)
        recorder.outbox.waiting[id(waiting)] = waiting
        if pending.seen(version.arm.other) is not None:
            waiting.paired(pending)
        else:
            pending.record = waiting
