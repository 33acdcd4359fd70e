"""The names of a record's cohorts, bounded: what clients send must not make figures without end. Pure.

A header's values are told apart in the order of their appearance, MOST_COHORTS of one endpoint; all others
are counted together. A feature's values are put into ranges, cut at the quantiles of the first LEARNED of
them; until then they are one cohort.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

MOST_COHORTS = 64
LONGEST = 100
LEARNED = 256
RANGES = 8
OTHER, MISSING, NOT_CUT = "(other)", "(none)", "(any)"
_FEATURE = "feature:"


class Cohorts(msgspec.Struct):
    """What is known of one endpoint's cohorts.

    `names` in their order of appearance; by source, `edges` of the ranges, and the `first` values while they
    are not cut. `changed`: something was learned since it was read.
    """

    names: dict[str, None] = msgspec.field(default_factory=dict)
    edges: dict[str, list[float]] = msgspec.field(default_factory=dict)
    first: dict[str, list[float]] = msgspec.field(default_factory=dict)
    changed: bool = False

    def named(self, sources: Sequence[str], values: Sequence[str | None]) -> list[str]:
        """The cohorts that a record with these values is in."""
        found = []
        for source, value in zip(sources, values, strict=False):
            ranged = source.startswith(_FEATURE)
            name = self._range(source, value) if ranged else f"{source}={MISSING if value is None else value}"
            if name not in self.names:
                if len(self.names) >= MOST_COHORTS or len(name) > len(source) + 1 + LONGEST:
                    name = f"{source}={OTHER}"
                else:
                    self.names[name] = None
                    self.changed = True
            found.append(name)
        return found

    def _range(self, source: str, value: str | None) -> str:
        number = _number(value)
        if number is None:
            return f"{source}={MISSING if value is None else value}"
        edges = self.edges.get(source)
        if edges is None:
            first = self.first.setdefault(source, [])
            first.append(number)
            self.changed = True
            if len(first) < LEARNED:
                return f"{source} {NOT_CUT}"
            edges = self.edges[source] = _cuts(first)
            del self.first[source]
        place = int(np.searchsorted(edges, number))
        if not edges:
            return f"{source} {NOT_CUT}"
        if place == 0:
            return f"{source} ≤ {edges[0]:.4g}"
        if place == len(edges):
            return f"{source} > {edges[-1]:.4g}"
        return f"{source} {edges[place - 1]:.4g} to {edges[place]:.4g}"


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _cuts(values: Sequence[float]) -> list[float]:
    """At most RANGES − 1 cuts that part the values into like many; none above the largest."""
    inner = np.quantile(values, np.arange(1, RANGES) / RANGES, method="inverted_cdf")
    found: list[float] = np.unique(inner[inner < max(values)]).tolist()
    return found
