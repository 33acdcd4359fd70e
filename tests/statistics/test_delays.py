"""How fast a bad candidate is caught: against the bound, and against what else one could use."""

from __future__ import annotations

import numpy as np
import pytest

from bench.statistics import bound, delays, rivals
from bench.statistics.delays import ALPHA, LIMIT, RATES, WEEK, Build

STREAMS = 800
TUNED = {0.02: 4000, 0.05: 400, 0.12: 80, 0.5: 15}
"""The width of the window that is fastest at each rate."""

Seen = tuple[rivals.Detector, np.typing.NDArray[np.float64]]


def guard(streams: int) -> rivals.Detector:
    return rivals.Pointsman(LIMIT, ALPHA, streams)


@pytest.fixture(scope="module")
def healthy() -> Seen:
    """Guards after 10 000 pairs of a candidate that flips half as often as it may."""
    return delays.after_healthy(guard, STREAMS, seed=16)


@pytest.mark.parametrize("rate", RATES)
def test_a_candidate_that_is_bad_from_the_start_is_caught_near_the_bound(rate: float) -> None:
    found = delays.delay(guard(STREAMS), np.zeros(STREAMS), rate, seed=17)
    assert found.median <= 1.3 * bound.pairs(rate, LIMIT, ALPHA) + 1


@pytest.mark.parametrize("rate", RATES)
def test_a_candidate_that_turns_bad_late_is_caught_within_three_times_the_bound(
    healthy: Seen, rate: float
) -> None:
    detector, alarmed = healthy
    assert not alarmed.any()
    found = delays.delay(detector, alarmed, rate, seed=18)
    assert found.median <= 3 * bound.pairs(rate, LIMIT, ALPHA) + 2


@pytest.mark.parametrize("rate", RATES)
def test_no_window_that_is_as_safe_for_a_week_is_faster(healthy: Seen, rate: float) -> None:
    """Not even the one whose width was chosen for this very rate, but for the luck of the draw: 3 %."""
    mine = delays.delay(*healthy, rate, seed=19)
    width = TUNED[rate]
    streams = 300

    def window(streams: int) -> rivals.Detector:
        return rivals.Window(width, rivals.window_count(width, LIMIT, ALPHA, WEEK), streams)

    theirs = delays.delay(*delays.after_healthy(window, streams, seed=20, pairs=width), rate, seed=19)
    assert mine.median <= 1.03 * theirs.median + 1


@pytest.mark.parametrize(
    ("build", "rate"),
    [
        (lambda streams: rivals.MannWhitney(LIMIT, 0.01, streams, seed=21), 0.12),
        (lambda streams: rivals.NormalMixture(LIMIT, ALPHA, streams), 0.12),
        (lambda streams: rivals.BetaMixture(LIMIT, ALPHA, streams), 0.12),
    ],
    ids=["Mann-Whitney per minute", "mSPRT, normal", "mSPRT, exact"],
)
def test_what_has_no_restarts_is_several_times_later_after_a_healthy_past(
    healthy: Seen, build: Build, rate: float
) -> None:
    mine = delays.delay(*healthy, rate, seed=22)
    theirs = delays.delay(*delays.after_healthy(build, 60, seed=23), rate, seed=22)
    assert theirs.median > 5 * mine.median


def test_the_bound_is_the_known_one() -> None:
    assert bound.pairs(0.05, 0.01, 0.001) == pytest.approx(167.3, abs=0.1)
    assert bound.pairs(1.0, 0.01, 0.001) == pytest.approx(1.5)
