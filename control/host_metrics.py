"""What the gateway's processes and their machine use, and how late their event loops are.

The control process looks at everything every few seconds, in a thread: a disk that does not answer makes the
figures old and holds nobody up. Names and labels: docs/metrics.md.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.clock import Clock
from control.metrics import histogram
from control.switchboard import Switchboard
from control.tallies import Histogram, Histograms
from monitoring import resources
from monitoring.resources import DiskUse, HostUse, ProcessUse
from settings.schema import Settings
from shadow.wire import LAG_BOUNDS

PERIOD = 2.0
"""Seconds between two looks."""
PULSE = 0.1
"""Seconds between two measurements of this process's own event loop."""
CONTROL = "control"

_SQLITE = "sqlite:///"


class Seen(NamedTuple):
    """One look. Processes by what they are, disks by what they hold."""

    processes: dict[str, ProcessUse]
    host: HostUse | None
    disks: dict[str, DiskUse]


NOTHING = Seen({}, None, {})


class HostMetrics(Collector):
    """Without samples where there is no /proc, and before the first look."""

    def __init__(self, board: Switchboard, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._seen = NOTHING
        self._lag = Histogram(LAG_BOUNDS)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Look once."""
        processes = {CONTROL: os.getpid()}
        processes |= {_worker(worker.number): worker.pid for worker in self._board.link.workers}
        folders = folders_of(self._board.settings)
        self._seen = await asyncio.to_thread(_look, processes, folders)

    async def pulse(self) -> None:
        """Measure for ever how late this event loop is."""
        while True:
            due = self._clock.monotonic() + PULSE
            await asyncio.sleep(PULSE)
            self._lag.add(max(0.0, self._clock.monotonic() - due))

    def collect(self) -> Iterator[Metric]:
        """Every metric, as of the last look."""
        yield from self._processes()
        yield self._lags()
        yield from self._links()
        yield from self._host()
        yield from self._disks()

    def _processes(self) -> Iterator[Metric]:
        cpu = _counter("process_cpu_seconds", "Processor time used.", "process")
        resident = _gauge("process_resident_bytes", "Memory in use.", "process")
        threads = _gauge("process_threads", "Threads.", "process")
        descriptors = _gauge("process_open_descriptors", "Open file descriptors.", "process")
        most = _gauge("process_most_descriptors", "File descriptors that may be open.", "process")
        for name, use in self._seen.processes.items():
            cpu.add_metric((name,), use.cpu)
            resident.add_metric((name,), use.resident)
            threads.add_metric((name,), use.threads)
            if use.descriptors is not None:
                descriptors.add_metric((name,), use.descriptors)
            if use.most_descriptors is not None:
                most.add_metric((name,), use.most_descriptors)
        yield from (cpu, resident, threads, descriptors, most)

    def _lags(self) -> Metric:
        lags = Histograms(LAG_BOUNDS)
        lags.by_labels[CONTROL,] = self._lag
        for worker in self._board.link.workers:
            lag = self._board.tallies.lags.get(worker.session)
            if lag is not None:
                lags.by_labels[_worker(worker.number),] = lag
        return histogram("event_loop_lag_seconds", "How late the event loop is.", ("process",), lags)

    def _links(self) -> Iterator[Metric]:
        pairs = _gauge("link_backlog_pairs", "Pairs that a worker has not sent yet.", "worker")
        size = _gauge("link_backlog_bytes", "Bytes of them.", "worker")
        batches = _gauge("link_backlog_batches", "Batches sent and not acknowledged.", "worker")
        unread = _gauge("link_unread_bytes", "Bytes that a worker has not read yet.", "worker")
        age = _gauge("snapshot_age_seconds", "Since a worker took its snapshot.", "worker")
        for worker in self._board.link.workers:
            labels = (str(worker.number),)
            vitals = self._board.tallies.vitals.get(worker.session)
            if vitals is not None:
                pairs.add_metric(labels, vitals.pairs)
                size.add_metric(labels, vitals.bytes)
                batches.add_metric(labels, vitals.batches)
            if not worker.transport.is_closing():
                unread.add_metric(labels, worker.transport.get_write_buffer_size())
            if worker.applied_at:
                age.add_metric(labels, self._clock.monotonic() - worker.applied_at)
        yield from (pairs, size, batches, unread, age)

    def _host(self) -> Iterator[Metric]:
        cpu = _counter("host_cpu_seconds", "Time of all processors by state.", "state")
        memory = _gauge("host_memory_bytes", "Memory of the machine.", "kind")
        load = _gauge("host_load", "Processes that run or wait to.", "minutes")
        if (host := self._seen.host) is not None:
            for state, seconds in host.cpu.items():
                cpu.add_metric((state,), seconds)
            memory.add_metric(("total",), host.memory)
            memory.add_metric(("available",), host.available)
            for minutes, value in zip(("1", "5", "15"), host.load, strict=True):
                load.add_metric((minutes,), value)
        yield from (cpu, memory, load)

    def _disks(self) -> Iterator[Metric]:
        size = _gauge("disk_size_bytes", "Size of the file system.", "holds")
        free = _gauge("disk_free_bytes", "Free for the gateway's user.", "holds")
        for holds, disk in self._seen.disks.items():
            size.add_metric((holds,), disk.size)
            free.add_metric((holds,), disk.free)
        yield from (size, free)


def folders_of(settings: Settings) -> dict[str, Path]:
    """Where the gateway writes, by what it writes; what is kept elsewhere is not there."""
    folders = {"audit": Path(settings.audit.heads).parent, "predictions": Path(settings.log.path)}
    if settings.database.startswith(_SQLITE):
        folders["database"] = Path(settings.database.removeprefix(_SQLITE)).parent
    return {holds: folder.absolute() for holds, folder in folders.items()}


def _look(processes: dict[str, int], folders: dict[str, Path]) -> Seen:
    uses = {name: resources.process(pid) for name, pid in processes.items()}
    disks = {holds: resources.disk(folder) for holds, folder in folders.items()}
    return Seen(
        {name: use for name, use in uses.items() if use is not None},
        resources.host(),
        {holds: disk for holds, disk in disks.items() if disk is not None},
    )


def _worker(number: int) -> str:
    return f"worker-{number}"


def _gauge(name: str, text: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pointsman_{name}", text, labels=(label,))


def _counter(name: str, text: str, label: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"pointsman_{name}", text, labels=(label,))
