"""The simulations judge as the real guards do: the same evidence, from the same votes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from bench.statistics.streams import RareStreams, Streams
from domain.observation import Divergence, Observation, Outcome, Pair
from domain.routing import Arm
from killswitch.certification import Certifier
from killswitch.columns import JudgedPair
from killswitch.counts import ArmCounts, CountDetector
from killswitch.evidence import EDetector
from killswitch.guards import GuardSet
from settings.schema import (
    ClassesGuard,
    ConfidenceGuard,
    DivergenceGuard,
    ErrorsGuard,
    FlipsGuard,
    GuardSettings,
)

GRAINS = 1e-6
"""What rounding to grains takes from a logarithm in some hundred votes (`killswitch.evidence`)."""


@pytest.mark.parametrize(
    ("limit", "low", "high", "two_sided"),
    [
        (0.01, 0.0, 1.0, False),
        (0.05, 0.0, 1.0, False),
        (0.005, -1.0, 1.0, False),
        (0.02, -0.1, 0.1, True),
    ],
)
def test_the_real_detector_is_this_recursion(limit: float, low: float, high: float, two_sided: bool) -> None:
    generator = np.random.default_rng(7)
    streams = Streams(limit, low, high, 3, two_sided=two_sided)
    detector = EDetector(limit, low, high, two_sided=two_sided)
    states = [detector.start()] * 3
    for _ in range(400):
        x = np.where(generator.random(3) < 0.2, generator.uniform(low, high, 3), 0.0)
        states = [
            detector.apply(state, detector.increment([one])) for state, one in zip(states, x, strict=True)
        ]
        expected = [detector.log_evidence(state) for state in states]
        assert np.log(streams.step(x)) == pytest.approx(expected, abs=GRAINS)


def test_votes_that_are_mostly_nothing_are_judged_alike() -> None:
    generator = np.random.default_rng(8)
    dense, rare = Streams(0.005, -1.0, 1.0, 40), RareStreams(0.005, -1.0, 1.0, 40)
    for _ in range(2000):
        x = (generator.random(40) < 0.03).astype(float) - (generator.random(40) < 0.02)
        where = np.flatnonzero(x)
        assert rare.step(where, x[where]) == pytest.approx(dense.step(x)[where], rel=1e-9)
    assert rare.e == pytest.approx(dense.e, rel=1e-9)


def judged(number: int, found: Divergence | None, **candidate: object) -> JudgedPair:
    answer = Observation("rain", Outcome.ANSWERED, 200, 0.01, b"")
    other = answer._replace(**candidate)  # type: ignore[arg-type]  # fields of Observation
    return JudgedPair(
        Pair(f"r{number}", "rain", number + 1, 1, Arm.INCUMBENT, 0.0, answer, other), found, None
    )


def evidence(settings: GuardSettings, pairs: Sequence[JudgedPair]) -> dict[str, float]:
    """ln e of each guard that was shown `pairs`, one after another."""
    guards = GuardSet(settings)
    for number, one in enumerate(pairs):
        guards.observe([one], float(number))
    return {report.guard: math.log(report.evidence) for report in guards.reports(0)}


def test_what_the_real_guards_read_from_pairs_is_what_is_simulated() -> None:
    """Flips, divergence, errors, confidence and class shares of the same pairs, to the same evidence."""
    generator = np.random.default_rng(9)
    count = 300
    flip = generator.random(count) < 0.03
    score = generator.beta(0.2, 3.8, count)
    shift = generator.uniform(-0.06, 0.1, count)
    failed = generator.random(count) < 0.01
    mine, theirs = generator.integers(0, 3, (2, count))
    pairs = [
        judged(
            at,
            Divergence(score[at], flip[at], "", 0.5, 0.5 + shift[at], f"{theirs[at]}", f"{mine[at]}"),
            status=500 if failed[at] else 200,
        )
        for at in range(count)
    ]  # fmt: skip
    found = evidence(
        GuardSettings(
            false_alarm=1e-9,
            divergence=DivergenceGuard(0.05),
            flips=FlipsGuard(0.01),
            errors=ErrorsGuard(0.005),
            confidence=ConfidenceGuard(0.02),
            classes=ClassesGuard(0.05),
        ),
        pairs,
    )
    excess = np.zeros(3)
    shares = []
    for one, other in zip(mine, theirs, strict=True):
        shares.append(float(excess[one] > 0) - float(excess[other] > 0))
        excess[one] += 1
        excess[other] -= 1
    simulated = {
        "divergence": (Streams(0.05, 0.0, 1.0, 1), score),
        "flips": (Streams(0.01, 0.0, 1.0, 1), flip),
        "errors": (Streams(0.005, -1.0, 1.0, 1), failed),
        "confidence": (Streams(0.02, -0.1, 0.1, 1, two_sided=True), shift),
        "classes": (Streams(0.05, -1.0, 1.0, 1), shares),
    }
    for name, (streams, votes) in simulated.items():
        for vote in votes:
            streams.step(np.array([vote], dtype=float))
        assert math.log(streams.e[0]) == pytest.approx(found[name], abs=GRAINS), name


def test_noise_is_taken_off_as_it_is_simulated() -> None:
    generator = np.random.default_rng(10)
    settings = GuardSettings(false_alarm=1e-9, flips=FlipsGuard(0.02), noisy=True)
    streams = Streams(0.02, -1.0, 1.0, 1)
    pairs = []
    for number in range(200):
        flip, noise = (generator.random(2) < 0.2).tolist()
        one = judged(number, Divergence(float(flip), flip, ""))
        pairs.append(JudgedPair(one.pair, one.divergence, None, Divergence(float(noise), noise, "")))
        streams.step(np.array([float(flip) - float(noise)]))
    assert evidence(settings, pairs)["noise_corrected_flips"] == pytest.approx(
        math.log(streams.e[0]), abs=GRAINS
    )


def test_counts_and_certificates_follow_the_formulas_that_are_simulated() -> None:
    """A stretch of 90 and 10 requests; 500 votes of which 2 are flips."""
    stakes = np.minimum(np.geomspace(0.05, 50.0, 16), 0.95 * 9)
    growth = 2 * np.log1p(stakes) + 3 * np.log1p(-stakes / 9) - 10 * 0.005 * stakes
    path = CountDetector(0.005).path(ArmCounts(90, 3), ArmCounts(10, 2))
    assert path.growth[:, -1] == pytest.approx(growth, abs=GRAINS)
    votes = np.zeros(500)
    votes[[100, 300]] = 1.0
    certifier = Certifier(0.01, 0.0, 1.0)
    bets = np.geomspace(0.97, 0.03, 8) / 0.99
    weights = np.array([2.0**-k for k in range(1, 8)] + [2.0**-7])
    wealth = (weights * (1 + bets * 0.01) ** 498 * (1 - bets * 0.99) ** 2).sum()
    assert certifier.log_evidence(certifier.growth(votes)) == pytest.approx(math.log(wealth), abs=GRAINS)
