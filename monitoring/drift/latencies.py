"""Latency by slice: which cohorts, and which ranges of which feature, are slow.

A latency falls into a bin of a fixed geometric grid, so that any quantile is known to within a factor of
√GROWTH, whatever the tail does, and merging is adding (the sketch of Masson, Rim & Lee 2019, DDSketch, with a
grid that is fixed beforehand). A slice is slow when certainly more than 10 % of its requests are
beyond the 95 % quantile of all others, which is twice what is to be expected: by the lower end of Wilson's
interval (1927) at 99.9 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from monitoring.drift.profile import Floats, Whole

SHORTEST = 1e-5
"""Seconds; what is shorter is in the first bin."""
GROWTH = 1.2
GRID = 100
"""Bins: up to 800 seconds."""

MOST_VALUES = 32
"""Values of one cohort that are told apart; the others are `OTHER`."""
OTHER = "other"
EVERY = ("", "")
"""The slice of all requests."""
SLOW = 0.1
_WILSON = 3.09
"""Standard deviations: 99.9 % on one side."""

Slice = tuple[str, str]
"""By what it is made, such as `header:x-country` or `feature:age`, and its value or cell."""


class Slow(NamedTuple):
    """One slice: how many requests, their latency (seconds), the share beyond the others' 95 % quantile.

    `certain` is the share's lower bound; `slow` says whether that is more than SLOW.
    """

    slice: Slice
    rows: int
    p50: float
    p95: float
    p99: float
    beyond: float
    certain: float

    @property
    def slow(self) -> bool:
        return self.certain > SLOW


class Latencies:
    """Counts by slice, each of shape (GRID,)."""

    def __init__(self) -> None:
        self.counts: dict[Slice, Whole] = {}

    def take(self, by: str, values: Sequence[str], seconds: Floats) -> None:
        """Requests with these latencies, of shape (n,), sliced by `by` at these `values`."""
        bins = grid(seconds)
        places: dict[str, list[int]] = {}
        for at, value in enumerate(values):
            places.setdefault(value, []).append(at)
        for value, chosen in places.items():
            self._add((by, value), np.bincount(bins[chosen], minlength=GRID))

    def add(self, other: Latencies) -> None:
        """All that is in `other`."""
        for one, counts in other.counts.items():
            self._add(one, counts)

    def slices(self) -> list[Slow]:
        """Every slice, the certainly slowest first; all requests are the first of all."""
        every = self.counts.get(EVERY)
        if every is None or not every.sum():
            return []
        found = [_slow(one, counts, every - counts) for one, counts in self.counts.items() if one != EVERY]
        found.sort(key=lambda one: (-one.certain, -one.beyond, one.slice))
        return [_slow(EVERY, every, every - every), *found]

    def _add(self, one: Slice, counts: Whole) -> None:
        mine = self.counts.get(one)
        if mine is None:
            by = one[0]
            told = sum(other[0] == by for other in self.counts)
            if by != "" and told >= MOST_VALUES and one != (by, OTHER):
                self._add((by, OTHER), counts)
                return
            self.counts[one] = counts.astype(np.int64)
        else:
            mine += counts

    def keep(self) -> list[tuple[str, str, list[tuple[int, int]]]]:
        """Every slice with the bins that hold something, for `restored`."""
        return [
            (by, value, [(int(at), int(counts[at])) for at in np.flatnonzero(counts)])
            for (by, value), counts in self.counts.items()
        ]


def restored(kept: Iterable[tuple[str, str, list[tuple[int, int]]]]) -> Latencies:
    """What was kept. Raises ValueError for a bin outside of the grid."""
    found = Latencies()
    for by, value, filled in kept:
        counts = np.zeros(GRID, dtype=np.int64)
        for at, count in filled:
            if not 0 <= at < GRID:
                raise ValueError(f"latency bin {at} is not one of {GRID}")
            counts[at] = count
        found.counts[by, value] = counts
    return found


def grid(seconds: Floats) -> Whole:
    """The bin of each latency; what is no number is the longest."""
    known = np.nan_to_num(seconds, nan=math.inf, posinf=1e12, neginf=0.0)
    places = np.ceil(np.log(np.maximum(known, SHORTEST) / SHORTEST) / math.log(GROWTH))
    return np.clip(places, 0, GRID - 1).astype(np.int64)


def quantile(counts: Whole, share: float) -> float:
    """Seconds that `share` of the requests take at most, to within a factor of √GROWTH; 0 for none."""
    if not counts.sum():
        return 0.0
    return float(SHORTEST * GROWTH ** (_bin(counts, share) - 0.5))


def _bin(counts: Whole, share: float) -> int:
    return int(np.searchsorted(np.cumsum(counts), share * counts.sum()))


def _slow(one: Slice, counts: Whole, others: Whole) -> Slow:
    rows = int(counts.sum())
    edge = _bin(others, 0.95) if others.sum() > 0 else GRID
    beyond = float(counts[edge + 1 :].sum()) / max(1, rows)
    p50, p95, p99 = (quantile(counts, share) for share in (0.5, 0.95, 0.99))
    return Slow(one, rows, p50, p95, p99, beyond, lower_bound(beyond, rows))


def lower_bound(share: float, rows: int) -> float:
    """The lower end of Wilson's interval for a share that was seen in so many rows."""
    if not rows:
        return 0.0
    square = _WILSON**2
    middle = share + square / (2 * rows)
    spread = _WILSON * math.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
    return max(0.0, (middle - spread) / (1 + square / rows))
