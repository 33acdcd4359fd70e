"""A healthy candidate is tripped no more often than promised, however often one looks.

Fewer and shorter streams than in `python -m bench --only statistics`, whose figures docs/statistics.md shows.
"""

from __future__ import annotations

import numpy as np
import pytest

from bench.statistics import traffic
from bench.statistics.false_alarms import ALPHAS, FLIPS, ROWS, Row, most, peaks, rare
from bench.statistics.streams import Streams
from killswitch.quantile import LatencyProfile, RunningQuantile, counted
from killswitch.votes import Votes

PAIRS = 4000
STREAMS = 600


@pytest.mark.parametrize("row", [row for row in ROWS if not row.breaks], ids=lambda row: row.name)
def test_a_healthy_candidate_alarms_no_more_often_than_alpha(row: Row) -> None:
    streams = max(60, int(STREAMS / row.weight))
    peak = peaks(row, streams, PAIRS, seed=11)
    for alpha in ALPHAS:
        assert (peak >= 1 / alpha).sum() <= most(streams, alpha)


def test_a_detector_that_never_speaks_would_not_pass() -> None:
    row = ROWS[0]
    assert row.name.startswith("flips, at the limit")
    assert (peaks(row, 1500, 20_000, seed=12) >= 20).mean() >= 0.05 / 10


@pytest.mark.parametrize("row", [row for row in ROWS if row.breaks], ids=lambda row: row.name)
def test_what_is_not_promised_is_not_so(row: Row) -> None:
    assert (peaks(row, 200, PAIRS, seed=13) >= 20).mean() > 0.5


def test_one_vote_per_unit_keeps_the_promise_that_bursts_break() -> None:
    """A unit sends 20 pairs within seconds, all alike; 1 % of the units flip, as they may."""
    count, units, burst, alpha = 600, 400, 20, 0.05
    votes = Votes(window=600.0)
    admitted = np.array([bool(votes.admit(1 + at // burst, 0.1 * at)) for at in range(units * burst)])
    flips = (np.random.default_rng(18).random((units, count)) < 0.01).astype(float).repeat(burst, axis=0)
    every, one = Streams(0.01, 0.0, 1.0, count), Streams(0.01, 0.0, 1.0, count)
    alarms_of_every = (np.max([every.step(x) for x in flips], axis=0) >= 1 / alpha).sum()
    alarms_of_one = (np.max([one.step(x) for x in flips[admitted]], axis=0) >= 1 / alpha).sum()
    assert admitted.sum() == units
    assert alarms_of_one <= most(count, alpha)
    assert alarms_of_every > 5 * most(count, alpha)


def test_a_look_after_every_batch_alarms_no_more_often_either() -> None:
    """Batches of 20 votes whose order means nothing: the guard's wealth is that of 20 votes at once."""
    streams, size = 800, 20
    detector = Streams(0.01, 0.0, 1.0, streams)
    generator = np.random.default_rng(14)
    flips = traffic.flips(0.01)
    peak = np.zeros(streams)
    for _ in range(300):
        factors = np.prod(
            [detector.quiet + detector.stakes * x for x in flips(generator, size, streams)], axis=0
        )
        detector.step(np.zeros(streams))
        detector.wealth *= factors / detector.quiet
        np.maximum(peak, detector.e, out=peak)
    assert (peak >= 20).sum() <= most(streams, 0.05)


def test_slower_candidates_are_caught() -> None:
    slower = rare(
        traffic.Claim(0.0, -1.0, 1.0),
        lambda streams: traffic.Exceedances(1.5, 3.0, 0.95, 100, streams),
    )
    assert (slower(np.random.default_rng(15), 100, 3000) >= 1000).all()


def test_a_threshold_taken_from_chance_counts() -> None:
    """`most` is the binomial quantile: checked where it can be counted by hand."""
    assert most(10, 0.5, chance=0.02) == 8  # P(X > 8) = 11/1024, P(X > 7) = 56/1024
    assert most(1, 0.001) == 1
    assert FLIPS.limit == 0.01


def test_the_real_running_quantile_follows_the_one_simulated() -> None:
    """It holds 2000 to 4000 latencies in buckets 1 % wide, the simulation the last 2000 as they are."""
    generator = np.random.default_rng(16)
    incumbent, candidate = generator.lognormal(-4, 1, (2, 6000))
    quantile = RunningQuantile(profile := LatencyProfile(), 0.95, minimum=100)
    real, simulated = [], []
    for start in range(0, 6000, 50):
        rows = slice(start, start + 50)
        value = quantile.value
        if value is not None:
            real += ((candidate[rows] > 1.5 * value) * 1.0 - (incumbent[rows] > value)).tolist()
            held = np.sort(incumbent[max(0, start - 2000) : start])
            exact = held[int(np.ceil(0.95 * len(held))) - 1]
            simulated += ((candidate[rows] > 1.5 * exact) * 1.0 - (incumbent[rows] > exact)).tolist()
        profile.learn(counted(incumbent[rows]))
    assert np.mean(real) == pytest.approx(np.mean(simulated), abs=0.002)
    assert np.mean(np.array(real) != np.array(simulated)) < 0.01
