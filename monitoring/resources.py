"""What processes and the machine use, as Linux tells it in /proc; nothing on systems without one.

A process is read by its id, from outside: the data plane's workers are measured by the control process and
spend nothing on it. What may not be read is None, never 0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM, _THREADS, _RESIDENT = 11, 12, 17, 21
"""Places in /proc/PID/stat behind the name of the program, see proc(5)."""
_CPU_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class ProcessUse(NamedTuple):
    """`cpu` in seconds since its start, `resident` in bytes; open descriptors and their limit."""

    cpu: float
    resident: int
    threads: int
    descriptors: int | None
    most_descriptors: int | None


class HostUse(NamedTuple):
    """`cpu`: seconds of all processors by state, since the start of the machine; memory in bytes."""

    cpu: dict[str, float]
    memory: int
    available: int
    load: tuple[float, float, float]


class DiskUse(NamedTuple):
    """Bytes of a file system, and those that are free for this user."""

    size: int
    free: int


def process(pid: int, proc: Path = _PROC) -> ProcessUse | None:
    """What the process `pid` uses; None when there is none, or no /proc."""
    folder = proc / str(pid)
    try:
        # The name of the program stands in brackets and may hold anything.
        fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        cpu = (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS
        resident, threads = int(fields[_RESIDENT]) * _PAGE, int(fields[_THREADS])
    except (OSError, ValueError, IndexError):
        return None
    return ProcessUse(cpu, resident, threads, _descriptors(folder), _most_descriptors(folder))


def host(proc: Path = _PROC) -> HostUse | None:
    """What the machine uses; None without /proc."""
    try:
        _, *ticks = (proc / "stat").read_text().split("\n", 1)[0].split()
        load = (proc / "loadavg").read_text().split()
        rows = (line.partition(":") for line in (proc / "meminfo").read_text().splitlines())
        memory = {name: int(value.split()[0]) * 1024 for name, _, value in rows}
        cpu = {state: int(count) / _TICKS for state, count in zip(_CPU_STATES, ticks, strict=False)}
        return HostUse(
            cpu,
            memory["MemTotal"],
            memory["MemAvailable"],
            (float(load[0]), float(load[1]), float(load[2])),
        )
    except (OSError, ValueError, IndexError, KeyError):
        return None


def disk(folder: Path) -> DiskUse | None:
    """The file system of `folder`, or of the nearest folder above it that is there; None if unknown."""
    for place in (folder, *folder.parents):
        try:
            found = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return DiskUse(found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail)
    return None


def _descriptors(folder: Path) -> int | None:
    try:
        # Since Linux 6.2 the size of the folder is the number; listing it takes long where there are many.
        return os.stat(folder / "fd").st_size or len(os.listdir(folder / "fd"))
    except OSError:  # another user's
        return None


def _most_descriptors(folder: Path) -> int | None:
    try:
        lines = (folder / "limits").read_text().splitlines()
        (line,) = (one for one in lines if one.startswith("Max open files"))
        return int(line.split()[3])
    except (OSError, ValueError, IndexError):  # no such line, or "unlimited"
        return None
