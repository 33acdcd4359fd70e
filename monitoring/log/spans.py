"""Spans of a request, made of what the log is told of it anyway: nothing is measured for them.

A request whose `traceparent` says that its trace is sampled has a server span, whose parent is the client's,
and under it a client span for the arm that answered and one for the mirror. A request without a trace begins
one with a chance of `share`; who sent a trace that is not sampled gets no spans. Ids are drawn from the
request (BLAKE2b), so that a record that is read twice has the same spans.

The gateway passes `traceparent` on as it came. What a model server makes of it therefore stands beside the
gateway's spans, under the client's, and not below them.

Source: www.w3.org/TR/trace-context (version 00, and later ones as far as they begin alike).
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from domain.routing import FULL_WEIGHT
from monitoring.log.wire import Context, Entry

SERVER, CLIENT = "server", "client"

_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?:-.*)?"
)

Attribute = str | int | float | bool


class Span(NamedTuple):
    """One span: ids as numbers (parent 0: none), times in nanoseconds since 1970.

    `parent_is_remote`: it is the client's.
    """

    name: str
    kind: str
    trace: int
    id: int
    parent: int
    parent_is_remote: bool
    start: int
    end: int
    failed: bool
    attributes: dict[str, Attribute]


class Parent(NamedTuple):
    """What a `traceparent` says."""

    trace: int
    span: int
    sampled: bool


def parent(field: str | None) -> Parent | None:
    """None for no field, and for one that is not as it has to be."""
    found = None if field is None else _PARENT.fullmatch(field)
    if found is None or (field is not None and field.startswith("00") and len(field) != 55):
        return None
    return Parent(int(found["trace"], 16), int(found["span"], 16), bool(int(found["flags"], 16) & 1))


def spans(context: Context, entry: Entry, share: int) -> list[Span]:
    """The spans of one request; `share`, in basis points, is of those that have no trace yet.

    The last of the entry's cohorts is its `traceparent`.
    """
    known = parent(entry.cohorts[-1] if entry.cohorts else None)
    if known is not None and not known.sampled:
        return []
    seed = _digest(entry, b"trace", 16)
    if known is None and seed % FULL_WEIGHT >= share:
        return []
    trace = seed if known is None else known.trace
    start, end = _nanoseconds(entry.at), _nanoseconds(entry.at + entry.latency)
    own = _digest(entry, b"request", 8)
    arm, version = ("candidate", context.candidate) if entry.candidate else ("incumbent", context.incumbent)
    about: dict[str, Attribute] = {
        "pointsman.endpoint": context.endpoint,
        "pointsman.request_id": entry.request_id.decode("utf-8", "replace"),
        "pointsman.generation": context.generation,
        "pointsman.reason": entry.reason,
        "http.response.status_code": entry.status,
    }
    if context.drill:
        about["pointsman.drill"] = context.drill
    remote = known is not None
    found = [
        Span(
            context.endpoint, SERVER, trace, own, known.span if known else 0, remote,
            start, end, entry.status >= 500, about,
        ),
        Span(
            f"{context.endpoint} {version}", CLIENT, trace, _digest(entry, b"answer", 8), own, False,
            start, end, entry.status >= 500, _about_arm(version, arm, entry.status, mirror=False),
        ),
    ]  # fmt: skip
    if (other := entry.mirrored) is not None:
        arm = "incumbent" if entry.candidate else "candidate"
        found.append(
            Span(
                f"{context.endpoint} {other.version}", CLIENT, trace, _digest(entry, b"mirror", 8), own,
                False, start, _nanoseconds(entry.at + other.latency), not other.ok,
                _about_arm(other.version, arm, other.status, mirror=True),
            )
        )  # fmt: skip
    return found


def _about_arm(version: str, arm: str, status: int, *, mirror: bool) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {
        "pointsman.version": version,
        "pointsman.arm": arm,
        "pointsman.mirror": mirror,
    }
    return {**found, "http.response.status_code": status} if status else found


def _digest(entry: Entry, purpose: bytes, size: int) -> int:
    """A number that is not 0, the same whenever it is asked for."""
    data = b"%b\0%b\0%.6f" % (purpose, entry.request_id, entry.at)
    return int.from_bytes(hashlib.blake2b(data, digest_size=size).digest(), "big") or 1


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e6) * 1000
