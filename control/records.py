"""What is kept of an endpoint between two lives of the control process, as one value in the store."""

from __future__ import annotations

import msgspec

from control.trip import Trip
from settings.schema import Settings

FLAGS = "flags"
"""The name under which a flag file's last good content is kept; endpoints are kept as `endpoint:NAME`."""


SET_ASIDE = -1
"""In place of a generation: a drill was under way; nothing from before the next life counts."""


class EndpointRecord(msgspec.Struct, frozen=True):
    """One endpoint's evidence and progress.

    Attributes:
        release: the release id that the evidence belongs to.
        incumbent: the incumbent's version, which the evidence is relative to.
        stage, stage_pairs, stage_since: the plan's progress.
        evidence_since: the generation from which on pairs count; SET_ASIDE while a drill is under way.
        cleared: how many kills had been cleared when this was written. If the store knows more, the
            endpoint was re-armed afterwards and this evidence is void.
        guards: the guards' own dump.
        tally: judged, flips, faults, stale.
        log: what is to survive of this replica's side of the shared evidence log.
        cohorts, paths: where divergence concentrates, as `Cohorts.keep` and `PathNoise.dump` give it.
    """

    release: str
    incumbent: str
    stage: int
    stage_pairs: int
    stage_since: float
    evidence_since: int
    cleared: int
    guards: bytes
    tally: tuple[int, int, int, int]
    last_trip: Trip | None = None
    cohorts: bytes = b""
    paths: bytes = b""
    log: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(EndpointRecord)


def flags(settings: Settings) -> str:
    """The name under which the last good flag document is kept: a document is good for its source only."""
    server = settings.unleash
    if settings.openfeature is not None:
        return f"{FLAGS}:openfeature"  # nothing is ever kept there: its answers are not a document
    return FLAGS if server is None else f"{FLAGS}:{server.url} {server.environment} {server.project}"


def name(endpoint: str) -> str:
    """The name under which the record of `endpoint` is kept."""
    return f"endpoint:{endpoint}"


def encode(record: EndpointRecord) -> bytes:
    return _encoder.encode(record)


def decode(kept: bytes) -> EndpointRecord:
    """Raises ValueError for bytes that are not a record."""
    try:
        return _decoder.decode(kept)
    except msgspec.MsgspecError as error:
        raise ValueError(f"a kept record cannot be read: {error}") from error
