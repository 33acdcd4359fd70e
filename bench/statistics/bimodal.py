"""A candidate that gives one user in a hundred another user's prediction, and all others the right one.

Its predictions have the mean, the variance and every percentile of the incumbent's. Whoever compares how the
arms behave on the whole sees no difference at any time; whoever compares pair by pair sees flips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.statistics.streams import Floats, RareStreams

SHARE = 0.01
LIMIT = 0.002
ALPHA = 0.001
FLIPS_BEYOND = 0.1
"""A difference beyond it is a flip; predictions have a standard deviation of about 2."""


@dataclass(frozen=True, slots=True)
class Caught:
    """The shares of streams that alarmed, and the guard's median of pairs until then."""

    by_flips: float
    by_mean: float
    median: float


def predictions(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Of the incumbent, skewed as demand and rain are."""
    return generator.lognormal(0.0, 1.0, shape)


def caught(streams: int, pairs: int, seed: int) -> Caught:
    """Watched by the flips guard, and by an always valid test of the mean difference (mSPRT, normal)."""
    generator = np.random.default_rng(seed)
    guard = RareStreams(LIMIT, 0.0, 1.0, streams)
    waited = np.full(streams, np.inf)
    total, squares = np.zeros(streams), np.zeros(streams)
    doubted = np.zeros(streams, dtype=bool)
    for pair in range(1, pairs + 1):
        incumbent = predictions(generator, (streams,))
        candidate = incumbent.copy()
        garbage = np.flatnonzero(generator.random(streams) < SHARE)
        candidate[garbage] = predictions(generator, (len(garbage),))
        where = garbage[np.abs(candidate - incumbent)[garbage] > FLIPS_BEYOND]
        crossed = where[guard.step(where, 1.0) >= 1 / ALPHA]
        waited[crossed] = np.minimum(waited[crossed], pair)
        difference = candidate - incumbent
        total += difference
        squares += difference**2
        if pair % 100 == 0:
            doubted |= _mean_differs(total, squares, pair)
    return Caught(float(np.isfinite(waited).mean()), float(doubted.mean()), float(np.median(waited)))


def _mean_differs(total: Floats, squares: Floats, pairs: int) -> np.typing.NDArray[np.bool_]:
    """mSPRT with the variance estimated, mixing over means with the differences' own standard deviation."""
    variance = np.maximum(squares / pairs - (total / pairs) ** 2, 1e-12)
    ratio = -0.5 * math.log1p(pairs) + pairs * (total / pairs) ** 2 / variance * pairs / (2 * (1 + pairs))
    differs: np.typing.NDArray[np.bool_] = ratio >= math.log(1 / ALPHA)
    return differs
