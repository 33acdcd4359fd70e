"""`python -m examples.rain.clients --host gateway --port 8080`: the demo's users, for as long as it runs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections import Counter

from examples.rain.data import load
from examples.rain.traffic import Answer, Traffic, request_body

REPLAY_FROM = 12_000
"""The days before this one trained the models (`examples.rain.models`, which takes scikit-learn)."""
PATH = "/v2/models/rain/infer"
EVERY = 10.0
"""Seconds between two lines."""


async def send(host: str, port: int, rate: float, users: int) -> None:
    """Until SIGTERM or SIGINT; every ten seconds a line says who answered and what failed."""
    rows = await asyncio.to_thread(load)
    bodies = [request_body(row) for row in rows.rows[REPLAY_FROM:].tolist()]
    served: Counter[str] = Counter()

    def seen(answer: Answer) -> None:
        served[answer.version] += 1

    def report(name: str, error: BaseException) -> None:
        sys.stderr.write(f"{name}: {error!r}\n")

    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    traffic = Traffic(bodies, host, port, PATH, rate=rate, users=users, seen=seen, report=report)
    traffic.start()
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), EVERY)
        counts = traffic.counts
        answered = ", ".join(f"{version} {count}" for version, count in sorted(served.items())) or "nobody"
        failed = "".join(f"; {count} x {why}" for why, count in sorted(counts.failures.items()))
        print(f"{counts.requests} asked, answered by {answered}{failed}", flush=True)
    await traffic.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="examples.rain.clients", description="Users of the rain forecast.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--users", type=int, default=20_000)
    given = parser.parse_args()
    asyncio.run(send(given.host, given.port, given.rate, given.users))
    return 0


if __name__ == "__main__":
    sys.exit(main())
