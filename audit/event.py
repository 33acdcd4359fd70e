"""Events: what changed, who did it, why, and what was true afterwards; and the records that they become.

An event is what the place of the change knows. The chain gives it a sequence and a hash, and it is a record:

    hash = SHA-256(0x00 || hash of the record before || canonical JSON of the record)

which is at the same time the hash of a leaf that holds both, as RFC 9162 wants it, so that one hash serves
the chain and the Merkle tree. The first record follows 32 zero bytes.

Personal data has no place here: names of operators and tokens are kept, a unit only as a keyed hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import cast

import orjson

from audit import canonical

ORIGIN = bytes(32)
"""What the first record follows."""

GATEWAY, ENDPOINT, VERSION = "gateway", "endpoint", "version"
"""Kinds of things whose state is followed: what an event of these leaves behind is live from then on."""

STARTED, STOPPED = "gateway.started", "gateway.stopped"
TRIPPED, REARMED = "switch.tripped", "switch.rearmed"

LIVE, ACCESS = "live", "access"
"""Classes of retention: what changes what is live is kept for good, who came and went for a time."""

ACCESS_ACTIONS = ("access.", "token.", "session.", "refused.")

_LONGEST_TEXT = 4000


@dataclass(frozen=True, slots=True)
class Event:
    """One change.

    Attributes:
        action: what was done, as NOUN.PAST, such as `switch.tripped`.
        kind, name: what it was done to, such as `endpoint` and its name.
        at: microseconds since the epoch; never smaller than that of an earlier event of the same process.
        actor: an operator, `guard:NAME`, `breaker:worker-N`, `plan`, `flags` or `process`.
        reason: why, in words.
        after: the whole state of `name` afterwards; None: it is gone, or has no state.
        before: SHA-256 of the canonical JSON of its state before; "" when there was none.
        evidence: the numbers that the change rests on.
        replica: the gateway that did it; "" for what all replicas share.
        authentication: how the actor was known.
        request: the id of the request that asked for it.
        result: `done`, or why it was refused.
        wall: the wall clock, microseconds, as it was read; it may have been set back, `at` never is.
        monotonic: microseconds of the process's monotonic clock.
        late: it was done before it could be recorded.
    """

    action: str
    kind: str
    name: str
    at: int
    actor: str = "process"
    reason: str = ""
    after: Mapping[str, object] | None = None
    before: str = ""
    evidence: Mapping[str, object] | None = None
    replica: str = ""
    authentication: str = ""
    request: str = ""
    result: str = "done"
    wall: int = 0
    monotonic: int = 0
    late: bool = False

    @property
    def retention(self) -> str:
        """How long its record is kept: `live` or `access`."""
        return ACCESS if self.action.startswith(ACCESS_ACTIONS) else LIVE

    def delayed(self) -> Event:
        """The same, flagged late."""
        return self if self.late else replace(self, late=True)


@dataclass(frozen=True, slots=True)
class Record:
    """An event in its place. `content` is the canonical JSON that was hashed, `hash` the chain's hash."""

    sequence: int
    event: Event
    content: bytes = field(repr=False)
    hash: bytes

    def line(self) -> bytes:
        """As a line of an export, without its end."""
        return export_line(self.content, self.hash)


def seal(event: Event, sequence: int, previous: bytes) -> Record:
    """`event` as the record `sequence` (from 1) after the one with the hash `previous`."""
    content = canonical.encode(
        {
            "action": _short(event.action),
            "actor": _short(event.actor),
            "after": canonical.tame(event.after),
            "at": event.at,
            "authentication": _short(event.authentication),
            "before": event.before,
            "evidence": canonical.tame(event.evidence),
            "kind": _short(event.kind),
            "late": event.late,
            "monotonic": event.monotonic,
            "name": _short(event.name),
            "reason": _short(event.reason),
            "replica": _short(event.replica),
            "request": _short(event.request),
            "result": _short(event.result),
            "sequence": sequence,
            "wall": event.wall,
        }
    )
    return Record(sequence, event, content, chained(previous, content))


def chained(previous: bytes, content: bytes) -> bytes:
    """The hash of the record with this content after the one with the hash `previous`."""
    return sha256(b"\x00" + previous + content).digest()


def decode(content: bytes) -> tuple[int, Event]:
    """Sequence and event of a record's content. Raises ValueError."""
    document = orjson.loads(content)
    try:
        sequence = document.pop("sequence")
        return int(sequence), Event(**document)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"this is no record of an audit chain: {error}") from error


def state_digest(state: Mapping[str, object] | None) -> str:
    """What `Event.before` says of `state`."""
    return "" if state is None else canonical.digest(canonical.tame(state))


_HEAD, _MIDDLE, _END = b'{"hash":"', b'","record":', b"}"
_HASH_STOP = len(_HEAD) + 64
_CONTENT_START = _HASH_STOP + len(_MIDDLE)


def export_line(content: bytes | None, hashed: bytes) -> bytes:
    """A record as a line of JSON that keeps its very bytes; None: its content was erased."""
    return _HEAD + hashed.hex().encode() + _MIDDLE + (b"null" if content is None else content) + _END


def read_line(line: bytes) -> tuple[bytes | None, bytes]:
    """Content and hash of a line of an export. Raises ValueError."""
    line = line.rstrip(b"\r\n")
    if not (line.startswith(_HEAD) and line[_HASH_STOP:_CONTENT_START] == _MIDDLE and line.endswith(_END)):
        raise ValueError('a line of an export reads {"hash":"…","record":{…}}')
    content = line[_CONTENT_START : -len(_END)]
    hashed = bytes.fromhex(line[len(_HEAD) : _HASH_STOP].decode("ascii"))
    return None if content == b"null" else content, hashed


def text(value: object) -> str:
    """`value` of a record, where a text is expected."""
    return value if isinstance(value, str) else ""


def names(value: object) -> tuple[str, ...]:
    """`value` of a record, where a list of texts is expected."""
    return tuple(map(str, cast("list[object]", value))) if isinstance(value, list | tuple) else ()


def _short(value: str) -> str:
    return str(canonical.tame(value[:_LONGEST_TEXT]))
