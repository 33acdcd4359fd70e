"""What a worker hands to the log, and what the log answers. A frame is as in shadow.wire: a length, msgpack.

A worker decodes nothing: it hands bodies as they passed, with the facts of the decision. What stands behind
an endpoint's name (how to read its payloads, its versions, the configuration) is the same for every request
of a generation, so it travels once a batch, as a Context.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from domain.observation import Observation
from settings.schema import CompareSettings

_LENGTH = struct.Struct(">I")


class Reading(msgspec.Struct, frozen=True):
    """How an endpoint's payloads are read, and what is kept of them.

    Attributes:
        compare: what a prediction is, and where.
        features, redact, input: as in `settings.schema.EndpointLog`.
        cohorts: `header:NAME` and `feature:NAME`, as configured.
        traced: whether the last of an entry's cohorts is the request's trace context instead.
    """

    protocol: str
    compare: CompareSettings
    features: tuple[str, ...] | None = None
    redact: tuple[str, ...] = ()
    input: bool = False
    cohorts: tuple[str, ...] = ()
    traced: bool = False


class Context(msgspec.Struct, frozen=True, array_like=True):
    """What all requests of one endpoint and generation share.

    `candidate` is "" where there is none, as `drill` is while none is under way; `reading` is a Reading.
    """

    endpoint: str
    generation: int
    configuration: str
    incumbent: str
    candidate: str
    drill: str
    reading: bytes


class Entry(NamedTuple):
    """One answered request, as its worker saw it.

    `at` in seconds since 1970; `latency` in seconds; `candidate`: whose answer it was; `request` and `answer`
    are None where the body was too long to be kept; media as in `domain.observation`; `cohorts` are the
    values of the configured headers.
    """

    request_id: bytes
    at: float
    unit: str | None
    candidate: bool
    status: int
    latency: float
    reason: str
    request: bytes | None
    request_media: str
    answer: bytes | None
    answer_media: str
    cohorts: tuple[str | None, ...]
    mirrored: Observation | None


class Section(msgspec.Struct, frozen=True, array_like=True):
    """Requests of one context, in the order they were answered."""

    context: Context
    entries: list[Entry]


class Dropped(msgspec.Struct, frozen=True, array_like=True):
    """Records that were lost before they could be sent."""

    endpoint: str
    reason: str
    count: int


class Records(msgspec.Struct, frozen=True, tag=True):
    """A batch of a worker, sent until acknowledged; `sequence` counts up from 1 in each `session`."""

    session: str
    sequence: int
    sections: list[Section]
    dropped: list[Dropped]


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Somebody wants to know how the log is doing: it answers Status, once."""


class Sample(msgspec.Struct, frozen=True, tag=True):
    """Somebody wants some of the records written since this was last asked: the log answers Sampled, once."""


class Sampled(msgspec.Struct, frozen=True, tag=True):
    """What drift is measured by: for `monitoring.drift.drawing.decode`."""

    drawn: bytes


class Kept(msgspec.Struct, frozen=True, tag=True):
    """Everything of `session` up to `sequence` is on disk."""

    session: str
    sequence: int


class Counted(msgspec.Struct, frozen=True, array_like=True):
    """Records of one endpoint since the log's process began, by what became of them."""

    endpoint: str
    outcome: str
    count: int


class Forwarded(msgspec.Struct, frozen=True, array_like=True):
    """One sink: records it has had since the log's process began, those that wait for it, and why they do.

    `failure` is "" while records are sent.
    """

    sink: str
    sent: int
    behind: int
    failure: str


class Archived(msgspec.Struct, frozen=True, array_like=True):
    """The archive: files and records written since the log's process began, attempts that failed, and why.

    Attributes:
        waiting: bytes in the stream.
        unreadable: records in the stream that were none, and left out.
    """

    files: int
    records: int
    unreadable: int
    failures: int
    waiting: int
    failure: str


class Status(msgspec.Struct, frozen=True, tag=True):
    """How the log is doing.

    Attributes:
        process: told apart from that of an earlier process of the log, whose counts began at 0, too.
        backlog: records that have come and are not on disk.
        newest: when the newest record on disk was made, in seconds since 1970; 0: there is none.
        size: bytes on disk.
        failure: why nothing can be written now; "" while it can.
        rolls: segments that became Parquet, and attempts that failed.
        forwards: the sinks that records are sent on to.
        archive: of the stream; None: this process writes none.
        spans: by what became of them.
    """

    process: str
    records: list[Counted]
    dropped: list[Dropped]
    backlog: int
    newest: float
    size: int
    segments: int
    failure: str
    rolls: tuple[int, int]
    forwards: list[Forwarded] = []
    archive: Archived | None = None
    spans: dict[str, int] = {}


ToLog = Records | Watch | Sample
FromLog = Kept | Status | Sampled

_encoder = msgspec.msgpack.Encoder()
_to_log: msgspec.msgpack.Decoder[ToLog] = msgspec.msgpack.Decoder(ToLog)
_from_log: msgspec.msgpack.Decoder[FromLog] = msgspec.msgpack.Decoder(FromLog)
_reading: msgspec.json.Decoder[Reading] = msgspec.json.Decoder(Reading)


def frame(message: ToLog | FromLog) -> bytes:
    """`message` as bytes for the socket."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


def decode_to_log(payload: bytes) -> ToLog:
    """Raises msgspec.DecodeError for anything that is not one of our messages."""
    return _to_log.decode(payload)


def decode_from_log(payload: bytes) -> FromLog:
    """Raises msgspec.DecodeError for anything that is not one of our messages."""
    return _from_log.decode(payload)


def decode_reading(data: bytes) -> Reading:
    """What a Context carries, which `settings.prediction_log` writes as JSON. Raises msgspec.DecodeError."""
    return _reading.decode(data)
