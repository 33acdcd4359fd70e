"""Scenario `judging`: what judging a pair costs, from the raw bytes of both answers to the verdict.

Answers of a classifier in the V2 protocol go through the judge of an endpoint that has every guard but those
that need labels, cohorts by a header, and everything that is counted and kept for people. The figure is the
lowest of many short stretches of CPU time of one thread: what a busy machine adds, it adds to the others.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import Goal, Section, microseconds, milliseconds
from control.clock import Clock
from control.hearing import SLICE_PAIRS
from control.judge import Judge
from control.tallies import Tallies
from domain.observation import Observation, Outcome, Pair
from domain.routing import Arm
from settings.parse import parse

SEED = 1
PAIRS = 40_000
BATCHES = (16, 64, SLICE_PAIRS, 1024)
GOAL = 20_000
"""Pairs a second on one core, in batches of a whole slice."""

GUARDS = {
    "divergence": {"mean": "2%"},
    "flips": {"rate": "1%"},
    "errors": {"excess": "0.5%"},
    "latency": {"p95_ratio": 1.5, "p99_ratio": 1.5, "slo": "200ms"},
    "confidence": {"shift": "5%"},
    "classes": {"shift": "5%"},
}
DOCUMENT = {
    "endpoints": {
        "rain": {
            "path": "/v2/models/rain/infer",
            "protocol": "v2",
            "unit": "header:x-user-id",
            "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
            "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9002"]},
            "compare": {"kind": "classification", "output": "predict_proba", "labels": ["dry", "rain"]},
            "cohorts": ["header:x-country"],
            "guards": GUARDS,
        }
    }
}


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds a pair in batches of `size`: the lowest stretch and the median one, and the parts of it."""

    size: int
    lowest: float
    median: float
    compare: float
    guards: float


def answer(rain: float) -> bytes:
    """A V2 answer with the probabilities of one row."""
    output = {"name": "predict_proba", "shape": [1, 2], "datatype": "FP64", "data": [1 - rain, rain]}
    return json.dumps({"model_name": "rain", "outputs": [output]}).encode()


def pairs(count: int, seed: int = SEED) -> list[Pair]:
    """A healthy candidate: probabilities a little beside the incumbent's, latencies of the same kind."""
    generator = random.Random(seed)
    found = []
    for number in range(count):
        rain = round(generator.random(), 6)
        beside = round(min(1.0, max(0.0, rain + generator.gauss(0, 0.003))), 6)
        incumbent, candidate = (
            Observation(version, Outcome.ANSWERED, 200, generator.lognormvariate(-6, 0.3), answer(share))
            for version, share in (("rain-1", rain), ("rain-2", beside))
        )
        found.append(
            Pair(
                f"r{number}",
                "rain",
                generator.getrandbits(63) | 1,
                1,
                Arm.INCUMBENT,
                number / 1000.0,
                incumbent,
                candidate,
                cohorts=(generator.choice(["NZ", "AU", "DE"]),),
            )
        )
    return found


def judge() -> Judge:
    settings = parse(DOCUMENT).endpoint("rain")
    return Judge(settings, Tallies(), Clock(wall=lambda: 1000.0), 1)


def measured(stream: Sequence[Pair], size: int) -> Cost:
    """Judge `stream` in batches of `size`: each batch is a stretch."""
    one, parts = judge(), judge()
    whole: list[float] = []
    compare: list[float] = []
    guards: list[float] = []
    now = time.thread_time
    for start in range(0, len(stream) - size + 1, size):
        batch = stream[start : start + size]
        began = now()
        one.judge(batch)
        whole.append((now() - began) / size)
        began = now()
        compared = parts.compare(batch)
        between = now()
        parts.guards.observe(compared.judged, start / 1000.0)
        compare.append((between - began) / size)
        guards.append((now() - between) / size)
    return Cost(size, min(whole), statistics.median(whole), min(compare), min(guards))


def run(folder: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The table; `folder` and `peers` are not used: nothing is started."""
    stream = pairs(PAIRS // 4 if quick else PAIRS)
    costs = [measured(stream, size) for size in BATCHES]
    slice_ = next(cost for cost in costs if cost.size == SLICE_PAIRS)
    rows = tuple(
        (
            str(cost.size), f"{1 / cost.lowest:,.0f}".replace(",", " "), microseconds(cost.lowest),
            microseconds(cost.median), microseconds(cost.compare), microseconds(cost.guards),
            milliseconds(cost.lowest * cost.size),
        )
        for cost in costs
    )  # fmt: skip
    return Section(
        "judging",
        "Judging small V2 pairs, from raw bytes to verdict, on one core",
        (
            "pairs in a batch",
            "pairs/s",
            "µs a pair",
            "median",
            "of it comparing",
            "guards",
            "ms the loop is held",
        ),
        rows,
        (
            Goal(f"CPU time a pair in batches of {SLICE_PAIRS}", slice_.lowest * 1e6, 1e6 / GOAL, " µs"),
            Goal("a slice holds the loop", slice_.lowest * SLICE_PAIRS * 1000, 20.0, " ms"),
        ),
        (f"{len(judge().reports())} guards; CPU of the lowest stretch, {len(stream)} pairs, seed {SEED}",),
        {"costs": [[cost.size, cost.lowest, cost.median, cost.compare, cost.guards] for cost in costs]},
    )
