"""Drills in the durable database: one at a time an endpoint, each kept with its report.

A drill is written when it begins and when it has ended. One that is open and whose process is gone was
interrupted: it is found by whoever begins next, and failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from domain.errors import PointsmanError
from storage.tables import DRILLS

Report = dict[str, object]
"""As `Rehearsal.report` gives it."""


class DrillUnderWay(PointsmanError):  # noqa: N818 - named after what was found
    """The endpoint has a drill that has not ended."""


class Interrupted(NamedTuple):
    """A drill whose process ended before it did."""

    id: str
    endpoint: str
    report: Report


def begin(on: Connection, report: Mapping[str, object], began: float, ends: float, replica: str) -> None:
    """Keep a drill that begins; it ends by the wall time `ends`. Raises DrillUnderWay."""
    endpoint = report["endpoint"]
    taken = on.execute(select(DRILLS.c.id).where(DRILLS.c.open_at == endpoint)).scalar()
    if taken is not None:
        raise DrillUnderWay(f"drill {taken} of endpoint {endpoint} is under way: wait for its end")
    row = {
        "id": report["id"],
        "endpoint": endpoint,
        "open_at": endpoint,
        "began": began,
        "ends": ends,
        "replica": replica,
        "document": orjson.dumps(report),
    }
    try:
        on.execute(insert(DRILLS), [row])
    except IntegrityError:  # by another replica, at the same time
        raise DrillUnderWay(f"a drill of endpoint {endpoint} is under way: wait for its end") from None


def end(on: Connection, report: Mapping[str, object]) -> bool:
    """Keep what a drill has shown; False when it had ended already."""
    ended = on.execute(
        update(DRILLS)
        .where(DRILLS.c.id == report["id"], DRILLS.c.open_at.is_not(None))
        .values(open_at=None, document=orjson.dumps(report))
    )
    return ended.rowcount == 1


def interrupted(on: Connection, replica: str, now: float) -> tuple[Interrupted, ...]:
    """Drills that nobody will end: those of an earlier life of `replica`, and of others that are late."""
    query = select(DRILLS.c.id, DRILLS.c.endpoint, DRILLS.c.document).where(
        and_(DRILLS.c.open_at.is_not(None), or_(DRILLS.c.replica == replica, DRILLS.c.ends < now))
    )
    return tuple(Interrupted(row.id, row.endpoint, orjson.loads(row.document)) for row in on.execute(query))


def find(on: Connection, name: str) -> Report | None:
    """The report of the drill whose id is `name`."""
    found = on.execute(select(DRILLS.c.document).where(DRILLS.c.id == name)).scalar()
    return None if found is None else orjson.loads(found)


def listed(on: Connection, endpoint: str | None, most: int) -> tuple[Report, ...]:
    """The `most` newest, of one endpoint or of all, newest first."""
    query = select(DRILLS.c.document).order_by(DRILLS.c.began.desc(), DRILLS.c.id).limit(most)
    if endpoint is not None:
        query = query.where(DRILLS.c.endpoint == endpoint)
    return tuple(orjson.loads(found) for found in on.execute(query).scalars())


def newest(on: Connection) -> dict[str, tuple[float, Report]]:
    """When the last drill of each endpoint began (wall time), and its report."""
    last = select(DRILLS.c.endpoint, func.max(DRILLS.c.began).label("began")).group_by(DRILLS.c.endpoint)
    found = last.subquery()
    query = select(DRILLS.c.endpoint, DRILLS.c.began, DRILLS.c.document).join(
        found, and_(DRILLS.c.endpoint == found.c.endpoint, DRILLS.c.began == found.c.began)
    )
    return {row.endpoint: (row.began, orjson.loads(row.document)) for row in on.execute(query)}
