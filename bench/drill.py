"""Scenario `drill`: how long clients get bad answers, from the first to the last, when a candidate turns bad.

Drills are run one after another under an uninterrupted load of clients. Each flips a fifth of the candidate's
answers, half of the clients are its, and everything from the pairs to the workers' obedience is the gateway's
own. The times are those of the workers that send the answers, and of the control process.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.openloop import Answer, OpenLoop, precise_loop
from bench.pointsman import ENDPOINT, Pointsman, Setup
from bench.process import BenchError, Child, free_ports
from bench.report import DELAYS, Goal, Section, delays, rendered
from bench.traffic import requests

RATE = 200.0
CONNECTIONS = 16
WORKERS = 2
PLAN = ({"mode": "shadow", "pairs": 1_000_000},)
GUARDS = {
    "false_alarm": 0.001,
    "vote": {"per": "pair"},
    "flips": {"rate": "1%"},
    "breaker": {"consecutive_errors": 0},
}
DRILLS = {"fault": "flip", "share": "20%", "served": True, "weight": "50%", "lasts": "30s"}
RECOVERY_LIMIT, DETECTED_LIMIT = 1.0, 0.1
"""Seconds: first to last bad answer, and breach to last bad answer."""
PATIENCE = 60.0


async def one_drill(gateway: Pointsman) -> dict[str, Any]:
    """The report of a drill that has passed. Raises BenchError for any other."""
    begun = await asyncio.to_thread(gateway.api.post, "/api/v1/drills", json={"endpoint": ENDPOINT})
    if begun.is_error:
        raise BenchError(f"the drill was refused: {begun.text}")
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await asyncio.to_thread(gateway.api.get, f"/api/v1/drills/{begun.json()['id']}")
            report: dict[str, Any] = answer.json()
            if report["state"] == "failed":
                raise BenchError(f"the drill failed: {report['reason']}")
            if report["state"] == "passed":
                return report
            await asyncio.sleep(0.1)


async def drills(gateway: Pointsman, count: int) -> tuple[list[dict[str, Any]], list[int]]:
    """`count` reports, and the statuses that clients got."""
    statuses: list[int] = []

    def observe(answer: Answer) -> None:
        statuses.append(answer.status)

    load = OpenLoop(gateway.port, RATE, requests(20_000), observe)
    await load.start(CONNECTIONS)
    try:
        await asyncio.sleep(1.0)
        return [await one_drill(gateway) for _ in range(count)], statuses
    finally:
        load.stop()


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The scenario."""
    directory.mkdir(parents=True)
    ports = free_ports(2)
    with ExitStack() as stack:
        for number, port in enumerate(ports, 1):
            command = [sys.executable, "-m", "bench.upstream", "--port", str(port), "--model", f"b-{number}"]
            server = stack.enter_context(Child(command, directory / f"server-{number}.log", commands=True))
            server.wait_port(port)
        setup = Setup(
            ports[0], ports[1], plan=PLAN, workers=WORKERS, shadow_share="100%", guards=GUARDS, drills=DRILLS
        )
        gateway = stack.enter_context(Pointsman(setup, directory / "gateway"))
        runner = stack.enter_context(asyncio.Runner(loop_factory=precise_loop))
        reports, statuses = runner.run(drills(gateway, 5 if quick else 20))
    return section(reports, statuses)


def section(reports: Sequence[dict[str, Any]], statuses: Sequence[int]) -> Section:
    """The table of medians and extremes."""
    figures = {
        "first bad answer → last bad answer": [one["recovery_ms"] / 1e3 for one in reports],
        "breach → last bad answer": [one["after_detection_ms"] / 1e3 for one in reports],
        "breach → last worker confirmed": [one["confirmed_ms"] / 1e3 for one in reports],
    }
    pairs = statistics.median(one["detection_pairs"] for one in reports)
    served = statistics.median(one["spoilt_served"] for one in reports)
    failed = sum(status != 200 for status in statuses)
    recovery, detected, _ = figures.values()
    return Section(
        name="drill",
        title=f"Drills: {RATE:.0f} requests a second, a fifth of the answers flipped, {len(reports)} times",
        columns=DELAYS,
        rows=delays(figures),
        goals=(
            Goal("median recovery", statistics.median(recovery) * 1e3, RECOVERY_LIMIT * 1e3, " ms"),
            Goal("median after detection", statistics.median(detected) * 1e3, DETECTED_LIMIT * 1e3, " ms"),
        ),
        remarks=(
            f"median {pairs:g} pairs until the breach, {served:g} bad answers to clients",
            f"{failed} of {len(statuses)} client requests failed",
        ),
    )


def main() -> None:
    """`python -m bench.drill [--quick]`: print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder) / "drill", quick="--quick" in sys.argv[1:])
    sys.stdout.write(rendered(found) + "\n")


if __name__ == "__main__":
    main()
