"""The input drift gate: whether requests still look as those did that the candidate was made for.

Each feature is cut into bins, and the total variation between its shares of reference and recent rows must
stay within the limit. A sample's total variation is too high by chance, all the more the more bins there are,
so it is bounded on both sides:

    TV ≤ T̂ + ε,   TV ≥ T̂ − ε − ½√((B−1)/n) − ½√((B−1)/m),   ε = √(½ ln(F/δ) (1/n + 1/m))

for n recent and m reference rows, B bins and F features (McDiarmid's inequality for ε; Jensen's for the rest:
T̂ is convex, and E|p̂ − p| ≤ √(p(1−p)/n)). So all F features together are misjudged with a chance of δ at
most on either side, for any distribution. The edges of the bins come from every tenth row of the reference,
which then does not count, since a bound holds only for bins that were fixed beforehand.

With `against: prior-week` both samples come from one file: the newest seven days and the seven before them,
of each only the hours of the week in which both have rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from comparators.bins import quantile_edges
from domain.errors import GateError
from domain.verdict import Verdict
from gates.files import Cell, Files, Table, number, seconds
from gates.gate import GateContext
from gates.result import Judgement
from killswitch.drift import MOST_FEATURES, FeatureReference
from monitoring.drift.distances import bounded_variation
from settings.criteria import PRIOR_WEEK, DriftGate
from settings.gates import CONFIDENCE

BINS = 10
"""Bins of a feature between its edges; one more holds what is no number."""

FEWEST_ROWS = 100
_CUTTING = 10  # one row of the reference in so many decides where the bins end
WEEK = 7 * 86_400.0
HOUR = 3600.0

Values = NDArray[np.float64]


class Drift:
    """Total variation of every feature, between a reference and recent inputs."""

    name = "drift"

    def __init__(self, settings: DriftGate) -> None:
        self._settings = settings

    async def run(self, context: GateContext) -> Judgement:
        """See `gates.gate.Gate`."""
        settings = self._settings
        if settings.data is None:
            raise GateError("there are no recorded inputs: give a file with them as gates.drift.data")
        return await context.aside(lambda: self._judge(context.files, settings.data or ""))

    def _judge(self, files: Files, data: str) -> Judgement:
        settings = self._settings
        recent = files.table(data)
        if settings.against == PRIOR_WEEK:
            reference, recent = weeks(recent, settings.time)
        else:
            reference = files.table(settings.against)
        names = self._features(reference)
        found = {
            name: variation(_numbers(reference, name), _numbers(recent, name), len(names)) for name in names
        }
        shift = settings.shift
        verdicts = {name: _verdict(low, high, shift) for name, (_, low, high) in found.items()}
        verdict = Verdict.worst(verdicts.values())
        worst = max(found, key=lambda name: (verdicts[name].severity, found[name][0]))
        estimate, low, high = found[worst]
        numbers = {"estimate": estimate, "low": low, "high": high, "limit": shift,
                   "rows": float(recent.rows), "reference_rows": float(reference.rows),
                   "features": float(len(names))}  # fmt: skip
        numbers |= {f"feature:{name}": values[0] for name, values in found.items()}
        shown = (
            f"of {len(names)} features {worst!r} moved most: total variation {estimate:.3g}, between "
            f"{low:.3g} and {high:.3g}, limit {shift:g} ({recent.rows} rows against {reference.rows})"
        )
        if verdict is Verdict.INCONCLUSIVE:
            shown += "; more rows are needed to say"
        return Judgement(verdict, shown, numbers)

    def _features(self, reference: Table) -> Sequence[str]:
        names = self._settings.features
        if not names:
            names = tuple(
                name
                for name, cells in reference.columns.items()
                if name != self._settings.time and any(map(_is_number, cells))
            )
        if not 1 <= len(names) <= MOST_FEATURES:
            raise GateError(
                f"{reference.path} has {len(names)} columns of numbers; 1 to {MOST_FEATURES} are looked at: "
                "name them with gates.drift.features"
            )
        return names


def weeks(table: Table, time: str) -> tuple[Table, Table]:
    """The prior and the newest week of `table`, in the hours of the week that both have. Raises GateError."""
    cells = table.column(time, "the time of each row")
    at = np.array([seconds(cell, f"column {time!r}") for cell in cells])
    newest = float(at.max())
    ages = newest - at
    this, prior = ages < WEEK, (ages >= WEEK) & (ages < 2 * WEEK)
    hours = (at % WEEK) // HOUR
    both = np.intersect1d(hours[this], hours[prior])
    if not len(both):
        raise GateError(
            f"{table.path} has no hour of the week that both weeks before {newest:.0f} have rows in"
        )
    shared = np.isin(hours, both)
    return _rows(table, prior & shared), _rows(table, this & shared)


def variation(reference: Values, recent: Values, features: int) -> tuple[float, float, float]:
    """The total variation of a feature, and its bounds. Raises GateError when there are too few rows."""
    for rows, which in ((reference, "reference"), (recent, "recent")):
        if len(rows) < FEWEST_ROWS:
            raise GateError(f"{len(rows)} {which} rows; it takes {FEWEST_ROWS} to say anything")
    cut = np.zeros(len(reference), dtype=bool)
    cut[::_CUTTING] = True
    edges = _edges(reference[cut])
    counted = reference[~cut]
    bins = len(edges) + 2
    shares = tuple(1.0 / bins for _ in range(bins))  # only the edges of the reference are used here
    binned = FeatureReference("", edges, shares)
    first, second = (
        np.bincount(binned.bins(values), minlength=bins) / len(values) for values in (counted, recent)
    )
    return bounded_variation(first, second, (len(counted), len(recent)), (1.0 - CONFIDENCE) / features)


def _edges(values: Values) -> tuple[float, ...]:
    return quantile_edges(values, BINS) or (0.0,)


def _is_number(cell: Cell) -> bool:
    """Also one that is written as a text, as all numbers of a CSV column are that has a text among them."""
    if isinstance(cell, str):
        try:
            float(cell)
        except ValueError:
            return False
        return True
    return cell is not None


def _numbers(table: Table, name: str) -> Values:
    cells = table.column(name, "a feature")
    texts = [cell for cell in cells if isinstance(cell, str)]
    if texts:
        wrong = next((cell for cell in texts if not _is_number(cell)), texts[0])
        raise GateError(
            f"column {name!r} of {table.path} holds {wrong!r}, which is no number: leave the cell empty "
            "where it is missing, or name the columns of numbers with gates.drift.features"
        )
    return np.array([number(cell) for cell in cells])


def _rows(table: Table, chosen: NDArray[np.bool_]) -> Table:
    places = np.flatnonzero(chosen).tolist()
    return Table(table.path, {name: [cells[at] for at in places] for name, cells in table.columns.items()})


def _verdict(low: float, high: float, shift: float) -> Verdict:
    if high <= shift:
        return Verdict.PASS
    return Verdict.FAIL if low > shift else Verdict.INCONCLUSIVE
