"""SQLite in one file: a single connection, transactions that take the write lock when they begin."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from domain.errors import StateUnavailable

T = TypeVar("T")

# A transaction that reads first and writes later can fail halfway, when another process wrote in between:
# whoever is going to write says so at once.
_BEGIN = {True: "BEGIN IMMEDIATE", False: "BEGIN"}


WHOLE = 64 * 1024 * 1024
"""Bytes up to which a file is checked whole when it is opened; of a longer one, what serving begins with.
Damage elsewhere is found when it is read, and the audit chain has hashes of its own."""

_VITAL = ("kills", "clearances", "generations", "states", "sequences")


class SqliteFile:
    """The file `path`; it and its directory are created when absent.

    Another process that holds the file's lock is waited for, `bound` seconds at most.
    """

    def __init__(self, path: str, bound: float) -> None:
        """Raises StateUnavailable when the file cannot be opened, or is damaged."""
        self.where = f"state database {path}"
        self._lock = threading.Lock()
        self._closed = False
        self._bound = bound
        self._driver = self._opened(path)
        driver = self._driver
        self._engine = create_engine("sqlite://", creator=lambda: driver, poolclass=StaticPool)
        event.listen(self._engine, "begin", _begin)

    def run(self, work: Callable[[Connection], T], *, write: bool, bound: float) -> T:
        """See `storage.database.Engine`."""
        with self._lock:
            if self._closed:
                raise StateUnavailable(f"{self.where}: it was closed")
            try:
                self._prepare(write=write, bound=bound)
                with self._engine.connect().execution_options(begin=_BEGIN[write]) as connection:
                    with connection.begin() as transaction:
                        answer = work(connection)
                        if not write:
                            transaction.rollback()
                    return answer
            except (SQLAlchemyError, sqlite3.Error) as error:
                raise self._unavailable(error) from error

    def close(self) -> None:
        """See `storage.database.Engine`."""
        with self._lock:
            self._closed = True
            self._engine.dispose()
            self._driver.close()

    def _prepare(self, *, write: bool, bound: float) -> None:
        self._driver.execute(f"PRAGMA query_only = {'OFF' if write else 'ON'}")
        if bound != self._bound:
            self._driver.execute(f"PRAGMA busy_timeout = {round(bound * 1000)}")
            self._bound = bound

    def _opened(self, path: str) -> sqlite3.Connection:
        try:
            Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
            driver = sqlite3.connect(path, self._bound, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise self._unavailable(error) from error
        try:
            self._check(driver)
        except (StateUnavailable, sqlite3.Error) as error:
            driver.close()
            if isinstance(error, StateUnavailable):
                raise
            raise self._unavailable(error) from error
        return driver

    def _check(self, driver: sqlite3.Connection) -> None:
        (journal,) = driver.execute("PRAGMA journal_mode = WAL").fetchone()
        if journal != "wal":
            raise self._unavailable(f"its file system offers no write-ahead log (journal mode {journal!r})")
        driver.execute("PRAGMA synchronous = FULL")
        for check in _checks(driver):
            (health,) = driver.execute(check).fetchone()
            if health != "ok":
                raise self._unavailable(f"the file is damaged: {health}; restore it from a backup")

    def _unavailable(self, reason: object) -> StateUnavailable:
        if isinstance(reason, DBAPIError):
            reason = reason.orig
        return StateUnavailable(f"{self.where}: {reason}")


def _checks(driver: sqlite3.Connection) -> list[str]:
    (pages,), (page,) = (driver.execute(f"PRAGMA page_{what}").fetchone() for what in ("count", "size"))
    if pages * page <= WHOLE:
        return ["PRAGMA quick_check(1)"]
    tables = {name for (name,) in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return [f"PRAGMA quick_check('{name}')" for name in _VITAL if name in tables]


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options()["begin"])
