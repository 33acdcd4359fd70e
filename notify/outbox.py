"""What has to be told, in the durable database: kept once, delivered by whoever claims it.

A row is one notice for one receiver. Its identity is the notice's, so that of many replicas that saw the same
trip, and of a process and its next life, one row remains: inserting what is there changes nothing. Whoever
inserted a row claims it and renews the claim while it lives; a row whose claim has not been renewed for a
while is taken over by another replica. Two that deliver the same row at once (a clock was set, a process was
stopped for a minute) send the same id twice, which receivers can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from notify.notice import Notice, decode, encode
from storage.tables import NOTICES, RETRAININGS

STALE = 60.0
"""Seconds after which a claim that was not renewed is void."""

RETENTION = 30 * 86_400.0
"""Seconds that what was settled is remembered, so that nothing is told again."""

DELIVERED = "delivered"

_LOCK = 0x6E6F7469636573
"""The advisory lock of whoever writes several rows ("notices")."""


class Entry(NamedTuple):
    """One notice for one receiver."""

    receiver: str
    notice: Notice

    @property
    def key(self) -> tuple[str, str]:
        """What tells it apart."""
        return self.notice.id, self.receiver


def keep(on: Connection, entries: Iterable[Entry], claimant: str, now: float) -> frozenset[tuple[str, str]]:
    """Keep those that are not known yet; answers the keys of the new ones, which `claimant` delivers."""
    _take_turns(on)
    new = set()
    for entry in entries:
        row = {
            "id": entry.notice.id,
            "receiver": entry.receiver,
            "endpoint": entry.notice.endpoint,
            "at": entry.notice.at,
            "document": encode(entry.notice),
            "claimant": claimant,
            "claimed": now,
        }
        make = postgresql.insert if on.dialect.name == "postgresql" else sqlite.insert
        if on.execute(make(NOTICES).on_conflict_do_nothing(), row).rowcount == 1:
            new.add(entry.key)
    return frozenset(new)


def _take_turns(on: Connection) -> None:
    """Two that keep the same rows in another order would wait for each other: PostgreSQL ends one."""
    if on.dialect.name == "postgresql":
        on.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def renew(on: Connection, claimant: str, now: float) -> None:
    """`claimant` lives."""
    on.execute(
        update(NOTICES).where(NOTICES.c.settled.is_(None), NOTICES.c.claimant == claimant).values(claimed=now)
    )


def take_over(on: Connection, claimant: str, now: float, most: int) -> tuple[Entry, ...]:
    """Claim what nobody delivers any more, oldest first, `most` at once; among them all that `claimant` has
    claimed before, in this life or an earlier one.
    """
    _take_turns(on)
    void = or_(NOTICES.c.claimed < now - STALE, NOTICES.c.claimed > now + STALE)
    query = (
        select(NOTICES.c.position, NOTICES.c.receiver, NOTICES.c.claimed, NOTICES.c.document)
        .where(NOTICES.c.settled.is_(None), or_(void, NOTICES.c.claimant == claimant))
        .order_by(NOTICES.c.position)
        .limit(most)
    )
    found = []
    for row in on.execute(query).all():
        taken = on.execute(
            update(NOTICES)
            .where(NOTICES.c.position == row.position, NOTICES.c.claimed == row.claimed)
            .values(claimant=claimant, claimed=now)
        )
        if taken.rowcount == 1:
            try:
                found.append(Entry(row.receiver, decode(row.document)))
            except ValueError:  # another release wrote it; what nobody can read nobody can tell
                ended = {"settled": now, "outcome": "unreadable"}
                on.execute(update(NOTICES).where(NOTICES.c.position == row.position).values(ended))
    return tuple(found)


def settle(on: Connection, settled: Sequence[tuple[Entry, str]], now: float) -> None:
    """Each entry ended with its outcome; one that could not be kept before is kept now."""
    keep(on, (entry for entry, _ in settled), "", now)
    for entry, outcome in settled:
        on.execute(
            update(NOTICES)
            .where(NOTICES.c.id == entry.notice.id, NOTICES.c.receiver == entry.receiver)
            .values(settled=now, outcome=outcome)
        )


def forget(on: Connection, now: float) -> None:
    """What was settled long ago is not needed any more."""
    on.execute(delete(NOTICES).where(NOTICES.c.settled < now - RETENTION))
    on.execute(delete(RETRAININGS).where(RETRAININGS.c.at < now - 400 * 86_400.0))


def claim_training(
    on: Connection, endpoint: str, version: str, cause: str, now: float, *, most: int, period: float
) -> str | None:
    """A claim to ask for a training, `most` of them in `period` seconds; None when all are taken.

    It is one transaction with what follows from it, so that of two replicas one gets it.
    """
    for number in range(most):
        claim = f"{endpoint}\n{version}\n{cause}\n{number}"
        make = postgresql.insert if on.dialect.name == "postgresql" else sqlite.insert
        fresh = on.execute(make(RETRAININGS).on_conflict_do_nothing(), {"claim": claim, "at": now})
        # A time in the future was written before a clock was set back; it must not block for longer.
        over = or_(RETRAININGS.c.at <= now - period, RETRAININGS.c.at > now + period)
        if (
            fresh.rowcount == 1
            or on.execute(
                update(RETRAININGS).where(RETRAININGS.c.claim == claim, over).values(at=now)
            ).rowcount
            == 1
        ):
            return f"{number} {now:.3f}"
    return None
