"""The memory gate: the candidate's peak of resident memory, while it answers requests.

Three places to read it from: `process_resident_memory_bytes` of the server's own Prometheus metrics, sampled
while requests are sent (several series, one a process, are summed); the peak that Linux keeps of a process
(`VmHWM`, with its children's own) or of a control group (`memory.peak`, of version 1
`memory.max_usage_in_bytes`). The latter two miss no peak between two samples.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

from domain.errors import GateError
from domain.verdict import Verdict
from gates import load
from gates.checks.evaluation import example_requests
from gates.checks.latency import MOST_REQUESTS, sender
from gates.gate import GateContext
from gates.result import Judgement
from gates.server import ModelServer
from gates.together import together
from settings.criteria import MemoryGate

PERIOD = 0.25
"""Seconds between two samples."""

RATE = 20.0
"""Requests a second where the latency gate names no rate."""

RESIDENT = "process_resident_memory_bytes"

_SAMPLE = re.compile(rf"^{RESIDENT}(?:\{{[^}}]*\}})?\s+(\S+)", re.MULTILINE)
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_PROC = Path("/proc")
_MIB = 1024 * 1024


class Memory:
    """Peak resident memory against a limit."""

    name = "memory"

    def __init__(self, settings: MemoryGate) -> None:
        self._settings = settings

    async def run(self, context: GateContext) -> Judgement:
        """See `gates.gate.Gate`."""
        settings, candidate = self._settings, context.candidate
        await self._read(candidate)  # says at once that it cannot be read
        requests = await example_requests(context, MOST_REQUESTS)
        latency = context.endpoint.gates.latency
        rate = RATE if latency is None else latency.rps
        seen = load.Measured()
        samples: list[int] = []
        over = asyncio.Event()
        senders = [sender(candidate, requests)] if requests else []
        await together((self._load(senders, rate, seen, over), self._sample(candidate, samples, over)))
        sent, failed, peak = len(seen.latencies), seen.failed, max(samples)
        if sent and failed == sent:
            raise GateError(
                f"none of {sent} requests was answered: this is the memory of a server that is down"
            )
        if peak <= 0:
            raise GateError("the peak reads 0 bytes, which no running server has: nothing was measured")
        numbers = {"peak": float(peak), "limit": float(settings.most), "samples": float(len(samples)),
                   "requests": float(sent)}  # fmt: skip
        under = f"under {sent} requests at {rate:g}/s" if sent else "at rest: there were no requests to send"
        shown = f"peak of {peak / _MIB:.1f} MiB {under}, limit {settings.most / _MIB:.1f} MiB"
        return Judgement(Verdict.PASS if peak <= settings.most else Verdict.FAIL, shown, numbers)

    async def _load(
        self, senders: Sequence[load.Send], rate: float, seen: load.Measured, over: asyncio.Event
    ) -> None:
        try:
            done = await load.run(senders, rate, self._settings.lasts)
        finally:
            over.set()
        for one in done.measured:
            seen.latencies += one.latencies
            seen.failed += one.failed

    async def _sample(self, candidate: ModelServer, samples: list[int], over: asyncio.Event) -> None:
        samples.append(await self._read(candidate))
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), PERIOD)
            samples.append(await self._read(candidate))

    async def _read(self, server: ModelServer) -> int:
        """Bytes, now or at the peak so far. Raises GateError."""
        settings = self._settings
        if settings.cgroup is not None:
            return _of_cgroup(Path(settings.cgroup))
        if settings.pid is not None:
            return _of_process(settings.pid)
        found = _SAMPLE.findall(await server.text(settings.metrics))
        if not found:
            raise GateError(f"{settings.metrics} of {server} has no {RESIDENT}: name its pid or cgroup")
        total = sum(map(_number, found))
        if not 0.0 <= total < math.inf:
            raise GateError(f"{settings.metrics} of {server} says that {RESIDENT} is {total}")
        return int(total)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _of_process(pid: int) -> int:
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError as error:
        raise GateError(f"the memory of process {pid} cannot be read: {error.strerror}") from error
    found = _PEAK.search(status)
    if found is None:
        raise GateError(f"process {pid} has no memory: it has ended, or it is a thread of the kernel")
    return int(found[1]) * 1024 + sum(map(_of_process, _children(pid)))


def _children(pid: int) -> list[int]:
    try:
        tasks = (_PROC / str(pid) / "task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]
    except OSError:
        return []  # one of its threads has just ended


def _of_cgroup(path: Path) -> int:
    for name in ("memory.peak", "memory.max_usage_in_bytes"):
        try:
            return int((path / name).read_text())
        except (OSError, ValueError):
            continue
    raise GateError(f"{path} has neither memory.peak nor memory.max_usage_in_bytes: is it a control group?")
