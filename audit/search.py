"""Searching the chain, newest first: what is wanted of a record, and pages of records backwards.

The chain has no index but its numbers: a record is bytes that were hashed. So a search reads backwards, a
page at a time, and says how far it came; whoever wants more goes on from there. It never takes long, and a
chain of any length can be searched.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from audit.event import Event, decode
from storage.tables import AUDIT_RECORDS

MOST_LOOKED_AT = 20_000
"""Records that one search reads."""
PAGE = 500
"""Records that are read at once."""

_R = AUDIT_RECORDS.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty is everything. Times are microseconds since the epoch, `until` excluded.

    Attributes:
        action: how the action begins: `switch.` finds trips and re-arms.
        name: what it was done to, exactly.
        actor: who did it; a part of it is enough, whatever the case.
        text: stands in action, name, actor, reason, replica, result or request, whatever the case.
    """

    action: str = ""
    name: str = ""
    actor: str = ""
    text: str = ""
    since: int | None = None
    until: int | None = None

    @property
    def anything(self) -> bool:
        """Whether every record of its time will do, also one whose content is erased."""
        return not (self.action or self.name or self.actor or self.text)

    def matches(self, event: Event) -> bool:
        """Whether `event` is one of those that are wanted; its time was looked at before."""
        if not event.action.startswith(self.action) or (self.name and event.name != self.name):
            return False
        if self.actor.casefold() not in event.actor.casefold():
            return False
        told = event.action, event.name, event.actor, event.reason, event.replica, event.result, event.request
        needle = self.text.casefold()
        return any(needle in one.casefold() for one in told)


@dataclass(frozen=True, slots=True)
class Found:
    """A record that was found: number, event (None where its content is erased) and hash."""

    sequence: int
    event: Event | None
    hash: bytes


def page(
    connection: Connection, before: int, most: int, wanted: Wanted
) -> list[tuple[int, bytes | None, bytes]]:
    """At most `most` records of the wanted time below number `before`, the newest first."""
    query = select(_R.sequence, _R.content, _R.hash).where(_R.sequence < before)
    if wanted.since is not None:
        query = query.where(_R.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_R.at < wanted.until)
    rows = connection.execute(query.order_by(_R.sequence.desc()).limit(most))
    return [(number, held, hashed) for number, held, hashed in rows]


def found(rows: list[tuple[int, bytes | None, bytes]], wanted: Wanted) -> list[Found]:
    """Those of `rows` that are wanted."""
    kept: list[Found] = []
    for number, content, hashed in rows:
        if content is None:
            if wanted.anything:
                kept.append(Found(number, None, hashed))
            continue
        _, event = decode(content)
        if wanted.matches(event):
            kept.append(Found(number, event, hashed))
    return kept
