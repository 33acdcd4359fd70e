"""Batches combined into one do to the guards what they do as parts of one batch."""

from __future__ import annotations

import random

import pytest

from domain.observation import Divergence, Observation, Outcome, Pair
from domain.routing import Arm
from killswitch.columns import JudgedPair
from killswitch.combined import combined
from killswitch.guards import GuardSet
from killswitch.increments import Increments
from settings.schema import DivergenceGuard, ErrorsGuard, FlipsGuard, GuardSettings, LatencyGuard

SETTINGS = GuardSettings(
    divergence=DivergenceGuard(0.05),
    flips=FlipsGuard(0.05),
    errors=ErrorsGuard(0.01),
    latency=LatencyGuard(p95_ratio=1.5, slo=0.2),
)


def judged(number: int, score: float, latency: float) -> JudgedPair:
    mine = Observation("rain-1", Outcome.ANSWERED, 200, 0.01, b"")
    other = Observation("rain-2", Outcome.ANSWERED, 200, latency, b"")
    pair = Pair(f"r{number}", "rain", number + 1, 1, Arm.INCUMBENT, 1000.0 + number, mine, other)
    return JudgedPair(pair, Divergence(score, score > 0.5, ""), None)


def batches(seed: int, bad: float, *sizes: int) -> list[list[JudgedPair]]:
    draw = random.Random(seed)
    found, number = [], 0
    for size in sizes:
        batch = []
        for _ in range(size):
            number += 1
            wrong = draw.random() < bad
            batch.append(judged(number, 0.9 if wrong else 0.0, 0.5 if wrong else 0.01))
        found.append(batch)
    return found


@pytest.mark.parametrize("bad", [0.0, 0.03, 0.2, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_combined_parts_are_to_the_guards_what_the_parts_are_together(seed: int, bad: float) -> None:
    reader, one, other = GuardSet(SETTINGS), GuardSet(SETTINGS), GuardSet(SETTINGS)
    parts = [reader.read(batch, 0.0) for batch in batches(seed, bad, 7, 30, 1, 12)]
    one.merge(parts)
    other.merge([combined(parts)])
    mine, theirs = one.reports(0), other.reports(0)
    assert [(r.guard, r.evidence, r.estimate, r.count, r.verdict) for r in mine] == [
        (r.guard, r.evidence, r.estimate, r.count, r.verdict) for r in theirs
    ]
    assert [(r.rising_since, r.rising_count) for r in mine] == [
        (r.rising_since, r.rising_count) for r in theirs
    ]


def test_a_combined_batch_travels() -> None:
    reader = GuardSet(SETTINGS)
    parts = [reader.read(batch, 0.0) for batch in batches(1, 0.1, 5, 5)]
    whole = combined(parts)
    assert Increments.load(whole.dump()).dump() == whole.dump()
