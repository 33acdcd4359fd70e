"""Since when a candidate is bad: the error of the estimated change, by seeded simulation of the real guard.

The change is the number of votes cast before the rate of flips jumped. `docs/statistics.md` has the figures.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from killswitch.guard import Guard, Sight
from killswitch.signals import signals
from settings.schema import FlipsGuard, GuardSettings

STREAMS = 150
BATCH = 40

Numbers = npt.NDArray[np.float64]


def breached(generator: np.random.Generator, healthy: int, rate: float) -> tuple[int, int, int, float, float]:
    """One stream: `healthy` pairs at 0.4 % flips, then `rate` to the breach, a look after every pair.

    Answers the delay, the estimated change less the true one, the pairs that the report counts to the
    breach, the report's estimate of the rate, and by how much the date and that count disagree.
    """
    (signal,) = signals(GuardSettings(flips=FlipsGuard(0.01)))
    guard = Guard(signal, threshold=1000.0)
    past = (generator.random(healthy) < 0.004).astype(float).tolist()
    for begin in range(0, healthy, BATCH):
        x = past[begin : begin + BATCH]
        guard.take(x, [float(begin + number) for number in range(len(x))])
    assert guard.log_evidence < math.log(guard.threshold)
    delay = 0
    while not guard.breaches:
        guard.take([float(generator.random() < rate)], [float(healthy + delay)])
        delay += 1
    report = guard.report(0, Sight())
    assert report.rising_since is not None
    change = report.count - report.rising_count
    return delay, change - healthy, report.rising_count, report.estimate, report.rising_since - change


@pytest.fixture(scope="module", params=[10_000, 0], ids=["after a healthy past", "at the start"])
def figures(request: pytest.FixtureRequest) -> tuple[Numbers, ...]:
    """What `breached` answers, each of shape (STREAMS,), for a change to 23 % flips."""
    generator = np.random.default_rng(19)
    found = np.array([breached(generator, request.param, 0.23) for _ in range(STREAMS)], dtype=float)
    return tuple(found.T)


def test_the_estimated_change_is_within_a_few_pairs_of_the_true_one(figures: tuple[Numbers, ...]) -> None:
    _, error, _, _, disagreement = figures
    assert abs(np.median(error)) <= 4  # The first flip comes after 3.3 pairs on average.
    assert np.mean(np.abs(error) <= 10) > 0.8
    assert (disagreement == 0).all()


def test_the_pairs_counted_to_the_breach_are_the_true_delay(figures: tuple[Numbers, ...]) -> None:
    delay, _, counted, _, _ = figures
    assert np.median(counted) == pytest.approx(np.median(delay), abs=5)


def test_the_estimated_rate_is_the_rate_since_the_change_and_somewhat_high(
    figures: tuple[Numbers, ...],
) -> None:
    _, _, _, estimate, _ = figures
    assert 0.23 < np.median(estimate) < 0.45
