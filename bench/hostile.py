"""Scenario `hostile`: what clients feel while the mirrored candidate hangs, refuses or floods.

Three gateways take turns under the same open-loop load: one that mirrors nothing, one that mirrors all,
and one that does so with its breaker off: nothing takes the candidate out, so that the isolation itself
is measured. The candidate changes its mood under load. The first gateway is measured twice a round, so
that the table shows what the machine's own noise is. The candidate and the control processes give way to
the load generator, with which they share a core here: their work would otherwise be charged to the
gateway.

A p99 of one turn is its ten slowest answers, so one hiccup of the machine decides it. The goal is therefore
about slices of half a second: the median, over the slices of all rounds, of each slice's p99, over the same
figure with mirroring off. What happens only once a turn, as the change of mood itself, cannot move that
median; the table shows the whole turns' p99 and the worst answer beside it.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.openloop import Answer, OpenLoop, percentile, precise_loop
from bench.pointsman import Pointsman, Setup
from bench.process import Child, cores, cpu_seconds, free_ports
from bench.report import Goal, Section, microseconds, milliseconds, number
from bench.traffic import requests

RATE = 500.0
CONNECTIONS = 32
SETTLE_SECONDS = 0.6
SLICE = 250
"""Answers, half a second of load."""
P99_LIMIT = 1.1
COUNTERS_SECONDS = 1.1  # workers push their counters once a second
OFF, OFF_AGAIN, HEALTHY = "mirroring off", "mirroring off, again", "candidate healthy"
MOODS = {
    "candidate hangs": "hang",
    "candidate refuses": "refuse",
    "candidate sends 100 kB answers": "large",
    "candidate's answers never end": "endless",
}
NO_BREAKER = "{}, no breaker"
VARIANTS = (OFF, OFF_AGAIN, HEALTHY, *(name for mood in MOODS for name in (mood, NO_BREAKER.format(mood))))
BREAKER_OFF = {"breaker": {"consecutive_errors": 0}}


@dataclass(frozen=True, slots=True)
class Turn:
    """One variant measured once; latencies from the timetable, and the worker's CPU a request, in seconds."""

    variant: str
    latencies: tuple[float, ...]
    failed: int
    mirrors: float
    cpu: float

    def share(self, share: float) -> float:
        return percentile(self.latencies, share)

    def slices(self) -> list[float]:
        """The p99 of each whole slice."""
        whole = range(0, len(self.latencies) - SLICE + 1, SLICE)
        return [percentile(self.latencies[at : at + SLICE], 0.99) for at in whole]


def steady_p99(turns: Sequence[Turn]) -> float:
    """Seconds: the median of the slices' p99; NaN when no turn has a whole slice."""
    found = [value for turn in turns for value in turn.slices()]
    return statistics.median(found) if found else math.nan


async def measured(gateway: Pointsman, candidate: Child, variant: str, mood: str, seconds: float) -> Turn:
    """The latencies from the moment the candidate gets into `mood`; afterwards it is well and armed again."""
    latencies: list[float] = []
    failed = 0
    counting = False

    def observe(answer: Answer) -> None:
        nonlocal failed
        if counting:
            latencies.append(answer.latency)
            failed += answer.status != 200

    mirrors = await asyncio.to_thread(gateway.metric, "pointsman_mirrors_total")
    (worker,) = await asyncio.to_thread(gateway.worker_pids)
    load = OpenLoop(gateway.port, RATE, requests(5000), observe)
    await load.start(CONNECTIONS)
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        cpu = cpu_seconds(worker)
        counting = True
        await asyncio.to_thread(candidate.command, mood)
        await asyncio.sleep(seconds)
        counting = False
        cpu = cpu_seconds(worker) - cpu
    finally:
        load.stop()
    await asyncio.to_thread(candidate.command, "good")
    await asyncio.sleep(COUNTERS_SECONDS)
    mirrors = await asyncio.to_thread(gateway.metric, "pointsman_mirrors_total") - mirrors
    if (await asyncio.to_thread(gateway.endpoint))["switch"]["tripped"]:
        await asyncio.to_thread(gateway.rearm, "benchmark: next turn")
    return Turn(variant, tuple(latencies), failed, mirrors, cpu / max(len(latencies), 1))


async def turns(
    off: Pointsman, on: Pointsman, unbroken: Pointsman, candidate: Child, rounds: int, seconds: float
) -> list[Turn]:
    """Every variant once a round."""
    done = []
    for _ in range(rounds):
        done.append(await measured(off, candidate, OFF, "good", seconds))
        done.append(await measured(on, candidate, HEALTHY, "good", seconds))
        for variant, mood in MOODS.items():
            done.append(await measured(on, candidate, variant, mood, seconds))
            done.append(await measured(unbroken, candidate, NO_BREAKER.format(variant), mood, seconds))
        done.append(await measured(off, candidate, OFF_AGAIN, "good", seconds))
    return done


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The scenario."""
    directory.mkdir(parents=True)
    core, load_core = cores()
    ports = free_ports(2)
    with ExitStack() as stack:

        def server(port: int, model: str) -> Child:
            command = [sys.executable, "-m", "bench.upstream", "--port", str(port), "--model", model]
            log = directory / f"{model}.log"
            child = Child(command, log, core=load_core, commands=True)
            stack.enter_context(child).wait_port(port)
            return child

        def gateway(name: str, share: str, guards: Mapping[str, object] | None = None) -> Pointsman:
            setup = Setup(ports[0], ports[1], plan=({"mode": "shadow"},), shadow_share=share, guards=guards)
            started = stack.enter_context(Pointsman(setup, directory / name, core=core))
            started.place_control(load_core)
            # On the load's core there is nothing of it but the control process.
            started.child.give_way()
            return started

        server(ports[0], "bench-1")
        candidate = server(ports[1], "bench-2")
        candidate.give_way()
        off, on = gateway("off", "0%"), gateway("on", "100%")
        unbroken = gateway("unbroken", "100%", BREAKER_OFF)
        runner = stack.enter_context(asyncio.Runner(loop_factory=precise_loop))
        rounds, seconds = (2, 2.0) if quick else (8, 2.0)
        done = runner.run(turns(off, on, unbroken, candidate, rounds, seconds))
    return section(done)


def section(done: Sequence[Turn]) -> Section:
    """The table: medians of the rounds' percentiles, and the steady p99 over that with mirroring off."""
    off = [turn for turn in done if turn.variant in (OFF, OFF_AGAIN)]
    base = steady_p99(off)
    rows, goals = [], []
    for variant in VARIANTS:
        own = [turn for turn in done if turn.variant == variant]
        steady = steady_p99(own)
        rows.append(
            (
                variant,
                milliseconds(statistics.median(turn.share(0.5) for turn in own)),
                milliseconds(steady),
                number(steady / base),
                milliseconds(statistics.median(turn.share(0.99) for turn in own)),
                milliseconds(statistics.median(turn.share(0.999) for turn in own)),
                milliseconds(max(max(turn.latencies) for turn in own)),
                microseconds(statistics.median(turn.cpu for turn in own)),
                f"{sum(turn.mirrors for turn in own):.0f}",
                str(sum(turn.failed for turn in own)),
            )
        )
        if variant not in (OFF, OFF_AGAIN, HEALTHY):
            goals.append(
                Goal(f"{variant}: clients' p99 over that with mirroring off", steady / base, P99_LIMIT, " ×")
            )
    rounds = len(off) // 2
    return Section(
        name="hostile",
        title=f"A hostile candidate: {RATE:.0f} requests a second, open loop, {rounds} rounds",
        columns=(
            "", "p50 ms", "steady p99 ms", "× off", "p99 ms", "p99.9 ms", "worst ms", "CPU µs/request",
            "mirrors", "failed",
        ),
        rows=tuple(rows),
        goals=tuple(goals),
        remarks=(
            f"steady p99: the median of the p99 of slices of {SLICE} answers, over all rounds",
            "× off: over both turns with mirroring off; those turns' own ratios are the machine's noise",
        ),
        raw={
            "turns": [
                {
                    "variant": turn.variant,
                    "p50": turn.share(0.5),
                    "p99": turn.share(0.99),
                    "worst": max(turn.latencies),
                    "answers": len(turn.latencies),
                    "failed": turn.failed,
                    "mirrors": turn.mirrors,
                    "cpu": turn.cpu,
                }
                for turn in done
            ]
        },
    )  # fmt: skip
