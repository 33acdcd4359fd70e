"""The guards' error rates and delays, by seeded simulation with a look after every single pair.

Many streams run at once through a recursion that is written here anew, in plain numbers, from the design's
formula; one test holds the real detector equal to it. `docs/statistics.md` shows the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from killswitch.evidence import EDetector
from killswitch.quantile import RunningQuantile
from killswitch.votes import Votes

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Floats]
"""(generator, pairs, streams) -> x of shape (pairs, streams)."""

BETS = 16
CHUNK = 500


class Streams:
    """The wealths of many independent streams, shape (streams, bets)."""

    def __init__(self, limit: float, low: float, high: float, streams: int) -> None:
        q = (limit - low) / (high - low)
        first, last = 0.3 * min(q, 1 - q), 0.95 * (1 - q)
        steps = first * (last / first) ** (np.arange(BETS) / (BETS - 1))
        self.stakes: Floats = steps / (q * (1 - q)) / (high - low)
        self.limit = limit
        self.wealth: Floats = np.full((streams, BETS), 0.5)
        self.batches = 0

    def step(self, x: Floats) -> Floats:
        """One more pair in every stream. Answers e, shape (streams,)."""
        j = self.batches
        if j:
            self.wealth += 0.5 / (1.307 * (j + 1) * math.log(j + 2) ** 2)
        factors = (x - self.limit)[:, np.newaxis] * self.stakes
        factors += 1.0
        self.wealth *= factors
        self.batches += 1
        return self.wealth.mean(axis=1)

    def copy(self) -> Streams:
        twin = object.__new__(Streams)
        twin.stakes, twin.limit, twin.batches = self.stakes, self.limit, self.batches
        twin.wealth = self.wealth.copy()
        return twin


def highest(streams: Streams, draw: Draw, pairs: int, seed: int) -> Floats:
    """The highest e that each stream ever showed in `pairs` looks."""
    generator = np.random.default_rng(seed)
    peak = np.zeros(len(streams.wealth))
    for _ in range(pairs // CHUNK):
        for x in draw(generator, CHUNK, len(peak)):
            np.maximum(peak, streams.step(x), out=peak)
    return peak


def median_delay(streams: Streams, rate: float, threshold: float, seed: int) -> float:
    """Pairs until half of the streams have crossed `threshold`, flips coming at `rate`."""
    generator = np.random.default_rng(seed)
    crossed = np.zeros(len(streams.wealth), dtype=bool)
    pairs = 0
    while 2 * int(crossed.sum()) < len(crossed):
        x = (generator.random(len(crossed)) < rate).astype(float)
        crossed |= streams.step(x) >= threshold
        pairs += 1
    return pairs


def most(alarms_of: int, alpha: float, chance: float = 1e-4) -> int:
    """A binomial(`alarms_of`, `alpha`) count is above this with a probability of `chance` at most."""
    above, count, term = 1.0, 0, (1 - alpha) ** alarms_of
    while (above := above - term) > chance:
        term *= (alarms_of - count) / (count + 1) * alpha / (1 - alpha)
        count += 1
    return count


def flips_at(rate: float) -> Draw:
    return lambda generator, pairs, streams: (generator.random((pairs, streams)) < rate).astype(float)


def excess_errors(candidate: float, incumbent: float) -> Draw:
    def draw(generator: np.random.Generator, pairs: int, streams: int) -> Floats:
        shape = (pairs, streams)
        return (generator.random(shape) < candidate) * 1.0 - (generator.random(shape) < incumbent) * 1.0

    return draw


def exceedances(incumbent: Floats, candidate: Floats, ratio: float, level: float, minimum: int) -> Floats:
    """The latency signal of many streams at once, from latencies of shape (pairs, streams)."""
    x = []
    for start in range(minimum, len(incumbent), 50):
        held = incumbent[max(0, start - 2000) : start]
        rank = math.ceil(level * len(held)) - 1
        quantile = np.partition(held, rank, axis=0)[rank]
        rows = slice(start, start + 50)
        x.append((candidate[rows] > ratio * quantile) * 1.0 - (incumbent[rows] > quantile) * 1.0)
    return np.concatenate(x)


@pytest.mark.parametrize(("limit", "low", "rate"), [(0.01, 0.0, 0.01), (0.01, 0.0, 0.05), (0.005, -1.0, 0.3)])
def test_the_real_detector_is_this_recursion(limit: float, low: float, rate: float) -> None:
    generator = np.random.default_rng(7)
    streams, detector = Streams(limit, low, 1.0, 1), EDetector(limit, low, 1.0)
    state = detector.start()
    for _ in range(800):
        x = float(generator.random() < rate) - (float(generator.random() < rate) if low < 0 else 0.0)
        state = detector.apply(state, detector.increment([x]))
        assert detector.log_evidence(state) == pytest.approx(
            math.log(streams.step(np.array([x]))[0]), abs=1e-9
        )


def test_flips_at_their_limit_alarm_no_more_often_than_alpha() -> None:
    count = 1500
    peak = highest(Streams(0.01, 0.0, 1.0, count), flips_at(0.01), pairs=20_000, seed=11)
    for alpha in (0.05, 0.01, 0.001):
        assert (peak >= 1 / alpha).sum() <= most(count, alpha)
    assert (peak >= 20).sum() >= count * 0.05 / 10  # a detector that never speaks would pass the above


def test_errors_at_their_limit_alarm_no_more_often_than_alpha() -> None:
    count = 1000
    draw = excess_errors(candidate=0.025, incumbent=0.02)
    peak = highest(Streams(0.005, -1.0, 1.0, count), draw, pairs=10_000, seed=12)
    for alpha in (0.05, 0.001):
        assert (peak >= 1 / alpha).sum() <= most(count, alpha)


@pytest.mark.parametrize(("level", "minimum"), [(0.95, 100), (0.99, 200)])
def test_latency_at_its_limit_alarms_no_more_often_than_alpha(level: float, minimum: int) -> None:
    """Heavy tails, the candidate exactly 1.5 times slower, the threshold estimated on the way."""
    count, pairs, ratio = 300, 4000, 1.5
    generator = np.random.default_rng(13)
    incumbent = generator.lognormal(-4, 1, (pairs, count))
    candidate = ratio * generator.lognormal(-4, 1, (pairs, count))
    x = exceedances(incumbent, candidate, ratio, level, minimum)
    streams = Streams(0.0, -1.0, 1.0, count)
    peak = np.max([streams.step(row) for row in x], axis=0)
    for alpha in (0.05, 0.001):
        assert (peak >= 1 / alpha).sum() <= most(count, alpha)
    slower = exceedances(incumbent, 2 * candidate, ratio, level, minimum)
    streams = Streams(0.0, -1.0, 1.0, count)
    peak = np.max([streams.step(row) for row in slower], axis=0)
    assert (peak >= 1000).all()


def test_the_real_running_quantile_is_the_one_simulated() -> None:
    generator = np.random.default_rng(14)
    incumbent, candidate = generator.lognormal(-4, 1, (2, 3000, 1))
    quantile = RunningQuantile(0.95, minimum=100)
    x = []
    for slow, other in zip(incumbent[:, 0], candidate[:, 0], strict=True):
        if quantile.value is not None:
            x.append(float(other > 1.5 * quantile.value) - float(slow > quantile.value))
        quantile.learn(float(slow))
    assert x == exceedances(incumbent, candidate, 1.5, 0.95, 100)[:, 0].tolist()


@pytest.mark.parametrize(("rate", "reference"), [(0.02, 2103), (0.05, 201), (0.12, 46), (0.5, 6)])
def test_the_delay_from_the_start_is_the_designs(rate: float, reference: float) -> None:
    delay = median_delay(Streams(0.01, 0.0, 1.0, 1000), rate, threshold=1000, seed=15)
    assert delay == pytest.approx(reference, rel=0.15)


@pytest.fixture(scope="module")
def healthy() -> Streams:
    """Streams after 10 000 pairs of a candidate that flips half as often as it may."""
    streams = Streams(0.01, 0.0, 1.0, 600)
    assert highest(streams, flips_at(0.005), pairs=10_000, seed=16).max() < 1000
    return streams


@pytest.mark.parametrize(("rate", "reference"), [(0.02, 4544), (0.05, 486), (0.12, 101), (0.5, 14)])
def test_the_delay_after_a_healthy_past_is_the_designs(
    healthy: Streams, rate: float, reference: float
) -> None:
    delay = median_delay(healthy.copy(), rate, threshold=1000, seed=17)
    assert delay == pytest.approx(reference, rel=0.2)


def test_one_vote_per_unit_keeps_the_promise_that_bursts_break() -> None:
    """A unit sends 20 pairs within seconds, all alike; 1 % of the units flip, as they may."""
    count, units, burst, alpha = 600, 400, 20, 0.05
    votes = Votes(window=600.0)
    counted = np.zeros(units * burst, dtype=bool)
    for pair in range(units * burst):
        unit, now = 1 + pair // burst, 0.1 * pair
        counted[pair] = votes.has_vote(unit, now)
        votes.cast(unit, now)
    flips = (np.random.default_rng(18).random((units, count)) < 0.01).astype(float).repeat(burst, axis=0)
    every, one = Streams(0.01, 0.0, 1.0, count), Streams(0.01, 0.0, 1.0, count)
    alarms_of_every = (np.max([every.step(x) for x in flips], axis=0) >= 1 / alpha).sum()
    alarms_of_one = (np.max([one.step(x) for x in flips[counted]], axis=0) >= 1 / alpha).sum()
    assert counted.sum() == units
    assert alarms_of_one <= most(count, alpha)
    assert alarms_of_every > 5 * most(count, alpha)
