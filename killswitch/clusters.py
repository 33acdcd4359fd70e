"""Whether votes repeat one another: a warning sign that the false-alarm rate does not hold.

The evidence needs that each vote is a new witness. Two ways in which votes may be none are measured, in
bounded memory: how much two votes of the same unit agree (the intraclass correlation, from a unit's
successive votes), and how much a vote agrees with the one before it, whoever cast it. Independent votes have
a correlation of 0 in both, however often they flip. It decides nothing.

Source. Fisher, Statistical Methods for Research Workers, 1925, chapter VII (intraclass correlation); Kish,
Survey Sampling, 1965 (the design effect 1 + (m − 1)ρ).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from killswitch.evidence import Floats

MOST_UNITS = 4096
SAMPLED = 4
ENOUGH = 200
"""Twice seen units, or neighbours, before a correlation is shown."""

STRIKING = 0.1


@dataclass(slots=True)
class Agreement:
    """The correlation between the two numbers of many couples, both of which vary around one mean."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    def take(self, one: Floats, other: Floats) -> None:
        """Couples: the first numbers and the second ones, both of shape (n,)."""
        self.count += len(one)
        self.total += float(one.sum() + other.sum())
        self.squares += float(one @ one + other @ other)
        self.products += float(one @ other)

    @property
    def correlation(self) -> float | None:
        """In [−1, 1]; None when too little is known, or nothing varies."""
        if self.count < ENOUGH:
            return None
        mean = self.total / (2 * self.count)
        variance = self.squares / (2 * self.count) - mean * mean
        if not variance > 1e-12:
            return None
        return max(-1.0, min(1.0, (self.products / self.count - mean * mean) / variance))

    @property
    def striking(self) -> bool:
        """Whether it is too large for chance: more than STRIKING, and five standard errors."""
        found = self.correlation
        return found is not None and found > max(STRIKING, 5 / math.sqrt(self.count))


@dataclass(frozen=True, slots=True)
class Clustering:
    """What was found.

    `within_unit` and `neighbours` are correlations, None while unknown; `per_unit` is how many votes a unit
    that votes has; `warnings` are for people.
    """

    within_unit: float | None
    neighbours: float | None
    per_unit: float
    warnings: tuple[str, ...]


class Clusters:
    """The two correlations.

    Of all units one in SAMPLED is followed (units are digests, so this is a fair sample), and at most
    MOST_UNITS are remembered, the latest.
    """

    def __init__(self) -> None:
        self.within_unit = Agreement()
        self.neighbours = Agreement()
        self._last: OrderedDict[int, float] = OrderedDict()
        self._before: float | None = None
        self._votes = 0
        self._units = 0

    def take(self, units: Sequence[int], values: Sequence[float]) -> None:
        """The votes of a batch, in order: whose each is (0: of nobody known), and its number."""
        if not values:
            return
        row = np.array(values if self._before is None else [self._before, *values], dtype=np.float64)
        self.neighbours.take(row[:-1], row[1:])
        self._before = float(row[-1])
        last = self._last
        couples: list[tuple[float, float]] = []
        for index in [index for index, unit in enumerate(units) if unit and not unit % SAMPLED]:
            unit, value = units[index], float(values[index])
            self._votes += 1
            earlier = last.get(unit)
            if earlier is None:
                self._units += 1
            else:
                couples.append((earlier, value))
            last[unit] = value
        while len(last) > MOST_UNITS:
            last.popitem(last=False)
        if couples:
            self.within_unit.take(*np.array(couples).T)

    def found(self, *, every_pair_votes: bool, block: int) -> Clustering:
        """What was found, for a vote rule."""
        per_unit = self._votes / self._units if self._units else 0.0
        warnings = []
        if self.within_unit.striking:
            way_out = "use 'vote: {per: unit}'" if every_pair_votes else "choose a longer vote.window"
            warnings.append(
                f"votes of the same unit agree (correlation {self.within_unit.correlation:.2f}, "
                f"{per_unit:.1f} votes a unit): the false-alarm rate does not hold; {way_out}"
            )
        elif self.neighbours.striking and block == 1:
            warnings.append(
                f"votes agree with the ones before them (correlation {self.neighbours.correlation:.2f}): "
                "bursts of like requests raise the false-alarm rate; set vote.block to five bursts"
            )
        return Clustering(
            self.within_unit.correlation, self.neighbours.correlation, per_unit, tuple(warnings)
        )
