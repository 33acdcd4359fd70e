"""Writing the prediction log: small durable commits into SQLite, and what keeps the folder in bounds.

What `keep` was given is on disk when it returns, once, however often it is given: a batch carries its
sender's session and sequence, which are committed together with its records, and go on into the next segment.
It is one writer a folder, which a lock on the folder ensures; a second one is told so.

A segment ends when it is `roll` seconds old, or MOST_RECORDS or MOST_SIZE long. Then it is rolled into
Parquet elsewhere (`rolling.roll`, in another thread), where there is pyarrow; without it SQLite files stay as
they are. Segments older than `keep` go, and the oldest while all together exceed `most` bytes.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from domain.errors import StateUnavailable
from monitoring.log import segments
from monitoring.log.forwarding.trail import Trail
from monitoring.log.record import PredictionRecord
from monitoring.log.rolling import remains, remove, sync
from monitoring.log.segments import IDS, PARQUET, SQLITE, encoded, named

MOST_RECORDS = 250_000
"""Records of one segment, so that rolling it takes seconds."""
MOST_SIZE = 1024 * 1024 * 1024
"""Bytes of the records of one segment …"""
PARTS = 8
"""… and at most such a part of all that is kept: the segment that is written is never removed."""
MOST_SESSIONS = 10_000
"""Senders that are remembered; a worker is one for as long as it lives."""
MOST_AGED_OUT = 4
"""Segments that age may remove at one look: a clock that jumps ahead must not empty the log."""
LOCK = "lock"

_TABLES = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, request_id TEXT NOT NULL, endpoint TEXT NOT NULL, at REAL NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_request ON records (request_id);
CREATE TABLE IF NOT EXISTS sequences (session TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
"""
_LEARN = """
INSERT INTO sequences VALUES (?, ?)
ON CONFLICT (session) DO UPDATE SET sequence = max(sequence, excluded.sequence)
"""
_NO_TABLE = "no such table"


@dataclass(frozen=True, slots=True)
class Bounds:
    """`keep` and `roll` in seconds, `most` in bytes."""

    keep: float
    most: int
    roll: float


class Delivery(NamedTuple):
    """One batch of a sender: kept once for each `session` and `sequence`."""

    session: str
    sequence: int
    records: Sequence[PredictionRecord]


class LogWriter:
    """Writes the log in `folder`. Methods block; another thread may call `to_roll`, `prune` and `sizes`.

    Attributes:
        newest: when the newest record that is kept was made, in seconds since 1970; 0 while there is none.
        trails: of the sinks that have to have a segment before it becomes Parquet.
    """

    def __init__(self, folder: Path, bounds: Bounds, now: float) -> None:
        """`now`: seconds since 1970. Raises StateUnavailable when the folder cannot be written to."""
        self.newest = 0.0
        self.trails: tuple[Trail, ...] = ()
        self._folder = folder
        self._bounds = bounds
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._connection: sqlite3.Connection | None = None
        self._number = 0
        self._began = now
        self._count = 0
        self._size = 0
        self._lock = _locked(folder)
        try:
            self._clear()
            self._resume(now)
        except BaseException:
            self.close()
            raise

    @property
    def number(self) -> int:
        """Of the segment that is written."""
        return self._number

    def close(self) -> None:
        """Give everything back. Twice is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def keep(self, deliveries: Sequence[Delivery], now: float) -> list[Delivery]:
        """Keep those that were not kept before, and say which. Raises StateUnavailable: none is.

        Sequences of a session come in rising order, as they were sent.
        """
        if self._ended(now):
            self._begin(self._number + 1, now)
        connection = self._connection
        if connection is None:
            raise StateUnavailable("the prediction log is closed")
        seen: dict[str, int] = {}
        rows = []
        fresh = []
        newest = self.newest
        for delivery in deliveries:
            session, sequence, records = delivery
            if sequence <= seen.get(session, self._seen.get(session, 0)):
                continue
            seen[session] = sequence
            fresh.append(delivery)
            for record in records:
                newest = max(newest, record.at)
                rows.append((record.request_id, record.endpoint, record.at, encoded(record)))
        if not fresh:
            return fresh
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT INTO records (request_id, endpoint, at, record) VALUES (?, ?, ?, ?)", rows
                )
                connection.executemany("INSERT OR REPLACE INTO sequences VALUES (?, ?)", seen.items())
        except sqlite3.Error as error:
            raise StateUnavailable(f"the prediction log cannot be written: {error}") from error
        for session, sequence in seen.items():
            self._see(session, sequence)
        self._count += len(rows)
        self._size += sum(len(row[3]) for row in rows)
        self.newest = newest
        return fresh

    def end_segment(self, now: float) -> None:
        """Begin another segment if this one has ended. Raises StateUnavailable."""
        if self._count and self._ended(now):
            self._begin(self._number + 1, now)

    def to_roll(self) -> list[int]:
        """Numbers of the segments that ended, are still in SQLite and were sent on, oldest first."""
        found = segments.numbers(self._folder)
        end = min([self._number, *(trail.held for trail in self.trails)])
        return [number for number in sorted(found) if number < end and PARQUET not in found[number]]

    def prune(self, now: float) -> int:
        """Remove what is too old or too much; how many segments went. Raises StateUnavailable."""
        sizes = self.sizes()
        total = sum(sizes.values())
        gone = aged = 0
        for number, size in sorted(sizes.items()):
            if number >= self._number:
                break
            too_old = aged < MOST_AGED_OUT and now - self._written(number, now) > self._bounds.keep
            if not too_old and total <= self._bounds.most:
                break
            aged += too_old
            gone += 1
            total -= size
            for trail in self.trails:
                trail.lose(number)
            for ending in (PARQUET, SQLITE):
                remove(self._folder, number, ending)
        return gone

    def sizes(self) -> dict[int, int]:
        """Bytes of each segment on disk, by number. Raises StateUnavailable."""
        found: dict[int, int] = {}
        for number in segments.numbers(self._folder):
            paths = [named(self._folder, number, ending) for ending in (SQLITE, PARQUET, IDS)]
            paths.append(paths[0].with_name(paths[0].name + "-wal"))
            found[number] = sum(_size(path) for path in paths)
        return found

    def _written(self, number: int, now: float) -> float:
        """When a segment was written last, in seconds since 1970."""
        for ending in (PARQUET, SQLITE):
            try:
                return named(self._folder, number, ending).stat().st_mtime
            except FileNotFoundError:
                continue
        return now

    def _clear(self) -> None:
        """Take away what a crash left."""
        for path in remains(self._folder):
            if path.suffix == SQLITE:
                remove(self._folder, int(path.stem.removeprefix("predictions-")), SQLITE)
            else:
                path.unlink(missing_ok=True)

    def _resume(self, now: float) -> None:
        """Go on with the newest segment, or begin the first. One that is damaged is set aside."""
        found = segments.numbers(self._folder)
        newest = max(found, default=0)
        if SQLITE in found.get(newest - 1, ()):
            self._recall(newest - 1)  # a crash may have come before the newest one knew the senders
        if SQLITE not in found.get(newest, ()):
            self._begin(newest + 1, now)
            return
        try:
            self._open(newest, now)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, full, not readable: it is not damaged
                raise StateUnavailable(f"the prediction log cannot be opened: {error}") from error
            path = named(self._folder, newest, SQLITE)
            path.rename(path.with_name(path.name + ".damaged"))
            self._begin(newest + 1, now)

    def _recall(self, number: int) -> None:
        """Learn what an earlier segment knows of the senders; one that is damaged knows nothing."""
        try:
            with closing(sqlite3.connect(named(self._folder, number, SQLITE))) as connection:
                for session, sequence in connection.execute("SELECT session, sequence FROM sequences"):
                    self._see(session, sequence)
        except sqlite3.OperationalError as error:
            if _NO_TABLE not in str(error):
                raise StateUnavailable(f"the prediction log cannot be opened: {error}") from error
        except sqlite3.DatabaseError:
            return  # its readers are told so

    def _begin(self, number: int, now: float) -> None:
        """A new segment that knows what the one before knew of the senders."""
        before = self._connection
        try:
            self._open(number, now)
        except sqlite3.Error as error:
            self._connection = before
            raise StateUnavailable(f"no segment of the prediction log can be begun: {error}") from error
        if before is not None:
            before.close()

    def _open(self, number: int, now: float) -> None:
        path = named(self._folder, number, SQLITE)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES}")
            connection.executemany(_LEARN, self._seen.items())
            connection.execute("COMMIT")
            sync(self._folder)
            count, oldest, newest = connection.execute(
                "SELECT count(*), min(at), max(at) FROM records"
            ).fetchone()
            size = path.stat().st_size
            for session, sequence in connection.execute("SELECT session, sequence FROM sequences"):
                self._see(session, max(sequence, self._seen.get(session, 0)))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._number, self._count, self._size = number, count, size
        self._began = now if oldest is None else min(now, oldest)
        self.newest = max(self.newest, newest or 0.0)

    def _ended(self, now: float) -> bool:
        self._began = min(self._began, now)  # the clock may have been put back
        if not self._count:
            return False
        long = self._count >= MOST_RECORDS or self._size >= min(MOST_SIZE, self._bounds.most // PARTS)
        return long or now - self._began >= self._bounds.roll

    def _see(self, session: str, sequence: int) -> None:
        self._seen[session] = sequence
        self._seen.move_to_end(session)
        while len(self._seen) > MOST_SESSIONS:
            self._seen.popitem(last=False)


def _locked(folder: Path) -> int:
    """The descriptor of the folder's lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnavailable(f"the prediction log in {folder} cannot be written: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateUnavailable(f"another process writes the prediction log in {folder}") from error
    return descriptor


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
