"""How far a sink has come in the log: reading on from there, and holding what it has not had.

A sink may be away for hours. Nothing waits for it in memory: its records are in the segments, which stay in
SQLite until every sink has had them (`held`), and go only when age or the folder's bound takes them; those
are counted then (`lose`). The place is kept in a file beside them, so that a restart goes on there;
a record is sent again after a crash, at most, and never left out.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from domain.errors import StateUnavailable
from monitoring.log import segments
from monitoring.log.forwarding.parcel import START, UNKNOWN, Parcel, Position
from monitoring.log.segments import SQLITE, named

ORIGIN = "origin"
MOST_RECORDS = 2000
MOST_BYTES = 1024 * 1024
"""Of one parcel, roughly."""

_ROWS = "SELECT number, record FROM records WHERE number > ? ORDER BY number LIMIT ?"
_LEFT = "SELECT endpoint, count(*) FROM records WHERE number > ? GROUP BY endpoint"


class Trail:
    """The place of the sink called `name` in `folder`. Two threads may use it: one sends, one prunes.

    Attributes:
        position: the end of what the sink has had.
        lost: records by endpoint that were removed before the sink had them.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Raises StateUnavailable when the folder cannot be used."""
        self.lost: Counter[str] = Counter()
        self._folder = folder
        self._file = folder / f"{name}.position"
        self._lock = threading.Lock()
        try:
            self.origin = _origin(folder)
            self.position = _read(self._file) or Position(self._oldest(), 0)
        except OSError as error:
            raise StateUnavailable(f"the prediction log in {folder} cannot be sent on: {error}") from error

    def next(self) -> Parcel | None:
        """What comes next; None: the sink has everything. Raises StateUnavailable."""
        while True:
            later = [number for number in self._numbers() if number > self.position.segment]
            try:
                parcel = self._read_on()
            except sqlite3.Error as error:
                damaged = not isinstance(error, sqlite3.OperationalError)  # else: locked, or out of reach
                if not (damaged and later):
                    raise StateUnavailable(f"the prediction log cannot be read on: {error}") from error
                parcel = None  # what cannot be read keeps nobody from the next segment
                self.leave_out({UNKNOWN: 1})
            if parcel is not None or not later:
                return parcel
            with self._lock:
                self.position = Position(min(later), 0)

    def reached(self, position: Position) -> None:
        """The sink has had everything up to `position`. Raises StateUnavailable when that cannot be noted."""
        draft = self._file.with_suffix(".draft")
        try:
            with draft.open("w") as file:
                file.write(f"{position.segment} {position.number}\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._file)
        except OSError as error:
            raise StateUnavailable(f"how far the prediction log was sent cannot be kept: {error}") from error
        finally:  # without the note it is sent again after a restart, and not before
            with self._lock:
                self.position = position

    def resume(self, known: Position | None) -> None:
        """Go on where the sink says it is; a sink that cannot be asked is where it was last time.

        A sink that was put back (a failover that lost its latest writes) is sent what it lost, as far as that
        is still in SQLite. A place that this log has not come to says that the folder was put back, or is a
        copy of another one's: what stands in it now would bear names that the sink knows as others'. So it
        gets a name of its own, and is sent from its beginning. Raises StateUnavailable.
        """
        try:
            is_strange = self._is_strange(self.position if known is None else known)
            with self._lock:
                if is_strange:
                    self.origin = _named_anew(self._folder)
                    self.position = Position(self._oldest(), 0)
                elif known is not None:
                    self.position = max(known, Position(self._oldest(), 0))
        except (OSError, sqlite3.Error) as error:
            raise StateUnavailable(f"the prediction log cannot be read on: {error}") from error

    def leave_out(self, records: Mapping[str, int]) -> None:
        """Count records, by endpoint, that the sink cannot take."""
        with self._lock:
            self.lost.update(records)

    @property
    def held(self) -> int:
        """The number of the first segment that the sink has not had wholly."""
        return self.position.segment

    def behind(self) -> int:
        """How many records the sink has not had. Raises StateUnavailable."""
        segment, after = self.position
        try:
            return sum(
                max(0, self._last(number) - (after if number == segment else 0))
                for number in self._numbers()
                if number >= segment
            )
        except sqlite3.Error as error:
            raise StateUnavailable(f"the prediction log cannot be read on: {error}") from error

    def lose(self, number: int) -> None:
        """Segment `number` is about to be removed: count what the sink has not had of it."""
        with self._lock:
            if number < self.position.segment:
                return
            after = self.position.number if number == self.position.segment else 0
            self.lost.update(self._left(number, after))

    def _numbers(self) -> list[int]:
        found = segments.numbers(self._folder)
        return sorted(number for number, endings in found.items() if SQLITE in endings)

    def _oldest(self) -> int:
        return min(self._numbers(), default=START.segment)

    def _is_strange(self, place: Position) -> bool:
        newest = max(self._numbers(), default=0)
        if not newest or place.segment < newest:
            return False
        return place.segment > newest or place.number > self._last(newest)

    def _read_on(self) -> Parcel | None:
        segment, after = self.position
        numbers: list[int] = []
        records: list[bytes] = []
        size = 0
        connection = self._opened(segment)
        if connection is None:
            return None
        with closing(connection):
            for number, record in connection.execute(_ROWS, (after, MOST_RECORDS)):
                if records and size + len(record) > MOST_BYTES:
                    break
                numbers.append(number)
                records.append(record)
                size += len(record)
        return Parcel(self.origin, segment, numbers, records) if records else None

    def _last(self, segment: int) -> int:
        """The number of a segment's last record; they count up from 1."""
        connection = self._opened(segment)
        if connection is None:
            return 0
        with closing(connection):
            return connection.execute("SELECT max(number) FROM records").fetchone()[0] or 0

    def _left(self, segment: int, after: int) -> dict[str, int]:
        try:
            connection = self._opened(segment)
            if connection is None:
                return {}
            with closing(connection):
                return dict(connection.execute(_LEFT, (after,)).fetchall())
        except sqlite3.Error:
            return {UNKNOWN: 1}  # damaged: nobody knows how many there were

    def _opened(self, segment: int) -> sqlite3.Connection | None:
        return segments.opened(named(self._folder, segment, SQLITE))


def _origin(folder: Path) -> str:
    """The folder's name for ever, made when it is first asked for."""
    path = folder / ORIGIN
    with suppress(FileNotFoundError):
        if found := path.read_text().strip():
            return found
    return _named_anew(folder)


def _named_anew(folder: Path) -> str:
    path = folder / ORIGIN
    made = secrets.token_hex(8)
    draft = path.with_suffix(".draft")
    draft.write_text(made)
    os.replace(draft, path)
    return made


def _read(path: Path) -> Position | None:
    """None where there is none, or nothing that could be one."""
    with suppress(FileNotFoundError, ValueError):
        segment, number = path.read_text().split()
        return Position(int(segment), int(number))
    return None
