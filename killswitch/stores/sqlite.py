"""Kill state and evidence in one SQLite file.

What must hold: a kill that was acknowledged survives a `kill -9` and a power cut. So the journal is a
write-ahead log, `synchronous` is FULL (SQLite then syncs the log at every commit), every write is one
transaction, and a call returns after its commit. Whatever goes wrong is StateUnavailable with the path and
SQLite's reason; nothing is repaired or recreated, since an empty file would read as "no kills".

Source: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill

SCHEMA = 1
"""The version of the tables below. A file with a higher one was written by a newer release."""

_TABLES = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE kills (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    version TEXT NOT NULL
);
CREATE TABLE clearances (
    position INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    ids TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    UNIQUE (endpoint, ids, actor, reason, at)
);
CREATE TABLE generations (next INTEGER NOT NULL);
INSERT INTO generations VALUES (1);
CREATE TABLE states (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sequences (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
"""


class SqliteStore:
    """A `domain.ports.StateStore` in the file `path`; the file and its directory are created when absent.

    Thread-safe: calls from several threads take turns. Another process that holds the file's lock is
    waited for, `busy_timeout` seconds.
    """

    def __init__(self, path: str, busy_timeout: float = 2.0) -> None:
        """Raises StateUnavailable when the file cannot be opened, is damaged, or is from a newer release."""
        self._path = path
        self._lock = threading.Lock()
        try:
            Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unavailable(error) from error
        try:
            self._prepare()
        except (StateUnavailable, sqlite3.Error) as error:
            self._connection.close()
            if isinstance(error, StateUnavailable):
                raise
            raise self._unavailable(error) from error

    def kills(self) -> tuple[Kill, ...]:
        """See `StateStore`."""
        rows = self._read("SELECT id, endpoint, actor, reason, at, version FROM kills ORDER BY position")
        return tuple(Kill(*row) for row in rows)

    def clearances(self) -> tuple[Clearance, ...]:
        """See `StateStore`."""
        rows = self._read("SELECT endpoint, ids, actor, reason, at FROM clearances ORDER BY position")
        try:
            return tuple(
                Clearance(endpoint, frozenset(json.loads(ids)), actor, reason, at)
                for endpoint, ids, actor, reason, at in rows
            )
        except ValueError as error:
            raise self._unavailable(f"a clearance cannot be read: {error}") from error

    def add_kill(self, kill: Kill) -> None:
        """See `StateStore`."""
        names = map(_text, (kill.id, kill.endpoint, kill.actor, kill.reason, kill.version))
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO kills (id, endpoint, actor, reason, version, at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (*names, kill.at),
            )

    def add_clearance(self, clearance: Clearance) -> None:
        """See `StateStore`."""
        ids = json.dumps(sorted(map(_text, clearance.ids)))
        row = (_text(clearance.endpoint), ids, _text(clearance.actor), _text(clearance.reason), clearance.at)
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO clearances (endpoint, ids, actor, reason, at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                row,
            )

    def reserve_generations(self, count: int) -> int:
        """See `StateStore`."""
        if count < 1:
            raise ValueError(f"count {count!r} must be 1 or more")
        with self._transaction() as connection:
            (first,) = connection.execute("SELECT next FROM generations").fetchone()
            connection.execute("UPDATE generations SET next = ?", (first + count,))
        return int(first)

    def checkpoint(self, states: Mapping[str, bytes], sequences: Mapping[str, int]) -> None:
        """See `StateStore`."""
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO states VALUES (?, ?)", states.items())
            connection.executemany("INSERT OR REPLACE INTO sequences VALUES (?, ?)", sequences.items())

    def states(self) -> dict[str, bytes]:
        """See `StateStore`."""
        return dict(self._read("SELECT name, state FROM states"))

    def sequences(self) -> dict[str, int]:
        """See `StateStore`."""
        return dict(self._read("SELECT name, sequence FROM sequences"))

    def close(self) -> None:
        """See `StateStore`."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        connection = self._connection
        (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if journal != "wal":
            raise self._unavailable(f"its file system offers no write-ahead log (journal mode {journal!r})")
        connection.execute("PRAGMA synchronous = FULL")
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise self._unavailable(f"the file is damaged: {health}; restore it from a backup")
        with self._transaction():
            version = self._version()
            if version is None:
                for statement in _TABLES.split(";\n"):
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA,))
            elif version != SCHEMA:
                raise self._unavailable(
                    f"the file has schema {version}, this release knows schema {SCHEMA}: "
                    "it was written by a newer release; run that one, or give another path"
                )

    def _version(self) -> int | None:
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return None
        if "schema_version" not in tables:
            raise self._unavailable("the file is another program's database; give another path")
        row = self._connection.execute("SELECT version FROM schema_version").fetchone()
        if row is None:
            raise self._unavailable("the file has no schema version: it is damaged; restore it from a backup")
        return int(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        with self._lock:
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(query).fetchall()
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    def _unavailable(self, reason: object) -> StateUnavailable:
        return StateUnavailable(f"state database {self._path}: {reason}")


def _text(value: str) -> str:
    """Without lone surrogates, which SQLite cannot hold: a kill is not refused for how it is spelt."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
