"""A mirror: a copy of a request whose answer no client sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.members import ANSWERED
from domain.observation import Outcome
from gateway.head import ResponseHead
from gateway.message import RequestMessage
from gateway.service import ServedEndpoint, ServedVersion
from gateway.upstream import UpstreamConnection
from shadow.pairing import Capture, PendingPair, observed

if TYPE_CHECKING:
    from gateway.worker import Worker

MIRROR_FIELD = b"\r\nx-pointsman-mirror: 1"
_COUNTED_AS = {
    Outcome.OVERSIZE: "paired",
    Outcome.TIMEOUT: "timeout",
    Outcome.OVERLOAD: "dropped",
}
"""Everything else counts as failed."""


class Mirror:
    """Asks `version` what the client asked and observes the answer. A mirror is never sent twice.

    One that `repeats` asks the incumbent a second time.
    """

    __slots__ = (
        "_asked", "_capture", "_connection", "_head", "_heard", "_message", "_patience", "_pending",
        "_repeats", "_service", "_stale", "_version", "_worker", "is_head",
    )  # fmt: skip
    abandoned = False
    streams_answer = False
    streams_upload = False

    def __init__(
        self, worker: Worker, service: ServedEndpoint, version: ServedVersion, message: RequestMessage,
        pending: PendingPair, *, repeats: bool = False,
    ) -> None:  # fmt: skip
        self._worker = worker
        self._service = service
        self._version = version
        self._message = message
        self._pending = pending
        self._repeats = repeats
        self._patience = service.timeout
        self._asked = self._heard = 0.0
        self._stale = False
        self._capture: Capture | None = None
        self._connection: UpstreamConnection | None = None
        self._head: ResponseHead | None = None
        self.is_head = message.method == b"HEAD"

    def send(self) -> None:
        """Ask now."""
        servers = self._version.servers
        pool = servers.only or servers.choose()
        self._asked = now = self._worker.clock()
        if pool is None:
            self.failed(Outcome.CONNECT, "the version has no server to ask", unanswered=False)
            return
        pool.ask(self, now + self._patience, self._service.timeout)

    def payload(self, authority: bytes, target_prefix: bytes) -> bytes:
        return self._message.payload(authority, target_prefix, self._version.path, MIRROR_FIELD)

    def connected(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._asked = now = self._worker.clock()
        self._stale = connection.stale(now)

    def interim(self, head: ResponseHead) -> None:
        """Nobody waits for hints."""

    def answered(self, head: ResponseHead, body: bytes) -> None:
        self._head = head
        if body and not self._pending.keeps(body):
            self._observe(Outcome.OVERSIZE, b"")
        else:
            self._observe(ANSWERED, body)

    def begun(self, head: ResponseHead, *, until_close: bool) -> None:
        self._head = head
        self._capture = Capture(self._pending)
        if self._pending.floods(self._version.arm, head.content_length):
            self._cut(Outcome.FLOOD)
        elif head.content_length > self._pending.limit:
            self._cut(Outcome.OVERSIZE)

    def piece(self, data: bytes) -> None:
        self._heard = self._worker.clock()
        capture = self._capture
        if capture is None or not capture.add(data):
            self._cut(Outcome.OVERSIZE)
        elif self._pending.floods(self._version.arm, capture.held):
            self._cut(Outcome.FLOOD)

    def _cut(self, outcome: Outcome) -> None:
        if self._connection is not None:
            self._connection.abort()
        self._observe(outcome, b"")

    def ended(self) -> None:
        self._observe(ANSWERED, b"" if self._capture is None else self._capture.body())

    def failed(self, outcome: Outcome, reason: str, *, unanswered: bool) -> None:
        if unanswered and self._stale:
            outcome = Outcome.OVERLOAD
        elif outcome is Outcome.TIMEOUT and self._still_streams():
            outcome = Outcome.OVERSIZE
        self._observe(outcome, b"")

    def _still_streams(self) -> bool:
        """A stream that is cut for our bound's sake is not late: only one that fell silent is."""
        silence = self._worker.clock() - self._heard
        return self._heard > 0 and silence < self._patience / 2

    def upload_paused(self) -> None:
        """The whole request was written at once: nothing to pause."""

    def upload_resumed(self) -> None:
        """See upload_paused."""

    def _observe(self, outcome: Outcome, body: bytes) -> None:
        worker = self._worker
        head = self._head
        status, media = (0, "") if head is None else (head.status, head.media)
        version = self._version
        latency = worker.clock() - self._asked
        observation = observed(version.name, outcome, status, latency, body, media)
        # Identity first: an enum's hash is a call in Python, and nearly all are answered.
        counted = "paired" if outcome is ANSWERED else _COUNTED_AS.get(outcome, "failed")
        self._service.mirrored[counted] += 1
        if self._repeats:
            worker.repeated(observation, self._pending)
        else:
            worker.observe(self._service, version, observation, self._pending)
