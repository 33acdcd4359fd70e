"""What a worker keeps for the prediction log until the log has it on disk.

What a record is made of waits here, up to a bound in bytes; over it new ones are dropped and counted, but for
endpoints whose records are required, which are refused requests before that (see gateway.recording). A batch
is kept as bytes until it is acknowledged, and sent again after a reconnect.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from domain.snapshot import Endpoint, UnitKind
from monitoring.log.wire import Context, Dropped, Records, Section, frame

MOST_BYTES = 64 * 1024 * 1024
"""Of everything that is not acknowledged."""
MOST_STREAMED = 16 * 1024 * 1024
"""Of answers that are still coming in pieces; of one that goes beyond, the record has no answer."""
RESERVED = 8 * 1024 * 1024
"""Of these, for endpoints whose records are required."""
MOST_ON_THE_WAY = 64
"""Batches that were sent and are not acknowledged."""
MOST_IN_BATCH = 2 * 1024 * 1024
"""Bytes of one batch, roughly."""
LATE = 5.0
"""Seconds without any acknowledgement of what waits, or without a connection, after which nothing is sure."""
FACTS_SIZE = 400
"""Bytes that a record takes beside its bodies and the texts that clients chose, roughly."""

FULL = "full"
TRACE_FIELD = b"traceparent"


class Waits(Protocol):
    """A record that waits for the other arm."""

    def give_up(self) -> None:
        """Leave it as it is."""
        ...


class Recorder:
    """One endpoint's side of the log, for as long as a snapshot is served.

    Attributes:
        share: of the requests that are recorded, in basis points.
        required: whether a request is refused whose record could not be kept.
        has_units: whether several requests can be one unit's.
        cohorts: lower-case names of header fields whose values are recorded; the last is the trace context's
            where spans are made.
    """

    __slots__ = ("cohorts", "context", "entries", "has_units", "outbox", "required", "share")

    def __init__(self, outbox: RecordOutbox, endpoint: Endpoint, generation: int, configuration: str) -> None:
        recording = endpoint.record
        self.outbox = outbox
        self.share = 0 if recording is None else recording.share
        self.required = recording is not None and recording.required
        self.has_units = endpoint.unit.kind is not UnitKind.REQUEST
        headers = [name.encode() for name in endpoint.cohorts]
        if recording is not None and recording.traced:
            headers.append(TRACE_FIELD)
        self.cohorts = tuple(headers)
        self.entries: list[tuple[object, ...]] = []
        self.context = Context(
            endpoint.name,
            generation,
            configuration,
            endpoint.incumbent.name,
            "" if endpoint.candidate is None else endpoint.candidate.name,
            "" if endpoint.drill is None else endpoint.drill.id,
            b"" if recording is None else recording.reading,
        )


class RecordOutbox:
    """`session` is unique per process.

    Attributes:
        refuses: whether requests whose records are required have to be refused now.
        waiting: records whose pairs are not whole.
    """

    __slots__ = (
        "_dropped", "_filled", "_last_heard", "_most", "_on_the_way", "_sequence",
        "_session", "_size", "_streamed", "refuses", "waiting",
    )  # fmt: skip

    def __init__(self, session: str, now: float, most: int = MOST_BYTES) -> None:
        self.refuses = False
        self.waiting: dict[int, Waits] = {}
        self._session = session
        self._most = most
        self._size = 0
        self._streamed = 0
        self._sequence = 0
        self._filled: list[Recorder] = []
        self._on_the_way: deque[tuple[int, int, bytes, int]] = deque()
        self._dropped: dict[tuple[str, str], int] = {}
        self._last_heard = now

    def __repr__(self) -> str:
        return f"<RecordOutbox bytes={self._size} on_the_way={len(self._on_the_way)}>"

    @property
    def size(self) -> int:
        """Bytes of everything that is not acknowledged."""
        return self._size

    @property
    def pending(self) -> bool:
        """Whether there is something to cut a batch of."""
        return bool(self._filled or self._dropped)

    @property
    def room(self) -> bool:
        """Whether another batch may be on its way."""
        return len(self._on_the_way) < MOST_ON_THE_WAY

    def add(self, recorder: Recorder, entry: tuple[object, ...], size: int) -> None:
        """Keep what a record is made of; `size` bytes of bodies."""
        size += FACTS_SIZE + _texts(entry)
        if not recorder.required and self._size + size > self._most - RESERVED:
            key = recorder.context.endpoint, FULL
            self._dropped[key] = self._dropped.get(key, 0) + 1
            return
        self._size += size
        entries = recorder.entries
        if not entries:
            self._filled.append(recorder)
        entries.append(entry)
        if self._size > self._most - RESERVED // 2:
            self.refuses = True

    def hold(self, size: int) -> bool:
        """Room for `size` more bytes of an answer that is still coming? Then they are taken."""
        if self._streamed + size > MOST_STREAMED:
            return False
        self._streamed += size
        return True

    def let_go(self, size: int) -> None:
        """`size` bytes of an answer that was still coming are not held any more."""
        self._streamed -= size

    @property
    def streamed(self) -> int:
        """Bytes of answers that are still coming."""
        return self._streamed

    def look(self, now: float, *, connected: bool) -> None:
        """Judge whether records can be kept: to be called often."""
        if connected and not self._on_the_way:
            self._last_heard = now
        self.refuses = self._size > self._most - RESERVED // 2 or now - self._last_heard > LATE

    def cut(self) -> bytes:
        """The next batch as a frame. Only when `room`."""
        sections: list[Section] = []
        size = count = 0
        while self._filled and size < MOST_IN_BATCH:
            recorder = self._filled[0]
            entries = recorder.entries
            taken = 0
            for entry in entries:
                taken += 1
                size += _size(entry)
                if size >= MOST_IN_BATCH:
                    break
            count += taken
            if taken == len(entries):
                recorder.entries = []
                self._filled.pop(0)
                sections.append(Section(recorder.context, entries))  # type: ignore[arg-type]
            else:
                recorder.entries = entries[taken:]
                sections.append(Section(recorder.context, entries[:taken]))  # type: ignore[arg-type]
        self._sequence += 1
        dropped = [Dropped(endpoint, reason, count) for (endpoint, reason), count in self._dropped.items()]
        self._dropped = {}
        data = frame(Records(self._session, self._sequence, sections, dropped))
        self._on_the_way.append((self._sequence, size, data, count))
        return data

    def acknowledge(self, sequence: int, now: float) -> None:
        """Everything up to `sequence` is on disk."""
        self._last_heard = now
        while self._on_the_way and self._on_the_way[0][0] <= sequence:
            _, size, _, _ = self._on_the_way.popleft()
            self._size -= size

    def resend(self) -> list[bytes]:
        """Frames to send again on a new connection, in order."""
        return [data for _, _, data, _ in self._on_the_way]

    @property
    def unacknowledged(self) -> int:
        """Records that are not known to be on disk."""
        on_the_way = sum(count for _, _, _, count in self._on_the_way)
        return on_the_way + sum(len(recorder.entries) for recorder in self._filled)

    def give_up_waiting(self) -> None:
        """Take what waits for another arm as it is."""
        waiting, self.waiting = self.waiting, {}
        for one in waiting.values():
            one.give_up()


def _size(entry: tuple[object, ...]) -> int:
    """What `add` was told of it."""
    request, answer, other = entry[7], entry[9], entry[12]
    size = FACTS_SIZE + _texts(entry)
    if isinstance(request, bytes):
        size += len(request)
    if isinstance(answer, bytes):
        size += len(answer)
    if other is not None:
        size += len(other.body)  # type: ignore[attr-defined]
    return size


def _texts(entry: tuple[object, ...]) -> int:
    """Bytes, roughly, of what stands in fields that a client may make as long as a head can be."""
    unit, media, cohorts = entry[2], entry[8], entry[11]
    size = 0
    if unit:
        size += len(unit)  # type: ignore[arg-type]
    if media:
        size += len(media)  # type: ignore[arg-type]
    if cohorts:
        for one in cohorts:  # type: ignore[attr-defined]
            if one is not None:
                size += len(one)
    return size
