"""What features are compared with: how each was distributed once, as shares of a few bins.

A reference comes from a table of earlier requests, or is learned from the first requests of a release and
then frozen: what is compared with must be fixed before what is compared. Bins are cut at the tenths of each
feature, so that none is rare; what is no number has a bin of its own, for a feature that goes missing has
drifted.

How good a learned reference can be. The shares of ten like bins in n requests are off from the true ones by a
total variation of 1.2/√n on average, and of 3/√n but for a chance of 0.2 % (McDiarmid 1989: one request moves
it by 1/n at most). Less than that cannot be told from chance, and is refused where drift is configured.

What clients send decides nothing here but shares: features are named by the first requests, at most
MOST_FEATURES of them, and only those are kept that half of the requests have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from comparators.bins import bins_of, quantile_edges
from killswitch.columns import Whole
from killswitch.evidence import Floats

MOST_FEATURES = 256
MOST_BINS = 1000
CUTS = 10

Row = Mapping[str, float]
"""One request's features by name; NaN for what is no number."""


@dataclass(frozen=True, slots=True)
class FeatureReference:
    """How a feature was distributed in the reference.

    `edges`, ascending, cut the line into len(edges) + 1 bins; a value at an edge belongs to the bin below
    it. A last bin holds what is no number. `shares`, one for each bin, sum to 1.
    """

    name: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises ValueError when bins and shares do not fit."""
        if len(self.shares) != len(self.edges) + 2 or len(self.shares) > MOST_BINS:
            raise ValueError(
                f"feature {self.name}: {len(self.edges)} edges need {len(self.edges) + 2} shares"
            )
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"feature {self.name}: its edges must ascend")
        if not (min(self.shares) >= 0 and math.isclose(sum(self.shares), 1.0, abs_tol=1e-6)):
            raise ValueError(f"feature {self.name}: its shares must be 0 or more and sum to 1")

    def bins(self, values: Floats) -> Whole:
        """The bin of each value."""
        found = bins_of(self.edges, values)
        return np.where(np.isnan(values), len(self.shares) - 1, found)


class Request(NamedTuple):
    """A request whose features are known.

    `unit` and `at` as in Pair; `columns` holds each feature by name, all of shape (rows,).
    """

    unit: int
    at: float
    columns: Mapping[str, Floats]


def reference(name: str, values: npt.ArrayLike) -> FeatureReference:
    """The reference of a feature with these values, of shape (n,), n ≥ 1; NaN for what is no number."""
    column = np.array(values, dtype=np.float64)
    edges = quantile_edges(column, CUTS)
    unshared = FeatureReference(name, edges, (1.0,) + (0.0,) * (len(edges) + 1))
    shares = np.bincount(unshared.bins(column), minlength=len(edges) + 2) / len(column)
    return FeatureReference(name, unshared.edges, tuple(shares.tolist()))


def learned(rows: Sequence[Row]) -> tuple[FeatureReference, ...]:
    """References of all features that at least half of `rows` have, in their order of appearance."""
    return tuple(
        reference(name, [row.get(name, math.nan) for row in rows])
        for name in named(rows)
        if 2 * sum(name in row for row in rows) >= len(rows)
    )


def named(rows: Iterable[Row]) -> tuple[str, ...]:
    """The first MOST_FEATURES names, in their order of appearance."""
    found: dict[str, None] = {}
    for row in rows:
        for name in row:
            if len(found) == MOST_FEATURES:
                return tuple(found)
            found.setdefault(name)
    return tuple(found)


def matrix(requests: Sequence[Request], names: Sequence[str]) -> tuple[Floats, Whole]:
    """The features `names` of all rows, of shape (rows, features), and of which request each row is.

    NaN where a request lacks a feature. Requests that have none of the names are taken by the order of their
    columns, as a matrix names nothing, when they have as many; else they are left out.
    """
    parts: list[Floats] = []
    owners: list[int] = []
    rows_of: list[int] = []
    for index, request in enumerate(requests):
        columns = _chosen(request.columns, names)
        if columns is None:
            continue
        rows = len(next(column for column in columns if column is not None))
        nothing = np.full(rows, math.nan)
        parts.append(np.stack([nothing if column is None else column for column in columns], axis=1))
        owners.append(index)
        rows_of.append(rows)
    if not parts:
        return np.zeros((0, len(names))), np.zeros(0, dtype=np.int64)
    return np.concatenate(parts), np.repeat(np.array(owners, dtype=np.int64), rows_of)


def _chosen(columns: Mapping[str, Floats], names: Sequence[str]) -> Sequence[Floats | None] | None:
    found = [columns.get(name) for name in names]
    if any(column is not None and len(column) for column in found):
        return found
    ordered = list(columns.values())
    return ordered if len(ordered) == len(names) and len(ordered[0]) else None
