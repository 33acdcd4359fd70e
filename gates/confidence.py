"""How sure a measurement is: bounds for rates, quantiles and scores from a sample of fixed size.

A gate looks once, when all is measured, so the bounds here need not hold at every look (the guards' do).

* Rates: Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of the
  binomial", Biometrika 1934. Exact: never more than `error` on either side, for every n.
* Differences of two rates on the same rows: what changed for the better and for the worse are two rates, each
  bounded with half of the error. Exact, and a little wide.
* Quantiles: order statistics. How many of n values lie below the true quantile is binomial, whatever their
  distribution (David & Nagaraja, "Order Statistics", 2003, section 7.1).
* Any other score: the paired percentile bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap",
  1993, chapter 13). Rows are drawn once for both versions, so what is hard about a row cancels out. It is
  approximate, and says nothing on few rows: `FEWEST_ROWS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FEWEST_BEYOND = 20
"""Resamples that lie beyond either bound: fewer of them would make a bound a matter of luck."""

FEWEST_ROWS = 100
"""Below that a bootstrap's bounds are too narrow to be believed."""

_HALVINGS = 40

Indices = NDArray[np.intp]


def rate_bounds(count: int, of: int, error: float) -> tuple[float, float]:
    """Between which bounds a rate lies that was seen `count` times `of`; `error` on each side.

    >>> low, high = rate_bounds(0, 299, 0.05)
    >>> low, round(high, 4)
    (0.0, 0.01)
    """
    if not 0 <= count <= of or of < 1:
        raise ValueError(f"{count} of {of} is no rate")
    low = 0.0 if count == 0 else _edge(lambda p: _tail(of, count - 1, p) >= 1.0 - error)
    high = 1.0 if count == of else _edge(lambda p: _tail(of, count, p) > error)
    return low, high


def difference_bounds(better: int, worse: int, of: int, error: float) -> tuple[float, float]:
    """Bounds of P(better) − P(worse) on `of` paired rows; `error` on each side."""
    up_low, up_high = rate_bounds(better, of, error / 2)
    down_low, down_high = rate_bounds(worse, of, error / 2)
    return up_low - down_high, up_high - down_low


def quantile_bounds(ordered: NDArray[np.float64], share: float, error: float) -> tuple[float, float]:
    """Bounds of the quantile `share` of what `ordered` (ascending) was drawn from; `error` on each side.

    The lower is 0 and the upper infinite where there are too few values to say.
    """
    count = len(ordered)
    below = _cumulative(count, share)
    low = int(np.searchsorted(below, error, side="right"))  # P(fewer than `low` below) <= error
    high = int(np.searchsorted(below, 1.0 - error, side="left")) + 1  # P(`high` or more below) <= error
    return (
        float(ordered[low - 1]) if low >= 1 else 0.0,
        float(ordered[high - 1]) if high <= count else math.inf,
    )


def bootstrap_bounds(
    score: Callable[[Indices], float], rows: int, error: float, seed: int
) -> tuple[float, float]:
    """Bounds of `score`, which is worked out for rows drawn with replacement; `error` on each side.

    The same `seed` gives the same bounds. Raises ValueError when more than one resample in a hundred has no
    score (NaN), as where one class is very rare.
    """
    draw = np.random.default_rng(seed)
    resamples = math.ceil(FEWEST_BEYOND / error)
    scores = np.array([score(draw.integers(0, rows, rows)) for _ in range(resamples)])
    known = scores[~np.isnan(scores)]
    if len(known) < 0.99 * resamples:
        raise ValueError(f"{resamples - len(known)} of {resamples} resamples have no score")
    low, high = np.quantile(known, (error, 1.0 - error), method="inverted_cdf")
    return float(low), float(high)


def _tail(of: int, count: int, p: float) -> float:
    """P(at most `count` of `of`) where each has probability `p`."""
    return float(_cumulative(of, p, count)[-1])


def _cumulative(of: int, p: float, most: int | None = None) -> NDArray[np.float64]:
    """P(at most i of `of`) for i = 0 … `most`, by logarithms, so that no n is too large."""
    most = of if most is None else most
    numbers = np.arange(1, most + 1, dtype=np.float64)
    logs = np.concatenate(([0.0], np.cumsum(np.log((of - numbers + 1) / numbers))))
    steps = np.arange(0, most + 1, dtype=np.float64)
    with np.errstate(divide="ignore"):
        terms = logs + steps * math.log(p) + (of - steps) * math.log1p(-p)
    found: NDArray[np.float64] = np.minimum(np.cumsum(np.exp(terms)), 1.0)
    return found


def _edge(holds: Callable[[float], bool]) -> float:
    """The largest p in (0, 1) for which `holds`, which is true below it and false above."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
