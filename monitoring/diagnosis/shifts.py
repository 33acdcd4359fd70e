"""Two samples of a column, before and after: does it look otherwise, and how much of a change is due to that?

A column is a feature, a label, a version, a cohort: numbers, texts, or missing. Both samples are cut into the
same cells (quantiles of both together, or the commonest values), so that what is found depends on nothing but
the counts.

Whether it moved: Pearson's test of homogeneity over those cells; of several columns each p is multiplied as
Holm does, which holds however they depend on each other. A column counts as moved when that is certain and
the total variation is large enough to matter: with enough requests any column is certain to have moved a bit.

How much it explains: the rise of a signal's mean is what the cells' shares did plus what happened inside
cells,

    m' − m = Σ (q − p) · m'_cell  +  Σ p · (m'_cell − m_cell),

and the first sum is what the column explains (Kitagawa; Oaxaca and Blinder). In a cell that was emptied
nothing can have happened; a cell that is new is the column's doing as a whole.

Sources. Pearson, Philosophical Magazine 1900; Holm, "A simple sequentially rejective multiple test
procedure", Scandinavian Journal of Statistics 1979; Kitagawa, "Components of a difference between two rates",
JASA 1955; Blinder, "Wage discrimination", Journal of Human Resources 1973; Oaxaca, International Economic
Review 1973.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitoring.diagnosis.points import Floats

Cells = npt.NDArray[np.intp]
Value = float | str | None

CERTAIN = 1e-3
"""The largest p, of all columns together, with which a column counts as moved."""

MATTERS = 0.05
"""The least total variation with which it does."""

CUTS = 12
COMMONEST = 24
MISSING, OTHER = "(none)", "(other)"
_FEWEST = 5.0
"""Requests that a cell is expected to have in each sample, so that the test's p is right."""


class Column(NamedTuple):
    """A column cut into cells: the cell of each value, and what the cells are called."""

    cells: Cells
    names: tuple[str, ...]


class Shift(NamedTuple):
    """What a column did.

    Attributes:
        variation: the total variation between both samples, 0 to 1.
        p: the chance of such a difference without one, for all columns that were looked at together.
        grown: the cells that more requests are in than before, those that grew most first.
        before, after: the shares of those cells.
    """

    variation: float
    p: float
    grown: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def moved(self) -> bool:
        """Whether it is certain, and enough to matter."""
        return self.p <= CERTAIN and self.variation >= MATTERS


def column(values: Sequence[Value]) -> Column:
    """`values` cut into cells: texts by the commonest ones, numbers by their quantiles."""
    if any(isinstance(one, str) for one in values):
        return _texts(["" if one is None else str(one) for one in values], [one is None for one in values])
    numbers = np.array([math.nan if one is None else float(one) for one in values], dtype=np.float64)
    return _numbers(numbers)


def crossed(one: Column, other: Column) -> Column:
    """Both at once: a cell for each pair of cells."""
    names = tuple(f"{first}, {then}" for first in one.names for then in other.names)
    return Column(one.cells * len(other.names) + other.cells, names)


def shift(one: Column, before: npt.NDArray[np.bool_]) -> Shift:
    """What `one` did between the values of `before` and the others; `p` is of this column alone."""
    cells = len(one.names)
    was = np.bincount(one.cells[before], minlength=cells).astype(np.float64)
    now = np.bincount(one.cells[~before], minlength=cells).astype(np.float64)
    if not was.sum() or not now.sum():
        return Shift(0.0, 1.0, (), (), ())
    p, q = was / was.sum(), now / now.sum()
    order = [int(cell) for cell in np.argsort(p - q, kind="stable") if q[cell] > p[cell]][:3]
    return Shift(
        float(np.maximum(q - p, 0.0).sum()),
        _homogeneity(was, now),
        tuple(one.names[cell] for cell in order),
        tuple(float(p[cell]) for cell in order),
        tuple(float(q[cell]) for cell in order),
    )


def holm(found: Mapping[str, Shift]) -> dict[str, Shift]:
    """`found` with each p as it is for all of them together."""
    told: dict[str, Shift] = {}
    highest = 0.0
    for number, name in enumerate(sorted(found, key=lambda name: found[name].p)):
        highest = max(highest, min(1.0, found[name].p * (len(found) - number)))
        told[name] = found[name]._replace(p=highest)
    return told


def explained(cells: Cells, values: Floats, before: npt.NDArray[np.bool_]) -> float:
    """The part, 0 to 1, of the change of the mean of `values` that is due to the shares of the cells."""
    count = int(cells.max()) + 1 if len(cells) else 0
    was = np.bincount(cells[before], minlength=count).astype(np.float64)
    now = np.bincount(cells[~before], minlength=count).astype(np.float64)
    if not was.sum() or not now.sum():
        return 0.0
    rise = float(values[~before].mean() - values[before].mean())
    if rise == 0.0:
        return 0.0
    m = np.bincount(cells[before], weights=values[before], minlength=count) / np.maximum(was, 1.0)
    level = np.bincount(cells[~before], weights=values[~before], minlength=count) / np.maximum(now, 1.0)
    level = np.where(now > 0, level, m)
    due = float(((now / now.sum() - was / was.sum()) * level).sum())
    return min(1.0, max(0.0, due / rise))


def grown(one: Column, before: npt.NDArray[np.bool_]) -> Floats:
    """1 for the values in cells that more requests are in than before, else 0."""
    cells = len(one.names)
    was = np.bincount(one.cells[before], minlength=cells) / max(1, int(before.sum()))
    now = np.bincount(one.cells[~before], minlength=cells) / max(1, int((~before).sum()))
    return (now > was)[one.cells].astype(np.float64)


def tail(statistic: float, freedom: int) -> float:
    """P(χ² ≥ statistic) with `freedom` degrees of freedom.

    >>> round(tail(3.841, 1), 3), round(tail(18.307, 10), 3)
    (0.05, 0.05)
    """
    half = statistic / 2
    if half <= 0.0 or freedom <= 0:
        return 1.0
    if half > 700.0:
        return 0.0
    odd = freedom % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    for step in range(freedom // 2):
        power = step + odd / 2
        total += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(1.0, total)


def _homogeneity(was: Floats, now: Floats) -> float:
    together = was + now
    smaller = min(was.sum(), now.sum()) / together.sum()
    few = together * smaller < _FEWEST
    if few.any():  # the small ones are one cell
        was, now = (np.append(one[~few], one[few].sum()) for one in (was, now))
    together = was + now
    kept = together > 0
    was, now, together = was[kept], now[kept], together[kept]
    if len(together) < 2:
        return 1.0
    whole = together.sum()
    statistic = 0.0
    for one in (was, now):
        expected = together * one.sum() / whole
        statistic += float(((one - expected) ** 2 / expected).sum())
    return tail(statistic, len(together) - 1)


def _texts(values: Sequence[str], missing: Sequence[bool]) -> Column:
    held = [MISSING if gone else one for one, gone in zip(values, missing, strict=True)]
    common = [name for name, _ in Counter(held).most_common(COMMONEST)]
    places = {name: place for place, name in enumerate(common)}
    cells = np.array([places.get(one, len(common)) for one in held], dtype=np.intp)
    return Column(cells, (*common, OTHER))


def _numbers(values: Floats) -> Column:
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) <= CUTS:
        cells = np.searchsorted(distinct, values)
        names = [f"{one:.6g}" for one in distinct]
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, CUTS + 1)[1:-1], method="nearest"))
        cells = np.searchsorted(edges, values, side="right")
        names = [f"below {edges[0]:.4g}"]
        names += [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
        names.append(f"{edges[-1]:.4g} and above")
    cells = np.where(np.isfinite(values), cells, len(names))
    return Column(cells.astype(np.intp), (*names, MISSING))
