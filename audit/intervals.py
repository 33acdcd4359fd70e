"""The interval table: what was live at T, in a few look-ups instead of a replay of the whole chain.

It is written in the transaction that appends the records, and says nothing of its own: each interval names
the record that it follows from, and what was live is read from that record. `audit.live` is what it must
agree with.

Registers have an interval for every state they held. Kills have one each; and since a query for the intervals
around T would look through all kills ever made, they are covered by periods (kind `switch`): disjoint, and
no kill in force reaches beyond its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from audit.event import ENDPOINT, GATEWAY, REARMED, TRIPPED, Record, names, text
from audit.live import SHARED, Cleared, End, Held, Killed, KillHeld, Live, Place, Set, effects, kill_order
from storage.tables import AUDIT_INTERVALS, AUDIT_KILLS, AUDIT_PLACES, AUDIT_RECORDS

SWITCH = "switch"

_I, _K, _P, _R = AUDIT_INTERVALS.c, AUDIT_KILLS.c, AUDIT_PLACES.c, AUDIT_RECORDS.c

_AT = bindparam("at", type_=BigInteger)
_LATEST = (
    select(_I.sequence)
    .where(_I.kind == _P.kind, _I.replica == _P.replica, _I.name == _P.name, _I.since <= _AT)
    .order_by(_I.since.desc(), _I.sequence.desc())
    .limit(1)
    .correlate(AUDIT_PLACES)
    .scalar_subquery()
)
# Two questions, not one with a join: an engine's planner may begin such a join at its wrong end.
_LAST_OF_EACH = select(_P.kind, _P.replica, _P.name, _LATEST)
_HELD = (
    select(_I.kind, _I.replica, _I.name, _I.since, _I.until, _I.sequence, _R.content)
    .join(AUDIT_RECORDS, _R.sequence == _I.sequence)
    .where(_I.sequence.in_(bindparam("sequences", expanding=True)))
)
_IN_FORCE = select(_K.id, _K.since, _K.sequence).where(
    _K.endpoint == bindparam("endpoint"),
    _K.since >= bindparam("first"),
    _K.since <= _AT,
    or_(_K.until.is_(None), _K.until > _AT),
)


def live_at(connection: Connection, at: int) -> Live:
    """What was live at `at`, microseconds since the epoch."""
    latest = {
        Place(kind, replica, name): sequence
        for kind, replica, name, sequence in connection.execute(_LAST_OF_EACH, {"at": at})
        if sequence is not None
    }
    registers: list[Held] = []
    kills: list[KillHeld] = []
    found = connection.execute(_HELD, {"sequences": sorted(set(latest.values()))}) if latest else ()
    for kind, replica, name, since, until, sequence, content in tuple(found):
        place = Place(kind, replica, name)
        if latest.get(place) != sequence or since > at or (until is not None and until <= at):
            continue
        if kind == SWITCH:
            kills += _in_force(connection, name, since, at)
        else:
            state: Mapping[str, object] = orjson.loads(content)["after"] or {}
            registers.append(Held(place, since, sequence, state))
    registers.sort(key=lambda held: held.place)
    return Live(at, tuple(registers), tuple(sorted(kills, key=kill_order)))


def _in_force(connection: Connection, endpoint: str, first: int, at: int) -> list[KillHeld]:
    """The kills of a period that are in force at `at`."""
    found = connection.execute(_IN_FORCE, {"endpoint": endpoint, "first": first, "at": at})
    return [KillHeld(endpoint, kill, since, sequence) for kill, since, sequence in found]


def known(connection: Connection, records: Iterable[tuple[str, Mapping[str, object]]]) -> set[str]:
    """Of these actions with what they left behind, the ids of kills that are recorded already, and of those
    that are recorded as cleared, as `cleared:ID`."""
    ids: set[str] = set()
    for action, after in records:
        if action == TRIPPED:
            ids.add(text(after.get("kill")))
        elif action == REARMED:
            ids.update(names(after.get("cleared")))
    found: set[str] = set()
    if ids:
        for kill, since, until in connection.execute(
            select(_K.id, _K.since, _K.until).where(_K.id.in_(sorted(ids)))
        ):
            found |= {kill} if since is not None else set()
            found |= {f"cleared:{kill}"} if until is not None else set()
    return found


@dataclass(slots=True)
class _Row:
    """The newest interval of a place. `stored` is what the table has; `until` may differ from it."""

    since: int
    sequence: int
    until: int | None
    stored: bool
    changed: bool = False

    def close(self, at: int) -> None:
        if self.until is None:
            self.until = max(at, self.since)
            self.changed = True


@dataclass(slots=True)
class _KillRow:
    endpoint: str
    since: int | None
    sequence: int | None
    until: int | None
    stored: bool
    changed: bool = False


def follow(connection: Connection, records: Sequence[Record]) -> None:
    """Keep the table in step with `records`, which were appended in this transaction."""
    done = [(record, effect) for record in records for effect in effects(record.event)]
    if not done:
        return
    writing = _Writing(connection)
    writing.load_kills(
        [kill for _, effect in done for kill in (effect.ids if isinstance(effect, Cleared) else
         (effect.id,) if isinstance(effect, Killed) else ())]
    )  # fmt: skip
    for record, effect in done:
        match effect:
            case Set(place, present):
                writing.set(place, record.event.at, record.sequence, present=present)
            case End(replica):
                writing.end(replica, record.event.at)
            case Killed(endpoint, kill):
                writing.killed(endpoint, kill, record.event.at, record.sequence)
            case Cleared(endpoint, ids):
                writing.cleared(endpoint, ids, record.event.at)
    writing.flush()


class _Writing:
    """One transaction's changes, gathered so that many records take few statements."""

    def __init__(self, connection: Connection) -> None:
        self._on = connection
        self._rows: dict[Place, _Row | None] = {}
        self._older: list[tuple[Place, _Row]] = []
        self._kills: dict[str, _KillRow] = {}
        self._places: set[Place] = set()

    # Registers.

    def set(self, place: Place, at: int, sequence: int, *, present: bool) -> None:
        last = self._last(place)
        if last is not None:
            at = max(at, last.since if last.until is None else last.until)
            last.close(at)
        if present:
            self._begin(place, _Row(at, sequence, None, stored=False))

    def end(self, replica: str, at: int) -> None:
        query = select(_P.kind, _P.name).where(_P.replica == replica, _P.kind.in_((GATEWAY, ENDPOINT)))
        places = {Place(kind, replica, name) for kind, name in self._on.execute(query)}
        for place in sorted(places | {one for one in self._places if one.replica == replica}):
            last = self._last(place)
            if place.kind != SWITCH and last is not None:
                last.close(at)

    def _begin(self, place: Place, row: _Row) -> None:
        last = self._rows.get(place)
        if last is not None:
            self._older.append((place, last))
        self._rows[place] = row
        self._places.add(place)

    def _last(self, place: Place) -> _Row | None:
        if place not in self._rows:
            query = (
                select(_I.since, _I.sequence, _I.until)
                .where(_at_place(place))
                .order_by(_I.since.desc(), _I.sequence.desc())
                .limit(1)
            )
            found = self._on.execute(query).first()
            self._rows[place] = None if found is None else _Row(*found, stored=True)
        return self._rows[place]

    # Kills, and the periods that cover them.

    def load_kills(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        query = select(_K.id, _K.endpoint, _K.since, _K.sequence, _K.until).where(_K.id.in_(sorted(set(ids))))
        for kill, endpoint, since, sequence, until in self._on.execute(query):
            self._kills[kill] = _KillRow(endpoint, since, sequence, until, stored=True)

    def killed(self, endpoint: str, kill: str, at: int, sequence: int) -> None:
        row = self._kills.get(kill)
        if row is None:
            row = self._kills[kill] = _KillRow(endpoint, None, None, None, stored=False)
        if row.since is not None:
            return
        row.since, row.sequence, row.changed = at, sequence, True
        if row.until is not None:
            row.until = max(at, row.until)
        self._cover(Place(SWITCH, SHARED, endpoint), at, row.until, sequence)

    def cleared(self, endpoint: str, ids: Sequence[str], at: int) -> None:
        for kill in ids:
            row = self._kills.get(kill)
            if row is None:
                row = self._kills[kill] = _KillRow(endpoint, None, None, None, stored=False)
            if row.until is None:
                row.until = at if row.since is None else max(at, row.since)
                row.changed = True
        last = self._last(Place(SWITCH, SHARED, endpoint))
        if last is not None and last.until is None and not self._any_in_force(endpoint):
            last.close(max(at, self._last_end(endpoint, last.since)))

    def _any_in_force(self, endpoint: str) -> bool:
        self._flush_kills()
        query = select(_K.id).where(_K.endpoint == endpoint, _K.until.is_(None)).limit(1)
        return self._on.execute(query).first() is not None

    def _last_end(self, endpoint: str, since: int) -> int:
        """Where the last of the kills from `since` on ended: not always where the last re-arm was."""
        query = select(func.max(_K.until)).where(_K.endpoint == endpoint, _K.since >= since)
        return int(self._on.execute(query).scalar_one())

    def _cover(self, place: Place, since: int, until: int | None, sequence: int) -> None:
        last = self._last(place)
        if last is None or (last.until is not None and since > last.until):
            self._begin(place, _Row(since, sequence, until, stored=False))
        elif since < last.since or last.until is not None:
            self._merge(place, since, until, sequence)

    def _merge(self, place: Place, since: int, until: int | None, sequence: int) -> None:
        """A kill that is told late lies across periods: they become one."""
        self.flush()
        around = and_(_at_place(place), or_(_I.until.is_(None), _I.until >= since))
        if until is not None:
            around = and_(around, _I.since <= until)
        met = self._on.execute(select(_I.since, _I.sequence, _I.until).where(around)).all()
        first, number = min([(since, sequence), *((one.since, one.sequence) for one in met)])
        ends = [until, *(one.until for one in met)]
        last = None if None in ends else max(end for end in ends if end is not None)
        self._on.execute(delete(AUDIT_INTERVALS).where(around))
        self._begin(place, _Row(first, number, last, stored=False))
        self.flush()

    # Into the table.

    def flush(self) -> None:
        """Write what is gathered, and forget it."""
        rows = [*self._older, *((place, row) for place, row in self._rows.items() if row is not None)]
        new = [
            {**place._asdict(), "since": row.since, "sequence": row.sequence, "until": row.until}
            for place, row in rows
            if not row.stored
        ]
        if self._places:
            self._insert_places()
        changed = [(place, row) for place, row in rows if row.stored and row.changed]
        if changed:
            self._on.execute(
                update(AUDIT_INTERVALS)
                .where(
                    _I.kind == bindparam("k"), _I.replica == bindparam("r"), _I.name == bindparam("n"),
                    _I.since == bindparam("s"), _I.sequence == bindparam("q"),
                )
                .values(until=bindparam("u")),
                [
                    {
                        "k": at.kind, "r": at.replica, "n": at.name, "s": row.since, "q": row.sequence,
                        "u": row.until,
                    }
                    for at, row in changed
                ],
            )  # fmt: skip
        if new:
            self._on.execute(insert(AUDIT_INTERVALS), new)
        self._flush_kills()
        self._rows, self._older, self._places = {}, [], set()

    def _insert_places(self) -> None:
        make = postgresql.insert if self._on.dialect.name == "postgresql" else sqlite.insert
        rows = [place._asdict() for place in sorted(self._places)]
        self._on.execute(make(AUDIT_PLACES).on_conflict_do_nothing(), rows)

    def _flush_kills(self) -> None:
        new, changed = [], []
        for kill, row in self._kills.items():
            values = {
                "endpoint": row.endpoint,
                "since": row.since,
                "sequence": row.sequence,
                "until": row.until,
            }
            if not row.stored:
                new.append({"id": kill, **values})
            elif row.changed:
                changed.append({"key": kill, **values})
            row.stored, row.changed = True, False
        if new:
            self._on.execute(insert(AUDIT_KILLS), new)
        if changed:
            self._on.execute(
                update(AUDIT_KILLS)
                .where(_K.id == bindparam("key"))
                .values(
                    since=bindparam("since"), sequence=bindparam("sequence"), until=bindparam("until"),
                    endpoint=bindparam("endpoint"),
                ),
                changed,
            )  # fmt: skip


def _at_place(place: Place) -> ColumnElement[bool]:
    return and_(_I.kind == place.kind, _I.replica == place.replica, _I.name == place.name)
