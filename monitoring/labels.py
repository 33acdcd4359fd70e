"""Labels in the durable database: what was really true of a request, for as long as its record is kept.

A label names a request by its id alone. One that came for a pair which is remembered has the endpoint too;
one that came later, for a request that only the prediction log knows, has not, and is found by the id all the
same.
Of several labels for one request the last one holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.tables import LABELS

AT_ONCE = 500
"""Rows of one statement."""

ANY = ""
"""In place of an endpoint, where it is not known."""

_L = LABELS.c


class KeptLabel(NamedTuple):
    """`label` is a value of JSON, for a batch a list; `at` when it became known, seconds since the epoch."""

    request: str
    endpoint: str
    label: object
    at: float


def keep(on: Connection, labels: Sequence[KeptLabel], now: float) -> None:
    """Keep `labels`, which came at `now` (seconds since the epoch)."""
    make = postgresql.insert if on.dialect.name == "postgresql" else sqlite.insert
    rows = {
        (one.request, one.endpoint): {
            "request": one.request, "endpoint": one.endpoint, "label": _written(one.label),
            "at": one.at, "kept": now,
        }
        for one in labels
    }  # fmt: skip
    held = list(rows.values())
    for start in range(0, len(held), AT_ONCE):
        fresh = make(LABELS)
        again = fresh.on_conflict_do_update(
            index_elements=["request", "endpoint"],
            set_={name: fresh.excluded[name] for name in ("label", "at", "kept")},
        )
        on.execute(again, held[start : start + AT_ONCE])


def _written(label: object) -> bytes:
    try:
        return orjson.dumps(label)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, which orjson reads and does not write
        return json.dumps(label).encode()


def find(on: Connection, request: str, endpoint: str) -> KeptLabel | None:
    """The label of a request of `endpoint`; None when none has come."""
    return of(on, (request,), endpoint).get(request)


def of(on: Connection, requests: Iterable[str], endpoint: str) -> dict[str, KeptLabel]:
    """The labels of `requests`, which are of `endpoint`, by request."""
    wanted = list(dict.fromkeys(requests))
    found: dict[str, KeptLabel] = {}
    for start in range(0, len(wanted), AT_ONCE):
        query = (
            select(_L.request, _L.endpoint, _L.label, _L.at)
            .where(_L.request.in_(wanted[start : start + AT_ONCE]), _L.endpoint.in_((endpoint, ANY)))
            .order_by(_L.kept)
        )
        for request, of_endpoint, label, at in on.execute(query):
            found[request] = KeptLabel(request, of_endpoint, orjson.loads(label), at)
    return found


def prune(on: Connection, before: float, most: int) -> int:
    """Forget labels that came before `before` (seconds since the epoch), and all but the `most` newest; how
    many were forgotten."""
    gone = int(on.execute(delete(LABELS).where(_L.kept < before)).rowcount)
    count = int(on.execute(select(func.count()).select_from(LABELS)).scalar_one())
    if count > most:
        edge = on.execute(select(_L.kept).order_by(_L.kept).offset(count - most).limit(1)).scalar()
        gone += int(on.execute(delete(LABELS).where(_L.kept < edge)).rowcount)
    return gone
