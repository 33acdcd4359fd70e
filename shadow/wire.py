"""What worker and control process say to each other over the unix socket.

A frame is a 4-byte big-endian length and a msgpack message. Batches carry the worker's `session` (unique
per process) and a `sequence` that counts up from 1; the control process answers `Acknowledged` when what
it learned from a batch is kept for good, and ignores a sequence it already kept. So a batch is counted
exactly once, however often the link breaks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from domain.exposure import Exposed, Question
from domain.observation import Pair
from domain.snapshot import Snapshot

MAX_FRAME = 256 * 1024 * 1024
"""Bytes. A longer frame is not ours: the link is cut."""

_LENGTH = struct.Struct(">I")


class RequestCounts(msgspec.Struct, frozen=True, array_like=True):
    """Deltas of one (endpoint, version, arm, status): requests, and their latency histogram in seconds."""

    endpoint: str
    version: str
    arm: str
    status: int
    requests: int
    buckets: list[int]  # one count per bound of LATENCY_BOUNDS and one above
    seconds: float


class OverheadCounts(msgspec.Struct, frozen=True, array_like=True):
    """Deltas of the time the gateway itself added, per endpoint, sampled."""

    endpoint: str
    buckets: list[int]  # one count per bound of OVERHEAD_BOUNDS and one above
    seconds: float


class MirrorCounts(msgspec.Struct, frozen=True, array_like=True):
    """Deltas of mirrors by outcome: paired, dropped, failed, timeout."""

    endpoint: str
    outcome: str
    count: int


class ServerReport(msgspec.Struct, frozen=True, array_like=True):
    """What a worker knows of one server, by its base URL.

    `failures` are connects that failed since the last report, by kind; `ejections` those since then.
    `resting`: no connection can be made; `healthy`: what its checks say, None while they have said nothing;
    `ejected`: its answers failed.
    """

    server: str
    failures: dict[str, int]
    ejections: int
    resting: bool
    healthy: bool | None
    ejected: bool


class Vitals(msgspec.Struct, frozen=True, array_like=True):
    """How late a worker's event loop was since the last report, in seconds, and what waits for the link.

    `pairs` of so many `bytes` are not sent yet; `batches` were sent and are not acknowledged.
    """

    buckets: list[int]  # one count per bound of LAG_BOUNDS and one above
    seconds: float
    pairs: int
    bytes: int
    batches: int


class DrillReport(msgspec.Struct, frozen=True, array_like=True):
    """What a drill has done in this worker so far. Times are monotonic seconds of this machine.

    `spoilt` answers were bad, `served` of them went to clients; `left` could not be altered.
    """

    drill: str
    spoilt: int = 0
    served: int = 0
    left: int = 0
    first: float = 0.0
    last: float = 0.0
    first_served: float = 0.0
    last_served: float = 0.0


class Hello(msgspec.Struct, frozen=True, tag=True):
    """First on every connection: who is there, and which snapshot it serves from."""

    worker: int
    session: str
    generation: int
    pid: int


class Batch(msgspec.Struct, frozen=True, tag=True):
    """Pairs in the order they completed, and metric deltas.

    `dropped` counts what the bounds cost, by reason; `events` what happened to clients' connections;
    `servers` is the state of every server, and `vitals` the worker's own, in batches that have it;
    `drills` is what each drill has done so far, where that is news.
    """

    session: str
    sequence: int
    pairs: list[Pair]
    requests: list[RequestCounts]
    overhead: list[OverheadCounts]
    mirrors: list[MirrorCounts]
    dropped: dict[str, int]
    events: dict[str, int] = {}
    servers: list[ServerReport] = []
    vitals: Vitals | None = None
    drills: list[DrillReport] = []


class Applied(msgspec.Struct, frozen=True, tag=True):
    """The worker decides by `generation` now: no request is admitted under an older one."""

    generation: int


class BreakerOpened(msgspec.Struct, frozen=True, tag=True):
    """This worker stopped asking the candidate by itself after consecutive hard failures."""

    endpoint: str
    version: str
    generation: int
    errors: int
    reason: str


class Asked(msgspec.Struct, frozen=True, tag=True):
    """Units that this worker knows nothing of, or not lately. What is not answered is asked again."""

    questions: list[Question]


class Answered(msgspec.Struct, frozen=True, tag=True):
    """What the flag platform says now. `source` is the snapshot's `lookup.source` that it belongs to."""

    source: str
    answers: list[Exposed]


class Publish(msgspec.Struct, frozen=True, tag=True):
    """Serve from this snapshot, unless a newer one is served already."""

    snapshot: Snapshot


class TakenOut(msgspec.Struct, frozen=True, tag=True):
    """The switch of `endpoint` fell: nobody is sent to its candidate from now on.

    It comes right before the snapshot `generation`, which says the same and takes longer to make, to send and
    to read. Who serves from an older one takes the candidate out of that; what is confirmed is the snapshot.
    """

    endpoint: str
    generation: int


class Acknowledged(msgspec.Struct, frozen=True, tag=True):
    """Everything up to `sequence` is kept; the worker may forget it."""

    session: str
    sequence: int


FromWorker = Hello | Batch | Applied | BreakerOpened | Asked
ToWorker = Publish | TakenOut | Acknowledged | Answered

_encoder = msgspec.msgpack.Encoder()
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)


def frame(message: FromWorker | ToWorker) -> bytes:
    """`message` as bytes for the socket."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


def decode_from_worker(payload: bytes | memoryview) -> FromWorker:
    """Raises msgspec.DecodeError (ValidationError) for anything that is not one of our messages."""
    return _from_worker.decode(payload)


def decode_to_worker(payload: bytes | memoryview) -> ToWorker:
    """Raises msgspec.DecodeError (ValidationError) for anything that is not one of our messages."""
    return _to_worker.decode(payload)


class FrameBuffer:
    """Cuts a byte stream into frame payloads."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every payload that is whole now. Raises ValueError for a frame over MAX_FRAME."""
        held = self._held
        held += data
        at = 0
        while len(held) - at >= 4:
            (length,) = _LENGTH.unpack_from(held, at)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
            if len(held) - at - 4 < length:
                break
            yield bytes(held[at + 4 : at + 4 + length])
            at += 4 + length
        if at:
            del held[:at]


LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of `pointsman_request_duration_seconds`."""

OVERHEAD_BOUNDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
"""Upper bounds in seconds of `pointsman_gateway_overhead_seconds`."""

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds of `pointsman_event_loop_lag_seconds`."""
