"""What guards are fed: x of every signal for many streams at once, at its limit or inside.

A draw answers the votes of `count` pairs in `streams` streams, of shape (count, streams). It may remember:
every stream is asked from its first pair on, in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.statistics.streams import Floats, Truth

Draw = Callable[[np.random.Generator, int, int], Floats]

WITHIN = 0.8
"""A user's answers are alike with this probability, where traffic is said to be clustered."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the guard is to judge: the mean of x in [low, high] is at most `limit`."""

    limit: float
    low: float
    high: float
    two_sided: bool = False


def _difference(one: Truth, other: Truth) -> Floats:
    x: Floats = one.astype(np.float64) - other
    return x


def flips(rate: float) -> Draw:
    """1 at `rate`."""
    return lambda generator, count, streams: (generator.random((count, streams)) < rate).astype(float)


def scores(mean: float) -> Draw:
    """Divergences of `mean`, most of them near 0 and some near 1: Beta with a standard deviation near it."""
    return lambda generator, count, streams: generator.beta(4 * mean, 4 * (1 - mean), (count, streams))


def batches(rate: float, rows: int) -> Draw:
    """The share of flips in batches of `rows`, whose rows flip together: each batch has a rate of its own."""

    def draw(generator: np.random.Generator, count: int, streams: int) -> Floats:
        own = generator.beta(rate, 1 - rate, (count, streams))
        flipped: Floats = generator.binomial(rows, own) / rows
        return flipped

    return draw


def bursts(rate: float, length: int, every: int = 1) -> Draw:
    """Flips of units that send `length` pairs in a row; a unit's are alike with a probability of 80 %.

    Of each unit one in `every` votes.
    """

    def draw(generator: np.random.Generator, count: int, streams: int) -> Floats:
        units = -(-count * every // length)
        unit = (generator.random((units, streams)) < rate).repeat(length, axis=0)
        alike = generator.random(unit.shape) < WITHIN
        pairs = np.where(alike, unit, generator.random(unit.shape) < rate).astype(float)
        return pairs[::every][:count]

    return draw


def blocks(rate: float, length: int, size: int) -> Draw:
    """Means of `size` flips in a row, which come in bursts of `length` of nobody known, at any phase."""

    def draw(generator: np.random.Generator, count: int, streams: int) -> Floats:
        pairs = bursts(rate, length)(generator, count * size + length, streams)
        begin = int(generator.integers(length))
        means: Floats = pairs[begin : begin + count * size].reshape(count, size, streams).mean(axis=1)
        return means

    return draw


def excess_errors(incumbent: float, excess: float, shared: float) -> Draw:
    """err_c − err_i: the candidate fails at `incumbent + excess`; both fail together at `shared`."""

    def draw(generator: np.random.Generator, count: int, streams: int) -> Floats:
        luck = generator.random((count, streams))
        alone = incumbent - shared
        mine = luck < alone + excess
        return _difference(mine, ~mine & (luck < 2 * alone + excess))

    return draw


def noise_corrected_flips(excess: float) -> Draw:
    """flip(c, i) − flip(i, i′) of a model that contradicts itself on 0 to 32 % of the requests.

    Of two answers each deviates with a probability d that the request brings along, so the incumbent flips
    against itself with 2d(1 − d). The candidate deviates more, by so much that the mean is `excess`.
    """

    def draw(generator: np.random.Generator, count: int, streams: int) -> Floats:
        shape = (count, streams)
        d = generator.choice(np.array([0.0, 0.05, 0.1, 0.2]), shape)
        incumbent, repeat = generator.random(shape) < d, generator.random(shape) < d
        candidate = generator.random(shape) < d + excess / (1 - 2 * d)
        return _difference(candidate != incumbent, incumbent != repeat)

    return draw


def shifts(mean: float) -> Draw:
    """Differences of confidence around `mean`, triangular and never cut off."""

    def draw(generator: np.random.Generator, count: int, streams: int) -> Floats:
        width = 0.1 - abs(mean)
        return mean + width * (generator.random((count, streams)) - generator.random((count, streams)))

    return draw


class Classes:
    """x = 1{c ∈ A} − 1{i ∈ A}, with A the classes that the candidate was seen to predict too often.

    Ten classes; `moved` of the candidate's predictions go from the first to the last, which is the total
    variation. The arms agree on most requests, as two versions do.
    """

    def __init__(self, moved: float, streams: int, classes: int = 10) -> None:
        self._moved = moved
        self._excess = np.zeros((streams, classes))
        self._rows = np.arange(streams)

    def __call__(self, generator: np.random.Generator, count: int, streams: int) -> Floats:
        classes = self._excess.shape[1]
        incumbent = generator.integers(0, classes, (count, streams))
        other = generator.integers(0, classes, (count, streams))
        candidate = np.where(generator.random((count, streams)) < 0.1, other, incumbent)
        # Of all predictions of the first class, whose share is 1/classes, this part moves.
        moves = (candidate == 0) & (generator.random((count, streams)) < self._moved * classes)
        candidate[moves] = classes - 1
        x = np.empty((count, streams))
        for at in range(count):
            mine, theirs = candidate[at], incumbent[at]
            over = self._excess > 0
            x[at] = _difference(over[self._rows, mine], over[self._rows, theirs])
            self._excess[self._rows, mine] += 1
            self._excess[self._rows, theirs] -= 1
        return x


class Bins:
    """x = 1{bin ∈ A} − q(A) for ten bins of equal shares q; `moved` goes from the first to the last."""

    def __init__(self, moved: float, streams: int, bins: int = 10) -> None:
        self._moved = moved
        self._excess = np.zeros((streams, bins))
        self._rows = np.arange(streams)

    def __call__(self, generator: np.random.Generator, count: int, streams: int) -> Floats:
        bins = self._excess.shape[1]
        value = generator.integers(0, bins, (count, streams))
        moves = (value == 0) & (generator.random((count, streams)) < self._moved * bins)
        value[moves] = bins - 1
        x = np.empty((count, streams))
        for at in range(count):
            over = self._excess > 0
            x[at] = over[self._rows, value[at]] - over.mean(axis=1)
            self._excess -= 1 / bins
            self._excess[self._rows, value[at]] += 1
        return x


class Exceedances:
    """x = 1{L_c > r·q̂} − 1{L_i > q̂} of log-normal latencies; q̂ is of the last 2000 of the incumbent.

    The candidate is exactly `slower` times slower. As the guard, it is silent until `minimum` latencies are
    known, and learns after a batch, here of 50 pairs.
    """

    def __init__(self, ratio: float, slower: float, level: float, minimum: int, streams: int) -> None:
        self._ratio = ratio
        self._slower = slower
        self._level = level
        self._minimum = minimum
        self._known: Floats = np.zeros((0, streams))

    def __call__(self, generator: np.random.Generator, count: int, streams: int) -> Floats:
        x = [self._batch(generator, min(50, count - start), streams) for start in range(0, count, 50)]
        return np.concatenate(x)

    def _batch(self, generator: np.random.Generator, count: int, streams: int) -> Floats:
        incumbent = generator.lognormal(-4, 1, (count, streams))
        candidate = self._slower * generator.lognormal(-4, 1, (count, streams))
        held = self._known
        self._known = np.concatenate([held, incumbent])[-2000:]
        if len(held) < self._minimum:
            return np.zeros((0, streams))
        rank = math.ceil(self._level * len(held)) - 1
        quantile = np.partition(held, rank, axis=0)[rank]
        return _difference(candidate > self._ratio * quantile, incumbent > quantile)
