"""Scenario `trip`: from the pair that crosses a limit to the last worker's confirmation, over and over.

The candidate passes its shadow stage, serves everybody, turns bad, is tripped; then it is mended and
re-armed, and the next round begins. Two witnesses judge it: the control process (breach to the last
confirmation) and the client (breach to the last answer that the candidate served).
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.openloop import Answer, OpenLoop, precise_loop
from bench.pointsman import Pointsman, Setup
from bench.process import BenchError, Child, free_ports
from bench.report import DELAYS, Goal, Section, delays
from bench.traffic import requests

RATE = 300.0
CONNECTIONS = 16
WORKERS = 2
LIMIT_SECONDS = 0.020
PLAN = ({"mode": "shadow", "pairs": 50}, {"mode": "canary", "weight": "100%"})
GUARDS = {
    "false_alarm": 0.001,
    "vote": {"per": "pair"},
    "flips": {"rate": "1%"},
    "breaker": {"consecutive_errors": 5},
}


@dataclass(frozen=True, slots=True)
class Trip:
    """One round, in seconds.

    Attributes:
        trip: breach to the last worker's confirmation, as the control process has it.
        served: breach to the candidate's last answer, as the client saw it; negative when that came first.
        recovery: first bad answer to the last one, as the client saw them.
        pairs: pairs from the first bad one to the breach.
        cause: what tripped.
    """

    trip: float
    served: float
    recovery: float
    pairs: int
    cause: str


class Witness:
    """The client's own record of who answered when (wall clock), and of failed requests."""

    def __init__(self) -> None:
        self.candidate_answers: list[float] = []
        self.answers = 0
        self.failed = 0

    def observe(self, answer: Answer) -> None:
        self.answers += 1
        if answer.status != 200:
            self.failed += 1
        elif b"x-pointsman-arm: candidate" in answer.head.lower():
            self.candidate_answers.append(time.time())


def seconds_of(moment: str) -> float:
    """Seconds since 1970 of an ISO moment with offset."""
    return datetime.fromisoformat(moment).timestamp()


def judged(report: dict[str, Any], answers: Sequence[float], since: float) -> Trip:
    """One round, out of `last_trip` of the admin API and the moments of the candidate's answers."""
    breach = seconds_of(report["breach_at"])
    bad = [moment for moment in answers if moment >= since]
    return Trip(
        trip=seconds_of(report["confirmed_at"]) - breach,
        served=max(bad) - breach if bad else float("nan"),
        recovery=max(bad) - min(bad) if bad else float("nan"),
        pairs=int(report["detection_pairs"] or 0),
        cause=str(report["cause"]),
    )


async def until(what: str, condition: Callable[[], Awaitable[bool]], patience: float = 20.0) -> None:
    """Ask `condition` ten times a second, seldom enough not to disturb what is measured."""
    end = time.monotonic() + patience
    while not await condition():
        if time.monotonic() > end:
            raise BenchError(f"waited {patience:g} s in vain for: {what}")
        await asyncio.sleep(0.1)


async def one_round(gateway: Pointsman, candidate: Child, witness: Witness) -> Trip:
    """Mend and re-arm if need be, wait until the candidate serves, turn it bad, wait for the trip."""
    state = await asyncio.to_thread(gateway.endpoint)
    last = (state["last_trip"] or {}).get("kill")
    await asyncio.to_thread(candidate.command, "good")
    if state["switch"]["tripped"]:
        await asyncio.to_thread(gateway.rearm, "benchmark: next round")

    served_before = len(witness.candidate_answers)

    async def serving() -> bool:
        return len(witness.candidate_answers) >= served_before + 30

    await until("the candidate to serve", serving)
    since = time.time()
    await asyncio.to_thread(candidate.command, "bad")
    report: dict[str, Any] = {}

    async def confirmed() -> bool:
        report.clear()
        report.update((await asyncio.to_thread(gateway.endpoint))["last_trip"] or {})
        return report.get("kill") not in (None, last) and report["confirmed_at"] is not None

    await asyncio.sleep(0.3)
    await until("the trip to be confirmed", confirmed)
    await asyncio.sleep(0.1)
    return judged(report, witness.candidate_answers, since)


async def rounds(gateway: Pointsman, candidate: Child, count: int) -> tuple[list[Trip], Witness]:
    """`count` rounds under an uninterrupted load."""
    witness = Witness()
    load = OpenLoop(gateway.port, RATE, requests(20_000), witness.observe)
    await load.start(CONNECTIONS)
    try:
        return [await one_round(gateway, candidate, witness) for _ in range(count)], witness
    finally:
        load.stop()


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The scenario."""
    directory.mkdir(parents=True)
    ports = free_ports(2)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                Child(
                    [sys.executable, "-m", "bench.upstream", "--port", str(port), "--model", f"b-{number}"],
                    directory / f"server-{number}.log",
                    commands=True,
                )
            )
            for number, port in enumerate(ports, 1)
        ]
        for server, port in zip(servers, ports, strict=True):
            server.wait_port(port)
        setup = Setup(ports[0], ports[1], plan=PLAN, workers=WORKERS, shadow_share="100%", guards=GUARDS)
        gateway = stack.enter_context(Pointsman(setup, directory / "gateway"))
        runner = stack.enter_context(asyncio.Runner(loop_factory=precise_loop))
        trips, witness = runner.run(rounds(gateway, servers[1], 8 if quick else 30))
    return section(trips, witness)


def section(trips: Sequence[Trip], witness: Witness) -> Section:
    """The table of medians and extremes."""
    figures = {
        "breach → last worker confirmed": [trip.trip for trip in trips],
        "breach → last answer by the candidate": [trip.served for trip in trips],
        "first bad answer → last bad answer": [trip.recovery for trip in trips],
    }
    causes = ", ".join(sorted({trip.cause for trip in trips}))
    pairs = statistics.median(trip.pairs for trip in trips)
    return Section(
        name="trip",
        title=f"The trip: {WORKERS} workers, {RATE:.0f} requests a second, {len(trips)} rounds",
        columns=DELAYS,
        rows=delays(figures),
        goals=(
            Goal(
                "median from the breach to the last worker's confirmation",
                statistics.median(trip.trip for trip in trips) * 1e3,
                LIMIT_SECONDS * 1e3,
                " ms",
            ),
        ),
        remarks=(
            f"causes: {causes}; median {pairs:g} pairs until the breach",
            f"{witness.failed} of {witness.answers} client requests failed",
            "negative: the candidate's last answer had left before the breach was established",
        ),
        raw={"trips": [asdict(trip) for trip in trips], "answers": witness.answers, "failed": witness.failed},
    )
