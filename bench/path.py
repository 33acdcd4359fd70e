"""Scenario `path`: what the gateway's own code costs a request, without sockets and without the kernel.

`python -m bench.path [--mirror] [--profile]` measures one worker inside this process: sixteen clients send
varied requests, two model servers that are not there answer at once, and the control process, which is not
there either, acknowledges each batch of pairs. The figure is the lowest of many short stretches of CPU time:
what a busy machine adds, it adds to the others. It holds no system call, so it says little of what the
gateway costs in all (see `forward`), and very steadily what a change of its code has brought.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from bench.bed import ACCELERATED, PURE, accelerator_is_built
from bench.in_memory import MemoryLoop, MemoryTransport
from bench.pointsman import FLAG, flags
from bench.process import ROOT, BenchError, cores
from bench.report import Section, microseconds
from bench.traffic import PATH, answer, requests
from domain.routing import FULL_WEIGHT, Mode, Upstream, Version
from domain.snapshot import Endpoint, ShadowLimits, Snapshot, UnitKind, UnitSource
from gateway.boot import Boot
from gateway.client import ClientConnection
from gateway.plain import Plain
from gateway.worker import Worker
from shadow.wire import Acknowledged, Batch, FrameBuffer, decode_from_worker, frame

CLIENTS = 16
ROUNDS = 4
"""Requests of each client in one stretch; its end hands over the pairs, as three milliseconds of load do."""
STRETCH = CLIENTS * ROUNDS
WARM_UP = 100
DIFFERENT_STRETCHES = 300
"""After so many, requests come again."""
ANSWER_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n"
)
(YARDSTICK,) = requests(1)
AS_A_WORKER = (
    "import runpy; from gateway import accelerator; accelerator.install(); "
    "runpy.run_module('bench.path', run_name='__main__', alter_sys=True)"
)
"""A worker asks for compiled code before it imports anything, so this does too."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds a request of the gateway's code: the lowest stretch, and the median one.

    `yardsticks`: the median of what a stretch took over what `yardstick` took before and after it.
    """

    lowest: float
    median: float
    yardsticks: float
    stretches: int


def yardstick() -> float:
    """CPU seconds of a fixed piece of Python like a gateway's, to divide by: machines change their pace.

    It splits a request's head into a dict and writes it anew, fifteen times.
    """
    before = time.thread_time_ns()
    for _ in range(15):
        head = YARDSTICK.partition(b"\r\n\r\n")[0]
        fields = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        b"".join([b"%b: %b\r\n" % field for field in fields.items() if field[0] != b"host"])
    return (time.thread_time_ns() - before) / 1e9


def snapshot(*, mirror: bool) -> Snapshot:
    """As the scenarios `forward` (a flag for half of the users, 10 % canary) and `mirror` configure it."""
    endpoint = Endpoint(
        name="bench",
        path=PATH,
        incumbent=Version("bench-1", (Upstream("127.0.0.1", 1),)),
        candidate=Version("bench-2", (Upstream("127.0.0.1", 2),)),
        unit=UnitSource(UnitKind.HEADER, "x-user-id"),
        flag=FLAG,
        mode=Mode.SHADOW if mirror else Mode.CANARY,
        weight=0 if mirror else 1000,
        release="bench:bench-2",
        tripped=False,
        shadow=ShadowLimits(share=FULL_WEIGHT if mirror else 0),
    )
    return Snapshot(1, (endpoint,), flags=json.dumps(flags(100 if mirror else 50)).encode())


class Rig:
    """A worker, its clients, and the far ends that are not there."""

    def __init__(self, loop: MemoryLoop, worker: Worker, made: Sequence[bytes]) -> None:
        self._loop = loop
        self._worker = worker
        self._clients: list[ClientConnection] = []
        self._transports: list[MemoryTransport] = []
        self._frames = FrameBuffer()
        self._unacknowledged: list[bytes] = []
        self._requests = made
        self._next = 0
        content = answer("bench-1", 0.83)
        self._answer = ANSWER_HEAD % len(content) + content
        self.sent = 0
        self.pairs = 0

    async def connect(self) -> None:
        """Sixteen clients, their first requests answered, the link greeted."""
        for _ in range(CLIENTS):
            client = ClientConnection(self._worker)
            transport = MemoryTransport(cast("asyncio.Protocol", client))
            client.connection_made(transport)
            self._clients.append(client)
            self._transports.append(transport)
        for _ in range(WARM_UP):
            for client, request in zip(self._clients, self._requests, strict=False):
                client.data_received(request)
            while any(not transport.written for transport in self._transports):
                await asyncio.sleep(0)
                self._deliver()
            await self._settle()
            self._check(CLIENTS)
            self._acknowledge()

    async def _settle(self) -> None:
        """Until nobody awaits an answer and every finished pair is on the link."""
        await asyncio.sleep(0.005)
        while self._loop.asked:
            self._deliver()
            await asyncio.sleep(0.005)

    def _deliver(self) -> None:
        asked, reply = self._loop.asked, self._answer
        while asked:
            asked.popleft().data_received(reply)

    def _acknowledge(self) -> None:
        link: Any = self._loop.links[-1].protocol
        for acknowledgement in self._unacknowledged:
            link.data_received(acknowledgement)
        self._unacknowledged.clear()

    def stretch(self) -> None:
        """STRETCH requests, from their bytes to their answers' and to the batch of their pairs."""
        run_held = self._loop.run_held
        at = self._next
        self._acknowledge()
        for _ in range(ROUNDS):
            for client in self._clients:
                client.data_received(self._requests[at])
                at += 1
            run_held()
            self._deliver()
            run_held()
            self._deliver()
            run_held()
        run_held(timers=True)
        self._next = at % len(self._requests)

    async def measured(self, cpu: cProfile.Profile | None = None) -> float:
        """CPU seconds a request of one stretch, which is checked afterwards."""
        # As a callback, not within this task: while one task runs, no other can be started or gone on with.
        done: asyncio.Future[float] = self._loop.create_future()
        self._loop.call_soon(self._timed, done, cpu)
        used = await done
        self._check(STRETCH)
        return used / STRETCH

    def _timed(self, done: asyncio.Future[float], cpu: cProfile.Profile | None) -> None:
        self._loop.held = True
        if cpu is not None:
            cpu.enable()
        before = time.thread_time_ns()
        used: int | None = None
        try:
            self.stretch()
            used = time.thread_time_ns() - before
        finally:
            if cpu is not None:
                cpu.disable()
            # First: what waits for `done` is told by the loop.
            self._loop.held = False
            if used is None:
                done.cancel("the stretch failed; the loop tells why")
            else:
                done.set_result(used / 1e9)

    def _check(self, count: int) -> None:
        answers = b"".join(transport.take() for transport in self._transports)
        if (found := answers.count(b"HTTP/1.1 200 OK\r\n")) != count:
            raise BenchError(f"{found} of {count} requests were answered with 200: {answers[:300]!r}")
        self.sent += count
        for payload in self._frames.feed(self._loop.links[-1].take()):
            message = decode_from_worker(payload)
            if isinstance(message, Batch):
                self.pairs += len(message.pairs)
                self._unacknowledged.append(frame(Acknowledged(message.session, message.sequence)))

    def check_pairs(self, *, mirror: bool) -> None:
        """That every mirrored request came out as a pair, and no other did."""
        if self.pairs != (self.sent if mirror else 0):
            raise BenchError(f"of {self.sent} requests {self.pairs} came out as pairs")


async def measure(stretches: int, *, mirror: bool, cpu: cProfile.Profile | None = None) -> Cost:
    """The cost, over so many stretches; the loop must be a MemoryLoop."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, MemoryLoop):
        raise TypeError(f"a MemoryLoop is needed, not {loop!r}")
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    boot = Boot(
        index=0,
        socket_fd=listening.fileno(),
        link="",
        drain=1.0,
        unit_key=b"k" * 32,
        snapshot=snapshot(mirror=mirror),
    )
    worker = Worker(boot, loop, Plain(loop, accelerated=False))
    await worker.start(listening)
    rig = Rig(loop, worker, requests(STRETCH * min(stretches, DIFFERENT_STRETCHES)))
    await rig.connect()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as gateway.process sets it
    costs, rods = [], [yardstick()]
    for _ in range(stretches):
        costs.append(await rig.measured(cpu))
        rods.append(yardstick())
    ratios = [2 * cost / (before + after) for cost, before, after in zip(costs, rods, rods[1:], strict=False)]
    rig.check_pairs(mirror=mirror)
    await worker.stop()
    return Cost(min(costs), statistics.median(costs), statistics.median(ratios), stretches)


def here(stretches: int, *, mirror: bool, cpu: cProfile.Profile | None = None) -> Cost:
    """As `measure`, in a loop of its own."""
    with asyncio.Runner(loop_factory=MemoryLoop) as runner:
        return runner.run(measure(stretches, mirror=mirror, cpu=cpu))


def elsewhere(stretches: int, *, mirror: bool, accelerated: bool, core: int) -> Cost:
    """As `measure`, in a process of its own on `core`, with the accelerator or without."""
    command = ["taskset", "-c", str(core), sys.executable, "-c", AS_A_WORKER, "--stretches", str(stretches)]
    command += ["--mirror"] if mirror else []
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | ({} if accelerated else {"POINTSMAN_ACCELERATOR": "off"}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"python -m bench.path ended with code {done.returncode}: {done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout))


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The scenario: each variant of the gateway forwarding and mirroring, by turns."""
    turns, stretches = (3, 300) if quick else (5, 1000)
    core, _ = cores()
    variants = {PURE: False} | ({ACCELERATED: True} if accelerator_is_built() else {})
    kinds = {"forwarding": False, "mirroring 100 %": True}
    made: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(turns):
        for name, accelerated in variants.items():
            for kind, mirror in kinds.items():
                cost = elsewhere(stretches, mirror=mirror, accelerated=accelerated, core=core)
                made.setdefault((name, kind), []).append(cost)
    return Section(
        name="path",
        title="The gateway's own code, without sockets and without the kernel",
        columns=("", "lowest µs/request", "median µs/request", "yardsticks/request"),
        rows=tuple(
            (
                f"{name}, {kind}",
                microseconds(min(cost.lowest for cost in costs)),
                microseconds(statistics.median(cost.median for cost in costs)),
                f"{statistics.median(cost.yardsticks for cost in costs):.3f}",
            )
            for (name, kind), costs in made.items()
        ),
        remarks=(f"{turns} processes of {stretches} stretches of {STRETCH} requests each",),
        raw={f"{name}, {kind}": [asdict(cost) for cost in costs] for (name, kind), costs in made.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="what the gateway's own code costs a request")
    parser.add_argument("--mirror", action="store_true", help="every request is mirrored")
    parser.add_argument("--stretches", type=int, default=500, help=f"of {STRETCH} requests each")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, by function")
    asked = parser.parse_args()
    if asked.profile:
        profile = cProfile.Profile()
        here(asked.stretches, mirror=asked.mirror, cpu=profile)
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    else:
        print(json.dumps(asdict(here(asked.stretches, mirror=asked.mirror))))


if __name__ == "__main__":
    main()
