"""How far two distributions are apart, and how sure that is.

All take shares of the same cells, each of shape (cells,) and summing to 1. Total variation is what decides:
it is bounded, it needs no smoothing, and a sample's has known bounds. The others are shown beside it, because
people know them: the population stability index weighs rare cells heavily and is noise below some hundreds of
rows, so it is told only above PSI_FROM; the Wasserstein distance is the only one that says how far the
numbers moved, not just that they did.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PSI_FROM = 500
"""Rows from which on the population stability index is told."""

_LEAST_SHARE = 1e-4
"""What an empty cell counts as, so that the index is finite."""


class Bounds(NamedTuple):
    """An estimate of a total variation, and what it is between but for a chance that was agreed on."""

    estimate: float
    low: float
    high: float


def total_variation(first: Floats, second: Floats) -> float:
    """Half the sum of the absolute differences, in [0, 1]: the share of rows that would have to move.

    >>> total_variation(np.array([0.5, 0.5]), np.array([0.75, 0.25]))
    0.25
    """
    return float(np.abs(first - second).sum() / 2)


def bounded_variation(first: Floats, second: Floats, rows: tuple[int, int], misjudged: float) -> Bounds:
    """The total variation of what two samples of `rows` were drawn from, bounded on both sides.

    A sample's is too high by chance, the more so the more cells there are:

        TV ≤ T̂ + ε,   TV ≥ T̂ − ε − ½√((B−1)/n) − ½√((B−1)/m),   ε = √(½ ln(1/δ) (1/n + 1/m))

    (McDiarmid 1989 for ε; Jensen for the rest: T̂ is convex, and E|p̂ − p| ≤ √(p(1−p)/n)). Either side is
    wrong with a chance of `misjudged` (δ) at most, for rows drawn independently and cells fixed beforehand.
    """
    estimate = total_variation(first, second)
    if min(rows) < 1:
        return Bounds(estimate, 0.0, 1.0)
    slack = math.sqrt(0.5 * math.log(1.0 / misjudged) * (1.0 / rows[0] + 1.0 / rows[1]))
    cells = len(first)
    chance = 0.5 * math.sqrt(cells - 1) * (1.0 / math.sqrt(rows[0]) + 1.0 / math.sqrt(rows[1]))
    return Bounds(estimate, max(0.0, estimate - slack - chance), min(1.0, estimate + slack))


def stability_index(reference: Floats, recent: Floats) -> float:
    """The population stability index Σ (q − p) ln(q / p), the symmetric Kullback-Leibler divergence.

    Empty cells count as a share of 0.0001. By custom 0.1 is watched and 0.25 acted upon (Siddiqi 2006,
    "Credit Risk Scorecards"); without any drift it is about (B−1)(1/n + 1/m) on average (Yurdakul 2018).
    """
    first, second = np.maximum(reference, _LEAST_SHARE), np.maximum(recent, _LEAST_SHARE)
    return float(((second - first) * np.log(second / first)).sum())


def wasserstein(places: Floats, weights: Floats, other_places: Floats, other_weights: Floats) -> float:
    """The first Wasserstein distance of two distributions on a line, ∫|F − G| (Vallender 1974).

    `weights` stand at `places`, all of shape (n,), and sum to 1, as the others of shape (m,) do; in the
    places' own unit.

    >>> one = np.ones(1)
    >>> wasserstein(np.zeros(1), one, np.array([2.0]), one)
    2.0
    """
    every = np.concatenate([places, other_places])
    mass = np.concatenate([weights, -other_weights])
    order = np.argsort(every, kind="stable")
    apart = np.abs(np.cumsum(mass[order]))[:-1]
    return float((apart * np.diff(every[order])).sum())
