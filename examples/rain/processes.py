"""The demo's child processes: started with a log each, watched, and ended whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GRACE_SECONDS = 15.0
"""More than the gateway takes to drain and to end its own processes."""

TAIL_LINES = 15
TAIL_CHARACTERS = 4000


class DemoError(Exception):
    """The demo cannot go on; the text says why, and the way out where there is one."""


@dataclass(frozen=True, slots=True)
class Child:
    """One running process. `log` holds what it wrote."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])[-TAIL_CHARACTERS:]


class Children:
    """Starts processes and ends them again.

    Each gets a process group of its own, so that Ctrl-C reaches the demo alone, which then ends them in
    order, and a pipe on stdin that nobody writes to: should the demo be killed outright, its end tells them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Child] = []

    async def start(self, name: str, module: str, *arguments: str) -> Child:
        """Run `python -m module arguments` in the demo's folder."""
        log = self._folder / f"{name}.log"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "OMP_NUM_THREADS": "1",  # a thread pool for eight numbers costs more than it brings
            "OPENBLAS_NUM_THREADS": "1",
        }
        with log.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                cwd=self._folder,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._running.append(child)
        return child

    def check(self) -> None:
        """Raises DemoError when a child has ended by itself."""
        for child in self._running:
            if child.process.returncode is not None:
                how = _how(child.process.returncode)
                raise DemoError(f"{child.name} ended with {how}; its log:\n{child.tail()}")

    def last_words(self) -> str:
        """What the child that was started last has written."""
        if not self._running:
            return "nothing was started"
        child = self._running[-1]
        return f"the log of {child.name}:\n{child.tail()}"

    async def end(self) -> None:
        """End all, the last started first: ask, wait, and after a while insist."""
        try:
            for child in reversed(self._running):
                await self._ask(child)
        finally:
            # The groups may hold processes of the children's own, which would otherwise outlive them.
            for child in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGKILL)
        for child in self._running:
            await child.process.wait()
        self._running.clear()

    async def _ask(self, child: Child) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.process.terminate()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await child.process.wait()
        except TimeoutError:
            sys.stderr.write(f"{child.name} did not end within {GRACE_SECONDS:g} s and was killed\n")


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on now, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def demand_free(ports: Sequence[int]) -> None:
    """Raises DemoError for the first of `ports` on 127.0.0.1 that is taken."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise DemoError(
                    f"port {port} is taken ({error.strerror}): end what listens there, or use --once, "
                    "which takes free ports"
                ) from error
