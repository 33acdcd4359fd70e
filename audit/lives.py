"""When each gateway was last heard of: the chain has its start and its stop, and a crash leaves no stop.

A gateway that died on a database which others share has no end in the chain until it starts again, which may
be never. What it served then is what it was serving when it was last heard of, so `live-at` goes on to show
it, and says since when it is silent. The chain itself is not touched: nobody saw it stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.tables import AUDIT_LIVES

SILENCE = 60_000_000
"""Microseconds after which a gateway that was not heard of is silent."""

_L = AUDIT_LIVES.c


class Life(NamedTuple):
    """One life of a gateway: when it began and when it was last heard of, microseconds since the epoch."""

    since: int
    heard: int

    def silent(self, at: int) -> bool:
        """Whether nothing was heard of it for too long at the instant `at`."""
        return at > self.heard + SILENCE


def hear(on: Connection, replica: str, since: int, now: int) -> None:
    """The gateway `replica`, whose life began at `since`, is alive at `now`."""
    make = postgresql.insert if on.dialect.name == "postgresql" else sqlite.insert
    fresh = make(AUDIT_LIVES).values(replica=replica, since=since, heard=now)
    again = fresh.on_conflict_do_update(
        index_elements=["replica", "since"], set_={"heard": func.max(_L.heard, now)}
        if on.dialect.name == "sqlite" else {"heard": func.greatest(_L.heard, now)},
    )  # fmt: skip
    on.execute(again)


def at(on: Connection, at: int) -> Mapping[str, Life]:
    """The life that each gateway was in at the instant `at`, by name; none from before lives were kept."""
    newest = (
        select(_L.replica, func.max(_L.since).label("since"))
        .where(_L.since <= at)
        .group_by(_L.replica)
        .subquery()
    )
    query = select(_L.replica, _L.since, _L.heard).join(
        newest, (newest.c.replica == _L.replica) & (newest.c.since == _L.since)
    )
    return {replica: Life(since, heard) for replica, since, heard in on.execute(query)}
