"""One durable database, SQLite in a file or PostgreSQL, behind the same two calls.

Work is a function of a plain `sqlalchemy.Connection`: it runs in one transaction, and may run again after a
failure, so it should be safe to do twice. What must hold on either engine:

* a write is on disk when `write` returns (SQLite: write-ahead log, `synchronous` FULL; PostgreSQL: never
  `synchronous_commit` off);
* a write that raised has changed nothing. One exception is in the nature of a server: when it is lost while
  it commits, nobody knows whether the transaction was done; it was done whole or not at all;
* every call ends in bounded time, with an answer or with StateUnavailable;
* nothing is repaired or recreated: an empty database would read as "no kills".

Sources: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous,
postgresql.org/docs/current/wal-async-commit.html.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from domain.errors import StateUnavailable
from storage import schema
from storage.sqlite import SqliteFile

T = TypeVar("T")

BOUND = 5.0
"""Seconds within which a call ends."""

MIGRATION = 60.0
"""Seconds that a replica may take to migrate, or to wait for another one that does."""

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


class Engine(Protocol):
    """What differs between the two: how a transaction is opened, bounded and made durable."""

    where: str
    """The database's name in messages; no secret is part of it."""

    def run(self, work: Callable[[Connection], T], *, write: bool, bound: float) -> T:
        """`work` in one transaction, rolled back unless `write`. Raises StateUnavailable."""
        ...

    def close(self) -> None:
        """Let go. Twice is harmless; `run` raises StateUnavailable afterwards."""
        ...


class Database:
    """An open database at the newest schema. Thread-safe: calls from several threads take turns."""

    def __init__(self, engine: Engine, bound: float) -> None:
        self._engine = engine
        self._bound = bound

    @staticmethod
    def open(url: str, bound: float = BOUND) -> Database:
        """Connect to `sqlite:///path` or `postgresql://user@host/name`, and migrate to the newest schema.

        Several may open the same database at once: one migrates, the others wait for it. `bound` is in
        seconds, for each call. Raises StateUnavailable: out of reach, damaged, another program's, or written
        by a newer release.
        """
        engine = _engine(url, bound)
        try:
            _bring_to_newest(engine, bound)
        except BaseException:
            engine.close()
            raise
        return Database(engine, bound)

    @property
    def where(self) -> str:
        """The database's name for messages, without any secret."""
        return self._engine.where

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` reads: all of it from one moment. Raises StateUnavailable, also when `work` writes."""
        return self._engine.run(work, write=False, bound=self._bound)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` answers, when all it wrote is durable; when it raises, nothing was written.

        Raises StateUnavailable when the database fails; whatever else `work` raises comes through.
        """
        return self._engine.run(work, write=True, bound=self._bound)

    def close(self) -> None:
        """Give the resources back. Twice is harmless; other calls afterwards raise StateUnavailable."""
        self._engine.close()


def _bring_to_newest(engine: Engine, bound: float) -> None:
    try:
        if not engine.run(schema.is_newest, write=False, bound=bound):
            engine.run(schema.upgrade, write=True, bound=max(bound, MIGRATION))
    except StateUnavailable:
        raise
    except schema.Unfit as error:
        raise StateUnavailable(f"{engine.where}: {error}") from error
    except Exception as error:
        goal = f"it could not be brought to schema {schema.newest()}"
        raise StateUnavailable(f"{engine.where}: {goal}, and is as it was: {error!r}") from error


def _engine(url: str, bound: float) -> Engine:
    if url.startswith(SQLITE):
        return SqliteFile(url.removeprefix(SQLITE), bound)
    if url.startswith(POSTGRES):
        # Here, because its driver is an extra.
        from storage.postgres import PostgresServer

        return PostgresServer(url, bound)
    raise StateUnavailable(f"state database: {url.partition(':')[0]!r} is neither sqlite nor postgresql")
