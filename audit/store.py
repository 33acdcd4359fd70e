"""The chain in the database: appending to it, and reading it.

`append` takes the connection of a transaction that is under way, so that a change and its record are durable
together or not at all. Several replicas may append at the same time: the row of the head is locked first, so
they take turns, the sequence has no gaps, and the chain no forks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from audit import intervals
from audit.chain import BrokenChain, Verification, Verified
from audit.event import REARMED, TRIPPED, Event, Record, names, seal, text
from audit.heads import Head
from audit.merkle import Frontier
from audit.pages import PAGE, Row, pages
from audit.times import micros
from domain.errors import PointsmanError
from storage.database import Database
from storage.tables import (
    AUDIT_HEAD,
    AUDIT_KILLS,
    AUDIT_PLACES,
    AUDIT_RECORDS,
    AUDIT_TEXTS,
    CLEARANCES,
    KILLS,
)

_H, _R = AUDIT_HEAD.c, AUDIT_RECORDS.c


class UnknownRecord(PointsmanError):  # noqa: N818 - what was found, not a mistake of ours
    """The chain has no record of this sequence."""


class NotErasable(PointsmanError):  # noqa: N818 - named after what was refused
    """Contents may not be erased now."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the chain: how many records, the hash of the last one, and the tree over all."""

    size: int
    chain: bytes
    frontier: Frontier


def tip(connection: Connection) -> Tip:
    """The end of the chain. Raises BrokenChain when what is kept of it is damaged."""
    return _tip(connection, lock=False)


def hold(connection: Connection) -> Tip:
    """The end of the chain, which nobody else appends to until this transaction ends.

    Whoever does more than append in a transaction holds the chain first: two that lock the same things in
    two orders wait for each other. Raises BrokenChain.
    """
    return _tip(connection, lock=True)


def append(connection: Connection, events: Sequence[Event]) -> tuple[Record, ...]:
    """Append `events` in this transaction; the records that they became.

    A kill or a clearance that is recorded already (another replica, or this one before a crash, was first)
    is passed over.
    """
    if not events:
        return ()
    before = hold(connection)
    fresh = _fresh(connection, events)
    if not fresh:
        return ()
    records: list[Record] = []
    previous = before.chain
    for number, event in enumerate(fresh, before.size + 1):
        record = seal(event, number, previous)
        previous = record.hash
        records.append(record)
    connection.execute(
        insert(AUDIT_RECORDS),
        [
            {
                "sequence": one.sequence, "at": one.event.at, "retention": one.event.retention,
                "content": one.content, "hash": one.hash,
            }
            for one in records
        ],
    )  # fmt: skip
    frontier = before.frontier.add(one.hash for one in records)
    connection.execute(
        update(AUDIT_HEAD).values(size=frontier.size, hash=previous, subtrees=frontier.encode())
    )
    intervals.follow(connection, records)
    return tuple(records)


def keep_text(connection: Connection, content: bytes) -> str:
    """Keep a long text that records name; its SHA-256 (hex)."""
    digest = sha256(content).hexdigest()
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(make(AUDIT_TEXTS).on_conflict_do_nothing(), {"digest": digest, "text": content})
    return digest


def texts(connection: Connection, digests: Iterable[str]) -> dict[str, bytes]:
    """The kept texts, by digest. Raises BrokenChain for one that does not have its digest."""
    query = select(AUDIT_TEXTS.c.digest, AUDIT_TEXTS.c.text).where(
        AUDIT_TEXTS.c.digest.in_(sorted(set(digests)))
    )
    found = {digest: bytes(content) for digest, content in connection.execute(query)}
    for digest, content in found.items():
        if sha256(content).hexdigest() != digest:
            raise BrokenChain(0, f"the text {digest}, which records name, was changed")
    return found


def content(connection: Connection, sequence: int) -> bytes | None:
    """The content of a record; None when it was erased. Raises UnknownRecord."""
    row = connection.execute(select(_R.content).where(_R.sequence == sequence)).first()
    if row is None:
        raise UnknownRecord(f"there is no record {sequence}; the chain has {tip(connection).size}")
    return None if row.content is None else bytes(row.content)


def verify(database: Database, heads: Iterable[Head] = ()) -> Verified:
    """Read the whole chain of `database` and hold it against `heads`.

    Raises BrokenChain, which says where, and StateUnavailable.
    """
    verification = Verification(heads)
    end = database.read(tip)
    after = 0
    for page in pages(database, end.size):
        verification.read((content, hashed) for _, content, hashed in page)
        _demand_numbers(page, after)
        after = page[-1][0]
    if verification.size < end.size:
        raise BrokenChain(
            verification.size + 1, f"it is missing, and so is all that follows; the head knows {end.size}"
        )
    verified = verification.end()
    if (verified.chain, verified.root) != (end.chain, end.frontier.root()):
        raise BrokenChain(
            end.size, "the records agree with each other, but not with the head in the database"
        )
    return verified


def _demand_numbers(found: Sequence[Row], after: int) -> None:
    for expected, (number, _, _) in enumerate(found, after + 1):
        if number != expected:
            raise BrokenChain(expected, f"it is missing: record {number} follows")


def erase(connection: Connection, before: int, retention: str, covered: int) -> int:
    """Erase the content of records of the class `retention` from before `before` (microseconds).

    Their hashes stay, so the chain goes on over them; how many were erased. Only the first `covered` records,
    which a signed head commits to, can be erased. Raises NotErasable for what is kept for good.
    """
    if retention == "live":
        raise NotErasable("records of what was live are kept for good")
    erased = connection.execute(
        update(AUDIT_RECORDS)
        .where(_R.retention == retention, _R.at < before, _R.sequence <= covered, _R.content.is_not(None))
        .values(content=None)
    )
    return int(erased.rowcount)


def erasable(connection: Connection, before: int, retention: str, covered: int) -> int:
    """How many records `erase` would erase."""
    query = select(func.count()).where(
        _R.retention == retention, _R.at < before, _R.sequence <= covered, _R.content.is_not(None)
    )
    return int(connection.execute(query.select_from(AUDIT_RECORDS)).scalar_one())


def unrecorded(connection: Connection) -> list[Event]:
    """Late events for the kills and clearances that the kill store has and the chain has not.

    They are made durable first, and by themselves where need be; a crash may come between.
    """
    known = select(AUDIT_KILLS.c.id).where(AUDIT_KILLS.c.since.is_not(None))
    kills = connection.execute(select(KILLS).where(KILLS.c.id.not_in(known)).order_by(KILLS.c.position))
    found = [
        Event(
            TRIPPED, "switch", kill.endpoint, micros(kill.at), kill.actor, kill.reason,
            {"kill": kill.id, "version": kill.version, "killed_at": micros(kill.at)},
            result="recovered", wall=micros(kill.at), late=True,
        )
        for kill in kills
    ]  # fmt: skip
    cleared = set(
        connection.execute(select(AUDIT_KILLS.c.id).where(AUDIT_KILLS.c.until.is_not(None))).scalars()
    )
    for one in connection.execute(select(CLEARANCES).order_by(CLEARANCES.c.position)):
        ids = json.loads(one.ids)
        if not cleared.issuperset(ids):
            found.append(
                Event(
                    REARMED, "switch", one.endpoint, micros(one.at), one.actor, one.reason,
                    {"cleared": ids}, result="recovered", wall=micros(one.at), late=True,
                )
            )  # fmt: skip
    return found


def last_time(connection: Connection) -> int:
    """The latest `at` of all records; 0 when there are none."""
    newest = connection.execute(select(func.max(_R.sequence))).scalar()
    if newest is None:
        return 0
    return int(connection.execute(select(func.max(_R.at)).where(_R.sequence > newest - PAGE)).scalar_one())


def known_names(connection: Connection, kind: str) -> frozenset[str]:
    """Everything of this kind that the chain ever told of."""
    query = select(AUDIT_PLACES.c.name).where(AUDIT_PLACES.c.kind == kind)
    return frozenset(connection.execute(query).scalars())


def first_time(connection: Connection) -> int | None:
    """When the chain begins; None when it is empty."""
    found = connection.execute(select(_R.at).where(_R.sequence == 1)).scalar()
    return None if found is None else int(found)


def _tip(connection: Connection, *, lock: bool) -> Tip:
    query = select(_H.size, _H.hash, _H.subtrees)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise BrokenChain(0, "the head of the chain is missing from the database")
    try:
        return Tip(row.size, bytes(row.hash), Frontier.decode(row.size, bytes(row.subtrees)))
    except ValueError as error:
        raise BrokenChain(row.size, f"the head of the chain is damaged: {error}") from error


def _fresh(connection: Connection, found: Sequence[Event]) -> list[Event]:
    known = intervals.known(connection, ((one.action, one.after or {}) for one in found))
    fresh: list[Event] = []
    for one in found:
        after: Mapping[str, object] = one.after or {}
        if one.action == TRIPPED:
            mark = {text(after.get("kill"))}
        elif one.action == REARMED:
            mark = {f"cleared:{kill}" for kill in names(after.get("cleared"))}
        else:
            mark = set()
        if not mark or mark - known:
            fresh.append(one)
        known |= mark
    return fresh
