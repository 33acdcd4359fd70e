"""Processes of the supervisor: started here, or handed over by the supervisor before an upgrade."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from gateway.log import log

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
"""Seconds between a process's end and its next start; doubled while it ends soon after its start."""
STEADY = 5.0
"""Seconds a process must have run for its next pause to be the first again."""


class Heir(msgspec.Struct, frozen=True):
    """A child as one supervisor tells the next about it."""

    pid: int
    orders: int
    number: int


class Child:
    """A process whose standard input is our pipe `orders`: its end tells it to end.

    `code` is the exit status, negative for a signal; None while it runs.
    """

    def __init__(self, pid: int, orders: int, number: int = 0) -> None:
        self.pid = pid
        self.orders = orders
        self.number = number
        self.code: int | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._order = asyncio.Lock()
        threading.Thread(target=self._reap, name=f"wait for {pid}", daemon=True).start()

    def __repr__(self) -> str:
        return f"<Child {self.pid} number={self.number} code={self.code}>"

    def _reap(self) -> None:
        try:
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:  # reaped elsewhere: it has ended
            code = -1
        self._loop.call_soon_threadsafe(self._end, code)

    def _end(self, code: int) -> None:
        self.code = code
        self._ended.set()
        self.let_go()

    async def wait(self) -> int:
        """Until it has ended; its exit status."""
        await self._ended.wait()
        return self.code or 0

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.code is None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, number)

    def heir(self) -> Heir | None:
        """This process for the next supervisor; None when it is about to end."""
        return Heir(self.pid, self.orders, self.number) if self.orders >= 0 else None

    def let_go(self) -> None:
        """End its standard input."""
        if self.orders >= 0:
            os.close(self.orders)
            self.orders = -1

    async def tell(self, frame: bytes) -> None:
        """Write to its standard input; what a child that has ended is told is lost with it."""
        async with self._order:
            if self.orders >= 0:
                try:
                    await asyncio.to_thread(_write, self.orders, frame)
                except OSError as error:
                    log("error", "a process did not take its orders", pid=self.pid, reason=str(error))


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def start(arguments: Sequence[str], *, number: int = 0, pass_fds: Sequence[int] = ()) -> Child:
    """Start `python` with these arguments, in a process group of its own."""
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, *arguments], stdin=reading, pass_fds=pass_fds, process_group=0
        )
    except OSError:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    child = Child(process.pid, writing, number)
    process.returncode = 0  # the child is waited for by Child, not by Popen
    return child


READY = b"1"
LEAVING = b"0"
"""What a worker says of itself."""


class News:
    """A pipe through which a process says how it is doing, a byte at a time. `writing` is its end."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._readable = asyncio.Event()

    def begin(self) -> None:
        """The process has its end: close ours, and listen."""
        os.close(self.writing)
        asyncio.get_running_loop().add_reader(self._reading, self._readable.set)

    async def next(self) -> bytes:
        """The next byte; empty when the process has ended, and then the pipe is closed."""
        while self._reading >= 0:
            await self._readable.wait()
            self._readable.clear()
            try:
                said = os.read(self._reading, 1)
            except BlockingIOError:  # it was readable before the last read
                continue
            if not said:
                self.close()
            return said
        return b""

    def close(self) -> None:
        """Listen no more."""
        if self._reading >= 0:
            asyncio.get_running_loop().remove_reader(self._reading)
            os.close(self._reading)
            self._reading = -1


class Rhythm:
    """When a process that ended is started again."""

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE
        self._began = 0.0

    def begun(self) -> None:
        self._began = asyncio.get_running_loop().time()

    async def rest(self, name: str, code: int) -> None:
        """Wait before the next start; longer each time that the process failed soon."""
        if code == 0 or asyncio.get_running_loop().time() - self._began > STEADY:
            self._pause = FIRST_PAUSE
        log("error", "process ended", name=name, code=code, restart_in=self._pause)
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


async def end(processes: Iterable[Child], grace: float) -> None:
    """Ask them to end, and after `grace` seconds kill them."""
    waited_for = list(processes)
    for process in waited_for:
        process.let_go()
        process.signal(signal.SIGTERM)
    waits = [asyncio.wait_for(process.wait(), grace) for process in waited_for]
    results = await asyncio.gather(*waits, return_exceptions=True)
    for process, result in zip(waited_for, results, strict=True):
        if isinstance(result, TimeoutError):
            log("error", "process did not end in time and was killed", pid=process.pid)
            process.signal(signal.SIGKILL)
            await process.wait()
