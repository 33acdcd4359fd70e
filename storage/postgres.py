"""PostgreSQL by asyncpg: one connection, driven by a loop of its own, and a watchdog that cuts it.

A server that hangs, or a network that swallows packets, must not hold a thread for ever. So each call has a
deadline: when it passes, the socket is aborted, and whatever waited for it fails at once. The server ends by
itself what it was asked, after the same time, so that a replica that vanished holds no lock for long.

All tables are in the schema `pointsman` of the database, apart from other programs'. Secrets are libpq's:
PGPASSWORD, a password file, or certificates.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from domain.errors import StateUnavailable
from storage.schema import SCHEMA

T = TypeVar("T")

# Whoever made commits asynchronous for a whole server did not mean kills.
_SESSION = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)

# What the server ends by itself: a query, and a transaction whose replica has stopped.
_LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout")

_FAREWELL = 1.0
"""Seconds that a connection may take to end in order."""

_READ = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_WRITE: dict[str, Any] = {"isolation_level": "READ COMMITTED", "postgresql_readonly": False}


class Driver(Protocol):
    """What is used of asyncpg's connection."""

    async def execute(self, query: str) -> str: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...


class PostgresServer:
    """The database at `url`; connections are made when they are needed, and again after they were lost."""

    def __init__(self, url: str, bound: float) -> None:
        self.where = f"state database {_shown(url)}"
        self._url = url
        self._bound = bound
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = asyncio.SelectorEventLoop()
        self._driver: Driver | None = None
        self._late = False
        self._engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://", async_creator=self._connect, pool_size=1, max_overflow=0
        )

    def run(self, work: Callable[[Connection], T], *, write: bool, bound: float) -> T:
        """See `storage.database.Engine`."""
        with self._lock:
            if self._loop is None:
                raise StateUnavailable(f"{self.where}: it was closed")
            self._late = False
            try:
                return self._loop.run_until_complete(self._transact(work, write, bound))
            except (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise self._unavailable(error, bound) from error

    def close(self) -> None:
        """See `storage.database.Engine`."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is None:
                return
            if self._driver is not None and not loop.is_closed():
                loop.run_until_complete(self._let_go())
            loop.close()

    async def _transact(self, work: Callable[[Connection], T], write: bool, bound: float) -> T:
        watchdog = asyncio.get_running_loop().call_later(bound, self._cut)
        try:
            await self._notice()
            async with self._engine.connect() as connection:
                await connection.execution_options(**(_WRITE if write else _READ))
                async with connection.begin() as transaction:
                    if write and bound != self._bound:
                        for limit in _LIMITS:
                            await connection.exec_driver_sql(f"SET LOCAL {limit} = {_milliseconds(bound)}")
                    answer = await connection.run_sync(work)
                    if not write:
                        await transaction.rollback()
                return answer
        finally:
            watchdog.cancel()

    async def _notice(self) -> None:
        # The loop stands still between calls: let it see that the server has closed the connection.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self._driver is not None and self._driver.is_closed():
            await self._engine.dispose()

    async def _connect(self) -> Driver:
        try:
            driver: Driver = await asyncpg.connect(
                self._url,
                timeout=self._bound,
                server_settings={
                    "application_name": "pointsman",
                    "search_path": SCHEMA,
                    **dict.fromkeys(_LIMITS, _milliseconds(self._bound)),
                },
            )
            self._driver = driver
            await driver.execute(_SESSION)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise self._unavailable(error, self._bound) from error
        return driver

    def _cut(self) -> None:
        self._late = True
        if self._driver is not None:
            self._driver.terminate()

    async def _let_go(self) -> None:
        watchdog = asyncio.get_running_loop().call_later(min(self._bound, _FAREWELL), self._cut)
        try:
            await self._engine.dispose()
        finally:
            watchdog.cancel()

    def _unavailable(self, error: BaseException, bound: float) -> StateUnavailable:
        if self._late or isinstance(error, TimeoutError):
            return StateUnavailable(f"{self.where}: no answer within {bound:g} s")
        if isinstance(error, DBAPIError) and error.orig is not None:
            error = error.orig.__cause__ or error.orig
        return StateUnavailable(f"{self.where}: {error or type(error).__name__}")


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"
