"""What a worker keeps until the control process has it.

Pairs wait here, oldest first, up to a bound in bytes; over it the oldest are dropped and counted (whatever
they hold, so the loss says nothing about outcomes). A few batches at a time are on their way; each is kept
as bytes until it is acknowledged and sent again after a reconnect. Counts are never dropped: they
accumulate in place until the next batch.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import msgspec

from domain.observation import Pair
from shadow.wire import (
    Batch,
    DrillReport,
    MirrorCounts,
    OverheadCounts,
    RequestCounts,
    ServerReport,
    Vitals,
    frame,
)

MAX_PENDING = 64 * 1024 * 1024
"""Bytes of pairs that wait to be sent."""
MAX_ON_THE_WAY = 64
"""Batches that were sent and are not acknowledged."""
MAX_BATCH = 4 * 1024 * 1024
"""Bytes of pairs in one batch (a single larger pair still travels, alone)."""
_PAIR_OVERHEAD = 400
"""Bytes a pair takes beside its bodies, roughly."""

Counts = tuple[list[RequestCounts], list[OverheadCounts], list[MirrorCounts]]


class Outbox:
    """`session` is unique per process; see shadow.wire for what it is for."""

    def __init__(self, session: str, *, max_pending: int = MAX_PENDING) -> None:
        self._session = session
        self._max_pending = max_pending
        self._pairs: deque[tuple[int, Pair]] = deque()
        self._bytes = 0
        self._sequence = 0
        self._on_the_way: deque[tuple[int, bytes]] = deque()
        self._dropped: dict[str, int] = {}
        self._events: dict[str, int] = {}
        self._servers: dict[str, ServerReport] = {}
        self._drills: dict[str, DrillReport] = {}
        self._lag: tuple[list[int], float] | None = None

    def __repr__(self) -> str:
        return f"<Outbox pairs={len(self._pairs)} bytes={self._bytes} on_the_way={len(self._on_the_way)}>"

    @property
    def pending(self) -> int:
        """Pairs not yet cut into a batch."""
        return len(self._pairs)

    @property
    def room(self) -> bool:
        """Whether another batch may be on its way."""
        return len(self._on_the_way) < MAX_ON_THE_WAY

    def add(self, pair: Pair) -> None:
        """Keep `pair`; the oldest go when that is too much."""
        # As `Pair.size`, without a call: it happens once a mirrored request.
        size = len(pair.incumbent.body) + len(pair.candidate.body) + len(pair.request) + _PAIR_OVERHEAD
        if pair.repeat is not None:
            size += len(pair.repeat.body)
        self._pairs.append((size, pair))
        self._bytes += size
        while self._bytes > self._max_pending and len(self._pairs) > 1:
            oldest, _ = self._pairs.popleft()
            self._bytes -= oldest
            self.drop("link")

    def drop(self, reason: str, count: int = 1) -> None:
        """Count what was lost elsewhere, to be reported with the next batch."""
        self._dropped[reason] = self._dropped.get(reason, 0) + count

    def note(self, event: str, count: int = 1) -> None:
        """Count what happened to clients' connections, to be reported with the next batch."""
        self._events[event] = self._events.get(event, 0) + count

    def tell(self, reports: Iterable[ServerReport]) -> None:
        """Report on servers with the next batch; what is not sent yet is added to."""
        for report in reports:
            before = self._servers.get(report.server)
            self._servers[report.server] = report if before is None else _later(before, report)

    def rehearsed(self, reports: Iterable[DrillReport]) -> None:
        """Report with the next batch what drills have done so far."""
        self._drills.update((report.drill, report) for report in reports)

    def late(self, buckets: list[int], seconds: float) -> None:
        """Report with the next batch how late the loop was: counts by LAG_BOUNDS, and their sum."""
        if self._lag is not None:
            before, sum_before = self._lag
            buckets = [mine + more for mine, more in zip(before, buckets, strict=True)]
            seconds += sum_before
        self._lag = buckets, seconds

    def _vitals(self) -> Vitals | None:
        lag, self._lag = self._lag, None
        return None if lag is None else Vitals(*lag, len(self._pairs), self._bytes, len(self._on_the_way))

    def cut(self, counts: Counts) -> bytes:
        """The next batch as a frame: as many pairs as fit, oldest first, and `counts`. Only when `room`."""
        pairs: list[Pair] = []
        size = 0
        while self._pairs and (not pairs or size + self._pairs[0][0] <= MAX_BATCH):
            one, pair = self._pairs.popleft()
            size += one
            pairs.append(pair)
        self._bytes -= size
        self._sequence += 1
        requests, overhead, mirrors = counts
        batch = Batch(
            self._session, self._sequence, pairs, requests, overhead, mirrors, self._dropped, self._events,
            list(self._servers.values()), self._vitals(), drills=list(self._drills.values()),
        )  # fmt: skip
        self._dropped, self._events, self._servers, self._drills = {}, {}, {}, {}
        data = frame(batch)
        self._on_the_way.append((self._sequence, data))
        return data

    def acknowledge(self, sequence: int) -> None:
        """The control process keeps everything up to `sequence`."""
        while self._on_the_way and self._on_the_way[0][0] <= sequence:
            self._on_the_way.popleft()

    def resend(self) -> list[bytes]:
        """Frames to send again on a new connection, in order."""
        return [data for _, data in self._on_the_way]


def _later(before: ServerReport, report: ServerReport) -> ServerReport:
    """The later of two reports, with what was counted for both."""
    failures = Counter(before.failures)
    failures.update(report.failures)
    ejections = before.ejections + report.ejections
    return msgspec.structs.replace(report, failures=dict(failures), ejections=ejections)
