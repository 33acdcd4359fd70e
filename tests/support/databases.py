"""Databases for tests: files of SQLite, and fresh databases of one real PostgreSQL for the whole session.

Where PostgreSQL cannot be had, the tests that need it are skipped, with the reason.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.faults import FaultProxy
from tests.support.ports import free_port
from tests.support.unleash import (
    PATIENCE,
    MissingError,
    _await_port,
    _programs,
    _run_as,
    account,
)

GUARDED = "guarded"
"""The user who has to give a password, `PASSWORD`; all others are trusted."""

PASSWORD = "correct horse battery staple"
OWNER = "pointsman"

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"

_RULES = b"host all guarded 127.0.0.1/32 scram-sha-256\nhost all guarded ::1/128 scram-sha-256\n"


class PostgresProcess:
    """A PostgreSQL with files of its own, which can be ended and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        """Raises MissingError."""
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self.port = free_port()
        self._programs = _programs()
        self._who = account()
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        if self._who is not None:
            os.chown(folder, self._who.uid, self._who.gid)
        command = [
            str(self._programs / "initdb"), "-D", str(self.data), "-U", OWNER, "-A", "trust", "-E", "UTF8",
            "--no-locale", "--no-sync",
        ]  # fmt: skip
        if _run_as(self._who, command, folder).wait(PATIENCE):
            raise MissingError(f"initdb failed:\n{self.log.read_text()[-2000:]}")
        rules = self.data / "pg_hba.conf"
        rules.write_bytes(_RULES + rules.read_bytes())

    def start(self, longest_file: int | None = None) -> None:
        """Run until connections are accepted.

        A server that cannot make a file longer than `longest_file` bytes sees a disk that is full.
        """
        self.log.write_bytes(b"")
        command = [
            str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port),
            "-k", str(self.folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
            "-c", "shared_buffers=16MB",
        ]  # fmt: skip
        if longest_file is not None:
            command = ["sh", "-c", 'ulimit -f "$0" && exec "$@"', str(longest_file // 512), *command]
        self._process = _run_as(self._who, command, self.folder)
        _await_port(self.port, self._process, self.log)

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End: by SIGINT in order, by SIGKILL as a crash does."""
        process, self._process = self._process, None
        if process is None:
            return
        # To the postmaster alone: its children would take it for something else.
        process.send_signal(how)
        try:
            process.wait(20)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def url(self, database: str, user: str = OWNER, port: int | None = None) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        self._made += 1
        name = f"test_{self._made}"
        self.ask(f"CREATE DATABASE {name} STRATEGY file_copy")
        return self.url(name)

    def ask(self, query: str, database: str = "postgres") -> list[Mapping[str, Any]]:
        """What the database answers its owner."""
        return asked(self.url(database), query)


def asked(url: str, query: str) -> list[Mapping[str, Any]]:
    """What the database at `url` answers."""
    import asyncpg

    async def ask() -> list[Mapping[str, Any]]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    with ThreadedLoop() as loop:
        return loop.run(ask())


@contextmanager
def postgres_process() -> Iterator[PostgresProcess]:
    """A running server of one's own. Raises MissingError."""
    # Not under pytest's folders: those are closed to other users.
    with tempfile.TemporaryDirectory(prefix="pointsman-postgres-", ignore_cleanup_errors=True) as name:
        process = PostgresProcess(Path(name))
        process.start()
        try:
            yield process
        finally:
            process.end()


class ThreadedLoop:
    """A loop in a thread of its own, for what has to go on while a test blocks."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> ThreadedLoop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Any) -> Any:
        """What the coroutine `work` answers."""
        waiting: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return waiting.result(60)


Proxy = TypeVar("Proxy", bound=FaultProxy)


@contextmanager
def running(proxy: Proxy) -> Iterator[tuple[Proxy, ThreadedLoop]]:
    """`proxy`, whose coroutines are run by the loop beside it."""
    with ThreadedLoop() as loop:
        loop.run(proxy.come_back())
        try:
            yield proxy, loop
        finally:
            loop.run(proxy.break_down())


@contextmanager
def faulty(port: int) -> Iterator[tuple[FaultProxy, ThreadedLoop]]:
    """A proxy to `port`, running."""
    with running(FaultProxy(port)) as found:
        yield found


class TlsFront(FaultProxy):
    """Speaks PostgreSQL's TLS in front of the server at `target`, which may have been built without."""

    def __init__(self, target: int, context: ssl.SSLContext) -> None:
        super().__init__(target)
        self.encrypted = 0
        self._context = context

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == _SSL_REQUEST
        writer.write(b"S")
        await writer.start_tls(self._context)
        self.encrypted += 1


@contextmanager
def tls_front(port: int, context: ssl.SSLContext) -> Iterator[TlsFront]:
    """A `TlsFront` to `port`, running."""
    with running(TlsFront(port, context)) as (front, _):
        yield front


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresProcess]:
    """The session's PostgreSQL."""
    try:
        with postgres_process() as process:
            process.ask(f"CREATE USER {GUARDED} PASSWORD '{PASSWORD}'")
            yield process
    except MissingError as error:
        pytest.skip(f"no PostgreSQL: {error}")


@pytest.fixture
def postgres_url(postgres_server: PostgresProcess) -> Callable[[], str]:
    """Makes an empty database, and answers its URL."""
    return postgres_server.fresh


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'var' / 'pointsman.db'}"
    server: PostgresProcess = request.getfixturevalue("postgres_server")
    return server.fresh()
