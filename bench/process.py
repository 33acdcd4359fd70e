"""Child processes to measure: pinned to a core, never left behind, their CPU time read from /proc."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
ROOT = Path(__file__).resolve().parent.parent


class BenchError(Exception):
    """A benchmark could not be run; the message says what is missing and the way out."""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on at this moment, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def cores() -> tuple[int, int]:
    """(core of what is measured, core of load and model servers); the same one when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def parse_stat(text: str) -> tuple[int, int]:
    """(parent's pid, CPU ticks in user and kernel mode) out of `/proc/PID/stat`, proc(5).

    The command's name may hold spaces and brackets, so fields are counted from the last closing bracket.
    """
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), int(fields[11]) + int(fields[12])


def cpu_seconds(pid: int) -> float:
    """CPU time that `pid` has used so far, all its threads, to 1/TICKS of a second."""
    return parse_stat(Path(f"/proc/{pid}/stat").read_text())[1] / TICKS


def resident_bytes(pid: int) -> int:
    """Memory of `pid` that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def children(parent: int) -> list[int]:
    """The pids whose parent is `parent`, lowest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        # A process may end between the listing and the reading.
        with contextlib.suppress(OSError):
            if parse_stat((entry / "stat").read_text())[0] == parent:
                found.append(int(entry.name))
    return sorted(found)


def command_line(pid: int) -> list[str]:
    """The arguments `pid` was started with; empty when it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    return []


def pin(pid: int, core: int) -> None:
    """Move every thread of `pid` to `core`."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


class Child:
    """One started program with everything it starts: a context manager that ends them all.

    It leads its own process group, which is ended as a whole, and the kernel tells it when this process dies,
    so that not even a SIGKILL leaves it running.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        core: int | None = None,
        commands: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        prefix: list[str] = []
        if shutil.which("setpriv"):
            prefix += ["setpriv", "--pdeathsig", "TERM"]
        if core is not None:
            prefix += ["taskset", "-c", str(core)]
        self.log = log
        self.name = " ".join(command[:4])
        pipe = subprocess.PIPE if commands else None
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [*prefix, *command],
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def give_way(self) -> None:
        """Let everything else on the same core go first.

        Linux groups processes by session (sched(7), autogroup) and ignores a process's own priority between
        such groups; this one leads its own session, so it is the group's priority that counts.
        """
        os.setpriority(os.PRIO_PROCESS, self.pid, 19)
        group = Path(f"/proc/{self.pid}/autogroup")
        if group.exists():
            group.write_text("19")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def stop(self, patience: float = 5.0) -> None:
        """End the group: politely, then by force after `patience` seconds."""
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def command(self, line: str) -> str:
        """Write one line to the child and wait for the line it answers with."""
        if self.popen.stdin is None or self.popen.stdout is None:
            raise BenchError(f"{self.name} takes no commands")
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()
        return self.popen.stdout.readline().decode().strip()

    def wait_port(self, port: int, patience: float = 15.0) -> None:
        """Until something accepts on the loopback `port`; BenchError with the log's end if nothing does."""
        for _ in ticks(patience):
            if self.popen.poll() is not None:
                raise BenchError(f"{self.name} ended with code {self.popen.returncode}: {self.tail()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
        raise BenchError(f"{self.name} does not listen on port {port} after {patience:g} s: {self.tail()}")

    def tail(self) -> str:
        """The end of what the child printed."""
        return self.log.read_text(errors="replace")[-2000:] or "it printed nothing"


def ticks(patience: float, pause: float = 0.05) -> Iterator[None]:
    """Yield every `pause` seconds until `patience` seconds are over."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        yield
        time.sleep(pause)
