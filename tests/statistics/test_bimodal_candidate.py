"""A candidate that is right for 99 users of 100 and gives the last one somebody else's prediction."""

from __future__ import annotations

import json

import numpy as np

from bench.statistics import bimodal
from comparators.comparison import Comparison
from domain.observation import Observation, Outcome, Pair
from domain.routing import Arm
from killswitch.columns import JudgedPair
from killswitch.guards import GuardSet
from settings.schema import CompareSettings, DivergenceGuard, FlipsGuard, GuardSettings


def test_the_flips_guard_catches_it_and_the_mean_does_not() -> None:
    found = bimodal.caught(streams=150, pairs=5000, seed=41)
    assert found.by_flips == 1.0
    assert found.by_mean <= 0.02


def test_the_real_guards_catch_it_from_real_answers() -> None:
    """Answers as bytes, compared and judged as in production; the mean divergence stays within its limit."""
    comparison = Comparison("json", CompareSettings("regression", "/y", tolerance=0.1, scale=1.0))
    guards = GuardSet(
        GuardSettings(flips=FlipsGuard(bimodal.LIMIT), divergence=DivergenceGuard(0.05), vote_window=600.0)
    )
    generator = np.random.default_rng(42)
    rights, candidates = [], []
    breach = None
    for unit in range(1, 6000):
        right = float(bimodal.predictions(generator, ()))
        said = float(bimodal.predictions(generator, ())) if generator.random() < bimodal.SHARE else right
        rights.append(right)
        candidates.append(said)
        pair = _pair(unit, right, said)
        judged = JudgedPair(pair, comparison.compare(pair.incumbent, pair.candidate), None)
        breach = guards.observe([judged], unit / 20)
        if breach is not None:
            break
    assert breach is not None
    assert breach.guard == "flips"
    assert breach.estimate > bimodal.LIMIT
    divergence = next(report for report in guards.reports(0) if report.guard == "divergence")
    assert divergence.estimate < divergence.limit / 4
    difference = np.array(candidates) - np.array(rights)
    standard_error = difference.std() / np.sqrt(len(difference))
    assert abs(difference.mean()) < 3 * standard_error, "its mean prediction is the incumbent's"


def _pair(unit: int, right: float, said: float) -> Pair:
    def answer(version: str, value: float) -> Observation:
        return Observation(version, Outcome.ANSWERED, 200, 0.01, json.dumps({"y": value}).encode())

    one, two = answer("rain-1", right), answer("rain-2", said)
    return Pair(f"r{unit}", "rain", unit, 1, Arm.INCUMBENT, float(unit), one, two)
