"""How long a kill at one replica takes until no replica starts an exchange on the candidate any more.

Four whole gateways share one Redis. Clients keep asking all of them; the candidate notes when each exchange
started. Again and again a kill is posted to one gateway; what counts is the time from the kill (as it dates
itself) to the last start of an exchange that the candidate saw, mirrors included. All processes share one
clock.

    python -m bench.fanout [--replicas 4] [--rounds 30]
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
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

from tests.support.processes import Clients, Gateway
from tests.support.redis_server import RedisServer

CLIENTS = 2
PAUSE = 0.01
SETTLED = 0.4
"""Seconds after a kill in which a late exchange would still be seen."""


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


async def measure(replicas: int, rounds: int) -> list[float]:
    """Seconds from each kill to the last exchange that began on the candidate anywhere, 0 when none did."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
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
        for gateway in gateways:
            await stack.enter_async_context(Clients(gateway.port, CLIENTS, PAUSE))
        found = []
        for number in range(rounds):
            await _serving(candidate)
            killing = gateways[number % replicas]
            await asyncio.gather(_kill(killing), asyncio.sleep(SETTLED))
            (kill,) = (await killing.view())["switch"]["kills"]
            began = datetime.fromisoformat(kill["at"]).timestamp()
            found.append(max((start for start in candidate.starts if start > began), default=began) - began)
            candidate.starts.clear()
            incumbent.starts.clear()
            await _rearm(gateways[(number + 1) % replicas])
            for gateway in gateways:
                while (await gateway.view())["switch"]["tripped"]:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.01)
        await _tell_fanout(gateways)
        return found


async def _tell_fanout(gateways: Sequence[Gateway]) -> None:
    """What the gateways say themselves: from a kill elsewhere to the last confirmation of a worker."""
    upto: Counter[str] = Counter()
    for gateway in gateways:
        for line in (await gateway.admin.get("/metrics")).text.splitlines():
            if line.startswith("pointsman_fanout_seconds_bucket"):
                bound, count = line.split('le="')[1].split('"} ')
                upto[bound] += int(float(count))
    print(json.dumps({"scenario": "fan-out as the replicas measure it, kills up to seconds", **upto}))


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
    given = parser.parse_args()
    found = sorted(asyncio.run(measure(given.replicas, given.rounds)))
    print(
        json.dumps(
            {
                "scenario": "fan-out of a kill", "replicas": given.replicas, "rounds": given.rounds,
                "load": os.getloadavg()[0], "median_ms": statistics.median(found) * 1000,
                "p99_ms": found[min(len(found) - 1, int(0.99 * len(found)))] * 1000,
                "worst_ms": found[-1] * 1000,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
