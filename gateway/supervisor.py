"""The supervisor: starts the workers and the control process, and starts them again when they end.

It holds each worker's listening socket (SO_REUSEPORT, one a worker), so that connections which arrive while
a worker is being replaced wait in the kernel instead of being refused. A worker gets a snapshot with every
candidate out: until the control process has told it the true state, unknown means incumbent.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from domain.errors import ConfigError
from gateway.boot import Boot
from gateway.log import log, report
from settings.file import load
from settings.schema import Address, Settings
from settings.snapshot import boot as boot_snapshot
from shadow.tasks import Tasks

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
"""Seconds between a process's end and its next start; doubled while it ends soon after its start."""
STEADY = 5.0
"""Seconds a process must have run for its next pause to be the first again."""
BACKLOG = 4096
CONTROL_GRACE = 5.0
"""Seconds the control process has to end after SIGTERM."""

StartProcess = Callable[[], Awaitable[asyncio.subprocess.Process]]


def listen(address: Address) -> socket.socket:
    """One worker's listening socket. Raises ConfigError when the address cannot be had."""
    listening = _bound(address, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


def _demand_free(address: Address) -> None:
    """SO_REUSEPORT lets two gateways share a port unnoticed: refuse an address that somebody serves."""
    if address.port:
        _bound(address, socket.SO_REUSEADDR).close()


def _bound(address: Address, *options: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((address.host, address.port))
    except OSError as error:
        bound.close()
        way_out = f"the address cannot be listened on ({error.strerror}): free it or choose another"
        raise ConfigError("listen", str(address), way_out) from error
    return bound


class Supervisor:
    """Runs one gateway on this machine."""

    def __init__(self, settings: Settings, config: Path, workers: int) -> None:
        self._settings = settings
        self._config = config
        self._workers = workers
        self._tasks = Tasks(report)
        self._unit_key = secrets.token_bytes(32)
        self._stopping = asyncio.Event()
        self._running: dict[str, asyncio.subprocess.Process] = {}
        _demand_free(settings.listen)
        first = listen(settings.listen)
        self._address = Address(settings.listen.host, first.getsockname()[1])
        self._sockets = [first, *(listen(self._address) for _ in range(workers - 1))]

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        with tempfile.TemporaryDirectory(prefix="pointsman-") as folder:
            link = str(Path(folder) / "link.sock")
            keepers = [self._tasks.spawn(self._keep("control", lambda: self._start_control(link)), "control")]
            for index in range(self._workers):
                start = self._worker_starter(index, link)
                keepers.append(self._tasks.spawn(self._keep(f"worker-{index}", start), f"worker-{index}"))
            log(
                "info",
                "listening",
                address=str(self._address),
                admin=str(self._settings.admin),
                workers=self._workers,
            )
            await self._stopping.wait()
            await self._stop()
            await self._tasks.cancel()

    async def _keep(self, name: str, start: StartProcess) -> None:
        """Run `start`'s process, again and again."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = loop.time()
            process = await start()
            self._running[name] = process
            code = await process.wait()
            del self._running[name]
            if self._stopping.is_set():
                return
            if loop.time() - began > STEADY:
                pause = FIRST_PAUSE
            log("error", "process ended", name=name, code=code, restart_in=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _start_control(self, link: str) -> asyncio.subprocess.Process:
        arguments = [
            "-m",
            "control",
            "-c",
            str(self._config),
            "--link",
            link,
            "--workers",
            str(self._workers),
        ]
        return await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, process_group=0
        )

    def _worker_starter(self, index: int, link: str) -> StartProcess:
        async def start() -> asyncio.subprocess.Process:
            self._look_again()
            descriptor = self._sockets[index].fileno()
            boot = Boot(
                index=index,
                socket_fd=descriptor,
                link=link,
                drain=self._settings.drain,
                unit_key=self._unit_key,
                snapshot=boot_snapshot(self._settings),
            )
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.process",
                stdin=asyncio.subprocess.PIPE, pass_fds=(descriptor,), process_group=0,
            )  # fmt: skip
            if process.stdin is not None:
                process.stdin.write(boot.frame())
            return process

        return start

    def _reload(self) -> None:
        """SIGHUP: the control process reads the configuration again."""
        control = self._running.get("control")
        if control is not None:
            control.send_signal(signal.SIGHUP)

    def _look_again(self) -> None:
        """A worker that starts late boots from the file as it is then, or as it last was good."""
        try:
            self._settings = load(self._config)
        except ConfigError as error:
            report("reload", error)

    async def _stop(self) -> None:
        """Workers drain first, so that what they observed still reaches the control process."""
        for listening in self._sockets:
            listening.close()
        workers = [process for name, process in self._running.items() if name != "control"]
        await self._end(workers, self._settings.drain + 5.0)
        await self._end(
            [process for name, process in self._running.items() if name == "control"], CONTROL_GRACE
        )

    async def _end(self, processes: list[asyncio.subprocess.Process], grace: float) -> None:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        waits = [asyncio.wait_for(process.wait(), grace) for process in processes]
        results = await asyncio.gather(*waits, return_exceptions=True)
        for process, result in zip(processes, results, strict=True):
            if isinstance(result, TimeoutError) and process.returncode is None:
                log("error", "process did not end in time and was killed", pid=process.pid)
                process.kill()
                await process.wait()


async def supervise(config: Path, workers: int | None) -> None:
    """Load the configuration and run. Raises ConfigError."""
    settings = load(config)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    await Supervisor(settings, config, workers or settings.workers).run()
