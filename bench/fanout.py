"""How long a kill at one replica takes until no replica starts an exchange on the candidate any more.

Four whole gateways share one Redis. Clients keep asking all of them; the candidate notes when each exchange
started. Again and again a kill is posted to one gateway; what counts is the time from the kill (as it dates
itself) to the last start of an exchange that the candidate saw, mirrors included. All processes share one
clock.

Where the time goes is told by marks that the processes leave at each step (`bench.tracing`), and by the CPU
time that each kind of process uses. Milliseconds depend on what else the machine does; CPU time hardly does.

    python -m bench.fanout [--replicas 4] [--rounds 30] [--pause 0.01]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.openloop import percentile
from bench.process import cpu_seconds
from bench.steps import Kill, marks, steps, table
from tests.support.processes import Clients, Gateway
from tests.support.redis_server import RedisServer

CLIENTS = 2
PAUSE = 0.01
SETTLED = 0.4
"""Seconds after a kill in which a late exchange would still be seen."""

TRACING = Path(__file__).parent / "tracing"


class Candidate:
    """A model server that notes when each of its exchanges began, by whether a client gets the answer."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.port = 0

    async def __aenter__(self) -> Candidate:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.starts.append(time.time())
                fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n") if b":" in line)
                await reader.readexactly(int(fields.get(b"content-length", 0)))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@dataclass(frozen=True, slots=True)
class Found:
    """Of one run.

    Attributes:
        seconds: from each kill to the last exchange that began on the candidate anywhere, 0 when none did.
        kills: the steps of each kill; `control_of` gives each worker's control process.
        cpu: CPU seconds a second, by kind of process, of all replicas together.
        answers: that clients got a second.
        heard: kills elsewhere, by the bound of `pointsman_fanout_seconds`, as the replicas measure it.
    """

    seconds: list[float]
    kills: list[Kill]
    control_of: dict[int, int]
    cpu: dict[str, float]
    answers: float
    heard: dict[str, int]


async def measure(replicas: int, rounds: int, pause: float = PAUSE) -> Found:
    """So many kills, one after another at each replica in turn."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trace = folder / "trace"
        stack.enter_context(_traced(trace))
        server = await stack.enter_async_context(RedisServer())
        incumbent = await stack.enter_async_context(Candidate())
        candidate = await stack.enter_async_context(Candidate())
        gateways = []
        for number in range(replicas):
            home = folder / str(number)
            home.mkdir()
            gateway = Gateway(
                home, incumbent.port, candidate.port,
                plan=[{"mode": "canary", "weight": "100%"}], guards={"flips": {"rate": "1%"}},
            )  # fmt: skip
            gateway.document["state"]["redis"] = server.url
            gateways.append(await stack.enter_async_context(gateway))
        clients = [
            await stack.enter_async_context(Clients(gateway.port, CLIENTS, pause)) for gateway in gateways
        ]
        pids = {
            "bench": [os.getpid()],
            "redis": [server.pid],
            "control": [pid for one in gateways for pid in one.children("control")],
            "worker": [pid for one in gateways for pid in one.children("gateway.process")],
        }
        began, used = time.monotonic(), _used(pids)
        answers = sum(one.answers for one in clients)
        seconds, kills = [], []
        for number in range(rounds):
            await _serving(candidate)
            killing = gateways[number % replicas]
            posted = time.monotonic_ns()
            await asyncio.gather(_kill(killing), asyncio.sleep(SETTLED))
            (kill,) = (await killing.view())["switch"]["kills"]
            at = datetime.fromisoformat(kill["at"]).timestamp()
            last = max((start for start in candidate.starts if start > at), default=at)
            seconds.append(last - at)
            kills.append((posted, time.monotonic_ns(), last))
            candidate.starts.clear()
            incumbent.starts.clear()
            await _rearm(gateways[(number + 1) % replicas])
            for gateway in gateways:
                while (await gateway.view())["switch"]["tripped"]:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.01)
        elapsed = time.monotonic() - began
        return Found(
            seconds,
            marks(trace.read_text(), kills),
            {
                worker: one.children("control")[0]
                for one in gateways
                for worker in one.children("gateway.process")
            },
            {kind: (after - used[kind]) / elapsed for kind, after in _used(pids).items()},
            (sum(one.answers for one in clients) - answers) / elapsed,
            await _heard(gateways),
        )


@contextmanager
def _traced(trace: Path) -> Iterator[None]:
    """Processes that are started meanwhile mark their steps in `trace`."""
    before = {name: os.environ.get(name) for name in ("POINTSMAN_TRACE", "PYTHONPATH")}
    os.environ |= {"POINTSMAN_TRACE": str(trace), "PYTHONPATH": str(TRACING)}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _used(pids: Mapping[str, Sequence[int]]) -> dict[str, float]:
    return {kind: sum(map(cpu_seconds, ids)) for kind, ids in pids.items()}


async def _heard(gateways: Sequence[Gateway]) -> dict[str, int]:
    """What the gateways say themselves: from a kill elsewhere to the last confirmation of a worker."""
    upto: Counter[str] = Counter()
    for gateway in gateways:
        for line in (await gateway.admin.get("/metrics")).text.splitlines():
            if line.startswith("pointsman_fanout_seconds_bucket"):
                bound, count = line.split('le="')[1].split('"} ')
                upto[bound] += int(float(count))
    return dict(upto)


async def _serving(candidate: Candidate) -> None:
    seen = len(candidate.starts)
    while len(candidate.starts) < seen + 50:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.005)


async def _kill(gateway: Gateway) -> None:
    (await gateway.admin.post("/api/v1/endpoints/rain/kill", json={"reason": "bench"})).raise_for_status()


async def _rearm(gateway: Gateway) -> None:
    while True:
        answer = await gateway.admin.post("/api/v1/endpoints/rain/rearm", json={"reason": "bench"})
        if answer.status_code == 200:
            return
        await asyncio.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds between a client's requests")
    given = parser.parse_args()
    found = asyncio.run(measure(given.replicas, given.rounds, given.pause))
    print(table(steps(found.kills, found.control_of)))
    print(
        json.dumps(
            {
                "scenario": "fan-out of a kill", "replicas": given.replicas, "rounds": given.rounds,
                "load": os.getloadavg()[0],
                "median_ms": round(statistics.median(found.seconds) * 1000, 2),
                "p99_ms": round(percentile(found.seconds, 0.99) * 1000, 2),
                "worst_ms": round(max(found.seconds) * 1000, 2),
                "answers_a_second": round(found.answers),
                "cpu_seconds_a_second": {kind: round(used, 3) for kind, used in found.cpu.items()},
                "heard_upto_seconds": found.heard,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
