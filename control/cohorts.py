"""In which cohorts divergence concentrates: by header, by feature, by how long the candidate took.

The problem. A candidate that goes wrong rarely goes wrong for everybody: for one country, for old people, for
answers that were cut short. An operator wants that cohort named. But among hundreds of cohorts the highest
rate belongs to a small one that was unlucky, whatever the candidate does.

The idea. Cohorts are ranked by what is *certain* of them: the lower bound of their own mean less the upper
bound of the mean of everybody else. Both bounds hold at every look and for all cohorts at once (error 5 %
for ever, in equal parts), so a cohort is called certain only when its interval lies above that of the rest,
and one with few witnesses cannot win by luck: its interval is as wide as that luck. What ranks below zero is
a hint. For the bounds see `comparators.path_noise`: the mixture of likelihood ratios is a supermartingale for
every x in [0, 1], not only for 0 and 1, because its factors are convex in x.

What is measured: flips where flips are guarded, else the divergence, with an answer that only the candidate
failed to give counted as 1. Where the incumbent is asked twice it is what exceeds the incumbent's own noise.
As for the guards, a unit speaks once in a window, and a batch of rows with its mean.

Ranges are cut at the quantiles of the first `LEARNED` values. Memory is bounded: `MOST_VALUES` values of a
header are told apart, in their order of appearance, and all others counted together.

Sources. Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical
Statistics 1970 (the bounds); Chung, Kraska, Polyzotis, Tae & Whang, "Slice Finder: Automated data slicing for
model validation", ICDE 2019 (slices of a model's input ranked by effect and evidence).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from comparators.path_noise import interval
from control.compared import Columns
from domain.observation import Divergence, Pair, RowFinding
from killswitch.columns import JudgedPair
from killswitch.votes import Votes
from settings.schema import CohortKind, CohortSource

MOST_VALUES = 64
LONGEST_VALUE = 100
OTHER = "(other)"
MISSING = "(none)"
BINS = 8
LEARNED = 256
"""Values from which a range's cuts are learned."""

ERROR = 0.05
LATENCY = "latency"
_MOST_UNITS = 20_000
_EXAMINED = 64
"""Cohorts whose bounds are worked out: of those above the rest, the ones that look worst."""

Floats = npt.NDArray[np.float64]


class CohortFinding(NamedTuple):
    """One cohort against everybody else.

    `mean` of `votes` votes lies above `low`, `rest` below `rest_high`; `excess` is the difference of these
    bounds: above 0 it is certain that divergence concentrates here.
    """

    cohort: str
    votes: int
    mean: float
    rest: float
    low: float
    rest_high: float
    excess: float

    @property
    def certain(self) -> bool:
        return self.excess > 0


Cell = tuple[int, float, float]
"""Of a cohort's votes: how many, their sum, and the sum of their absolute values."""

NO_VOTES: Cell = (0, 0.0, 0.0)


class KeptDimension(msgspec.Struct, frozen=True, array_like=True):
    """What survives a restart of one dimension: cells by name, or by bin with the cuts between them."""

    cells: dict[str, Cell]
    edges: list[float] | None = None


class Dimension:
    """Votes by cohort along one dimension."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cells: dict[str, Cell] = {}

    def add(self, cohort: str, count: int, total: float, absolute: float) -> None:
        """Votes by their number and sums."""
        before = self.cells.get(cohort, NO_VOTES)
        self.cells[cohort] = before[0] + count, before[1] + total, before[2] + absolute

    def label(self, cohort: str) -> str:
        """The cohort's whole name."""
        return f"{self.name}={cohort}"

    def keep(self) -> KeptDimension:
        return KeptDimension(self.cells)

    def restore(self, kept: KeptDimension) -> None:
        self.cells = dict(kept.cells)


class Values(Dimension):
    """A header: a cohort a value."""

    def take(self, values: Sequence[str | None], x: Sequence[float]) -> None:
        for value, one in zip(values, x, strict=True):
            self.add(self.cohort(value), 1, one, abs(one))

    def cohort(self, value: str | None) -> str:
        """The cohort of `value`."""
        if value is None:
            return MISSING
        if value in self.cells:
            return value
        return value if len(self.cells) < MOST_VALUES and len(value) <= LONGEST_VALUE else OTHER


class Ranges(Dimension):
    """A number: a cohort a range between two quantiles. `unit` is written behind the numbers."""

    def __init__(self, name: str, unit: str = "", scale: float = 1.0) -> None:
        super().__init__(name)
        self.edges: Floats | None = None
        self._unit = unit
        self._scale = scale
        self._first: list[tuple[float, float]] = []

    def take(self, values: Floats, x: Floats) -> None:
        """Votes `x` of requests with these values, NaN for none."""
        if self.edges is None:
            self._first += zip(values.tolist(), x.tolist(), strict=True)
            if len(self._first) < LEARNED:
                return
            values, x = (np.array(column) for column in zip(*self._first, strict=True))
            self._first = []
            self.edges = _cuts(values[np.isfinite(values)])
        bins = self._bins(values)
        counts, totals, absolutes = (np.bincount(bins, weights) for weights in (None, x, np.abs(x)))
        for place in np.flatnonzero(counts).tolist():
            self.add(str(place), int(counts[place]), float(totals[place]), float(absolutes[place]))

    def take_rows(self, values: Floats, x: Floats) -> None:
        """One pair of several rows: a vote in each range that a row lies in, their mean there."""
        if self.edges is None:
            self.take(values[:1], x[:1])
            return
        bins = self._bins(values)
        counts = np.bincount(bins)
        totals = np.bincount(bins, weights=x)
        for place in np.flatnonzero(counts).tolist():
            mean = float(totals[place] / counts[place])
            self.add(str(place), 1, mean, abs(mean))

    def cohort(self, value: float) -> str | None:
        """The name of the range that `value` lies in; None while the ranges are not known."""
        if self.edges is None:
            return None
        return self.label(str(int(self._bins(np.array([value]))[0])))

    def label(self, cohort: str) -> str:
        edges, place = self.edges, int(cohort)
        if edges is None or place > len(edges):
            return f"{self.name} {MISSING}"
        low, high = (self._written(place - 1), self._written(place))
        if not len(edges):
            return f"{self.name} any"
        if place == 0:
            return f"{self.name} ≤ {high}{self._unit}"
        if place == len(edges):
            return f"{self.name} > {low}{self._unit}"
        return f"{self.name} {low} to {high}{self._unit}"

    def keep(self) -> KeptDimension:
        return KeptDimension(self.cells, None if self.edges is None else self.edges.tolist())

    def restore(self, kept: KeptDimension) -> None:
        super().restore(kept)
        self.edges = None if kept.edges is None else np.array(kept.edges, dtype=np.float64)

    def _bins(self, values: Floats) -> npt.NDArray[np.int64]:
        edges = self.edges if self.edges is not None else np.zeros(0)
        return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values))

    def _written(self, place: int) -> str:
        edges = self.edges
        if edges is None or not 0 <= place < len(edges):
            return ""
        return f"{edges[place] * self._scale:.4g}"


class Cohorts:
    """The dimensions of one endpoint.

    `flips`: flips are measured, else the divergence; `noisy`: less the incumbent's own. `window`: seconds in
    which a unit has one vote; 0 lets every pair vote.
    """

    def __init__(
        self,
        sources: Sequence[CohortSource] = (),
        *,
        flips: bool = True,
        noisy: bool = False,
        window: float = 0,
    ) -> None:
        self.flips = flips
        self.noisy = noisy
        self._sources = tuple(sources)
        self.headers = [Values(str(one)) for one in sources if one.kind is CohortKind.HEADER]
        self.features = {one.name: Ranges(str(one)) for one in sources if one.kind is CohortKind.FEATURE}
        self.latency = Ranges(LATENCY, " ms", 1000.0)
        self._votes = Votes(window, _MOST_UNITS)

    @property
    def dimensions(self) -> list[Dimension]:
        return [*self.headers, *self.features.values(), self.latency]

    def take(self, judged: Sequence[JudgedPair], features: Mapping[int, Columns], now: float) -> None:
        """One batch; `features` of some requests, by index; `now` in seconds on a monotonic clock."""
        spoken = [(index, vote) for index, one in enumerate(judged) if (vote := self._vote(one)) is not None]
        units = [judged[index].pair.unit for index, _ in spoken]
        admitted = self._votes.admit_all(units, [1] * len(units), now)
        votes = [one for one, granted in zip(spoken, admitted, strict=True) if granted]
        if not votes:
            return
        pairs = [judged[index].pair for index, _ in votes]
        x = [vote for _, vote in votes]
        column = np.array(x, dtype=np.float64)
        self.latency.take(np.array([pair.candidate.latency for pair in pairs], dtype=np.float64), column)
        for place, header in enumerate(self.headers):
            header.take([_nth(pair, place) for pair in pairs], x)
        if features:
            self._take_features(judged, features, dict(votes))

    def names(self, pair: Pair, features: Columns | None) -> tuple[str, ...]:
        """The cohorts that a pair is in, by header and by feature."""
        found = [header.label(header.cohort(_nth(pair, place))) for place, header in enumerate(self.headers)]
        if features is not None:
            for name, ranges in self.features.items():
                values = features.get(name)
                cohort = None if values is None or len(values) != 1 else ranges.cohort(float(values[0]))
                if cohort is not None:
                    found.append(cohort)
        return tuple(found)

    def named(self, values: Sequence[str | None]) -> tuple[str, ...]:
        """The cohorts of a recorded request, whose values are those of `sources`, in order."""
        found = []
        headers = {header.name: header for header in self.headers}
        for source, value in zip(self._sources, values, strict=False):
            header = headers.get(str(source))
            if header is not None:
                found.append(header.label(header.cohort(value)))
                continue
            try:
                cohort = None if value is None else self.features[source.name].cohort(float(value))
            except ValueError:  # a feature that is a text has no range
                cohort = None
            if cohort is not None:
                found.append(cohort)
        return tuple(found)

    def findings(self, most: int) -> list[CohortFinding]:
        """The cohorts above the rest, by what is certain of them, then by what is likely."""
        examined: list[tuple[float, Dimension, str, Cell, Cell]] = []
        dimensions = self.dimensions
        for dimension in dimensions:
            whole = tuple(map(sum, zip(*dimension.cells.values(), strict=True)))
            for cohort, cell in dimension.cells.items():
                rest: Cell = (whole[0] - cell[0], whole[1] - cell[1], whole[2] - cell[2])
                if rest[0] and cell[1] * rest[0] > rest[1] * cell[0]:
                    examined.append((_striking(cell, rest), dimension, cohort, cell, rest))
        examined.sort(key=lambda one: (-one[0], one[1].name, one[2]))
        share = ERROR / (2 * len(dimensions) * (MOST_VALUES + 2))
        found = [self._finding(*one[1:], share) for one in examined[:_EXAMINED]]
        found.sort(key=lambda one: (-one.excess, one.cohort))
        return found[:most]

    def keep(self) -> bytes:
        """Everything `restore` needs to go on, but for who has voted."""
        return msgspec.msgpack.encode({one.name: one.keep() for one in self.dimensions})

    def restore(self, kept: bytes) -> None:
        """Go on from `kept`, as far as the dimensions are the same. Raises ValueError for nonsense."""
        try:
            found = msgspec.msgpack.decode(kept, type=dict[str, KeptDimension])
        except msgspec.DecodeError as error:
            raise ValueError(f"not kept cohorts: {error}") from error
        for dimension in self.dimensions:
            if dimension.name in found:
                dimension.restore(found[dimension.name])

    def _take_features(
        self, judged: Sequence[JudgedPair], features: Mapping[int, Columns], votes: Mapping[int, float]
    ) -> None:
        heard = [index for index in features if index in votes]
        for name, ranges in self.features.items():
            values: list[float] = []
            x: list[float] = []
            for index in heard:
                column = features[index].get(name)
                rows = None if column is None or len(column) == 1 else self._rows(judged[index], len(column))
                if column is not None and rows is not None:
                    ranges.take_rows(column, rows)
                else:
                    values.append(math.nan if column is None else float(column[0]))
                    x.append(votes[index])
            if values:
                ranges.take(np.array(values), np.array(x))

    def _rows(self, one: JudgedPair, rows: int) -> Floats | None:
        """The votes of a batch by row; None when its predictions are not that many."""
        found, noise = one.divergence, one.noise
        if found is None or len(found.rows) != rows or (noise is not None and len(noise.rows) != rows):
            return None
        x = np.array([self._measured(row) for row in found.rows])
        if self.noisy and noise is not None:
            x -= np.array([self._measured(row) for row in noise.rows])
        return x

    def _vote(self, one: JudgedPair) -> float | None:
        found, noise = one.divergence, one.noise
        if self.noisy:
            return None if found is None or noise is None else self._mean(found) - self._mean(noise)
        if found is not None:
            return self._mean(found)
        if one.fault is None and one.pair.incumbent.ok and one.pair.candidate.failed:
            return 1.0
        return None

    def _mean(self, found: Divergence) -> float:
        """A batch speaks with the mean over its rows."""
        if found.rows and self.flips:
            return sum(row.flip for row in found.rows) / len(found.rows)
        return self._measured(found)

    def _measured(self, found: Divergence | RowFinding) -> float:
        return float(found.flip) if self.flips else found.score

    def _finding(
        self, dimension: Dimension, cohort: str, cell: Cell, rest: Cell, share: float
    ) -> CohortFinding:
        low, _ = self._interval(cell, share)
        _, high = self._interval(rest, share)
        label = dimension.label(cohort)
        return CohortFinding(label, cell[0], cell[1] / cell[0], rest[1] / rest[0], low, high, low - high)

    def _interval(self, cell: Cell, share: float) -> tuple[float, float]:
        count, total, absolute = cell
        if not self.noisy:
            return interval(total, count, share)
        # x = x⁺ − x⁻, both in [0, 1] and each with half of the error.
        low, high = interval((absolute + total) / 2, count, share / 2)
        least, most = interval((absolute - total) / 2, count, share / 2)
        return low - most, high - least


def _cuts(values: Floats) -> Floats:
    """At most BINS − 1 cuts that part the values into like many; none above the largest value."""
    if not len(values):
        return np.zeros(0)
    inner = np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf")
    cuts: Floats = np.unique(inner[inner < values.max()])
    return cuts


def _striking(cell: Cell, rest: Cell) -> float:
    """A z score: by it the cohorts are chosen whose bounds are worth working out."""
    mean = (cell[2] + rest[2]) / (cell[0] + rest[0])
    spread = max(mean * (1 - min(1.0, mean)), 1e-9) * (1 / cell[0] + 1 / rest[0])
    return (cell[1] / cell[0] - rest[1] / rest[0]) / math.sqrt(spread)


def _nth(pair: Pair, place: int) -> str | None:
    return pair.cohorts[place] if place < len(pair.cohorts) else None
