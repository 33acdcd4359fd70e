"""Labels in the durable database: what was really true of a request, for as long as its record is kept.

A label names a request by its id alone. One that came for a pair which is remembered has the endpoint too;
one that came later, for a request that only the prediction log knows, has not, and is found by the id all the
same.

Every label that says something new stays. Of several for one request the one holds that became known last
(`at`), whatever the order in which they came; of two that became known at once, the one that came last. That
is a conflict then, and whoever sent it is told. Entries are numbered in the order of their commits, so that
every gateway which shares the database can read on from where it was.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, delete, func, insert, select, text

from storage.columns import spelt
from storage.tables import LABELS

AT_ONCE = 500
"""Rows of one statement."""
MOST_GONE = 5_000
"""Rows that are forgotten in one transaction: kills wait for it."""

ANY = ""
"""In place of an endpoint, where it is not known."""

_L = LABELS.c
_ENTRY = (_L.number, _L.request, _L.endpoint, _L.label, _L.at, _L.kept)
_TURN = text("SELECT pg_advisory_xact_lock(7021186437)")
"""Whoever writes labels waits for whoever does, so that numbers rise in the order of the commits."""


class KeptLabel(NamedTuple):
    """`label` is a value of JSON, for a batch a list; `at` when it became known, seconds since the epoch."""

    request: str
    endpoint: str
    label: object
    at: float


class Entry(NamedTuple):
    """A label in the database: `label` as JSON, `kept` when it came here (seconds since the epoch)."""

    number: int
    request: str
    endpoint: str
    label: bytes
    at: float
    kept: float


class Outcome(enum.Enum):
    """What a label was to those that came before it."""

    NEW = "new"
    REPEATED = "repeated"
    CORRECTED = "corrected"
    EARLIER = "earlier"
    """It became known before the one that holds: it is kept, and does not hold."""
    CONFLICT = "conflict"
    """It became known when another one did that says something else: it holds, and somebody is wrong."""


def keep(on: Connection, labels: Sequence[KeptLabel], now: float) -> list[Outcome]:
    """Keep `labels`, which came at `now` (seconds since the epoch); what became of each, in their order."""
    if on.dialect.name == "postgresql":
        on.execute(_TURN)
    outcomes: list[Outcome] = []
    for start in range(0, len(labels), AT_ONCE):
        outcomes += _keep(on, labels[start : start + AT_ONCE], now)
    return outcomes


def _keep(on: Connection, labels: Sequence[KeptLabel], now: float) -> list[Outcome]:
    held: dict[str, list[tuple[str, bytes, float]]] = {}
    wanted = {spelt(one.request) for one in labels}
    query = select(_L.request, _L.endpoint, _L.label, _L.at).where(_L.request.in_(wanted))
    for request, endpoint, label, at in on.execute(query.order_by(_L.at, _L.number)):
        held.setdefault(request, []).append((endpoint, label, at))
    rows: list[dict[str, object]] = []
    outcomes: list[Outcome] = []
    for one in labels:
        request = spelt(one.request)
        earlier = held.setdefault(request, [])
        written = _written(one.label)
        outcome = _outcome(earlier, one, written)
        outcomes.append(outcome)
        if outcome is Outcome.REPEATED:
            continue
        earlier.append((one.endpoint, written, one.at))
        earlier.sort(key=lambda entry: entry[2])
        rows.append(
            {"request": request, "endpoint": one.endpoint, "label": written, "at": one.at, "kept": now}
        )
    if rows:
        on.execute(insert(LABELS), rows)
    return outcomes


def _outcome(earlier: Sequence[tuple[str, bytes, float]], one: KeptLabel, written: bytes) -> Outcome:
    """`earlier` are the entries of the same request, by when they became known."""
    ours = [entry for entry in earlier if entry[0] == one.endpoint or ANY in (entry[0], one.endpoint)]
    if not ours:
        return Outcome.NEW
    _, label, at = ours[-1]
    if label == written:
        return Outcome.REPEATED
    if one.at < at:
        same = any(entry[1:] == (written, one.at) for entry in ours)
        return Outcome.REPEATED if same else Outcome.EARLIER
    return Outcome.CONFLICT if one.at == at else Outcome.CORRECTED


def _written(label: object) -> bytes:
    try:
        return orjson.dumps(label)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, which orjson reads and does not write
        return json.dumps(label).encode()


def find(on: Connection, request: str, endpoint: str) -> KeptLabel | None:
    """The label that holds of a request of `endpoint`; None when none has come."""
    return of(on, (request,), endpoint).get(request)


def of(on: Connection, requests: Iterable[str], endpoint: str) -> dict[str, KeptLabel]:
    """The labels that hold of `requests`, which are of `endpoint`, by request."""
    wanted = list(dict.fromkeys(requests))
    found: dict[str, KeptLabel] = {}
    for start in range(0, len(wanted), AT_ONCE):
        query = (
            select(_L.request, _L.endpoint, _L.label, _L.at)
            .where(_L.request.in_(wanted[start : start + AT_ONCE]), _L.endpoint.in_((endpoint, ANY)))
            .order_by(_L.at, _L.number)
        )
        for request, of_endpoint, label, at in on.execute(query):
            found[request] = KeptLabel(request, of_endpoint, read(label), at)
    return found


def read(label: bytes) -> object:
    """The value of JSON; what was written as none that can be read stays as it was written, as a text."""
    try:
        return orjson.loads(label)
    except orjson.JSONDecodeError:
        return bytes(label).decode("utf-8", "replace")


def after(on: Connection, number: int, most: int) -> list[Entry]:
    """The first `most` entries after `number`, in the order in which they came."""
    query = select(*_ENTRY).where(_L.number > number).order_by(_L.number).limit(most)
    return [Entry(*row) for row in on.execute(query)]


def last(on: Connection) -> int:
    """The number of the newest entry; 0: there is none."""
    return int(on.execute(select(func.max(_L.number))).scalar() or 0)


def prune(on: Connection, before: float, most: int) -> int:
    """Forget labels that came before `before` (seconds since the epoch), and all but about the `most` newest.

    Answers how many were forgotten: MOST_GONE at most, so that there may be more to forget when it is that.
    """
    old = select(_L.number).where(_L.kept < before).order_by(_L.number).limit(MOST_GONE)
    gone = int(on.execute(delete(LABELS).where(_L.number.in_(old.scalar_subquery()))).rowcount)
    if gone < MOST_GONE:
        edge = on.execute(select(_L.number).order_by(_L.number.desc()).offset(most).limit(1)).scalar()
        if edge is not None:
            much = select(_L.number).where(_L.number <= edge).order_by(_L.number).limit(MOST_GONE - gone)
            gone += int(on.execute(delete(LABELS).where(_L.number.in_(much.scalar_subquery()))).rowcount)
    return gone
