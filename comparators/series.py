"""How far two forecasts are apart, step by step of their horizon, in units of the incumbent's own steps.

The error at step h is |c_h − i_h| / q, where q is the mean absolute step Σ|i_t − i_{t−1}| / (n − 1) of the
incumbent's own forecast: the scale of the mean absolute scaled error (Hyndman & Koehler 2006, Another look at
measures of forecast accuracy, International Journal of Forecasting 22), taken from the incumbent because
there is no truth yet. An error of 1 is as much as the forecast usually moves in a step. A flat forecast has
no step, so q is at least 1 % of its mean size; and the operator may fix it (`scale`).

The score is the mean of min(1, error) over the horizon; the pair is a flip when any step's error is beyond
the tolerance. Missing numbers and infinities are as in a regression.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comparators.kind import EQUAL_BYTES, Finding, PredictionPair, not_alike
from comparators.prediction import Prediction, Values
from comparators.regression import differences
from comparators.stacking import stacked
from comparators.wording import counted, number, presentable, shortened
from domain.observation import Divergence, RowFinding
from settings.schema import CompareSettings

TOLERANCE = 1.0

LEAST_STEP = 0.01
"""Of the mean size of the incumbent's forecast: the least that its step is taken to be."""

_STEPS_SHOWN = 50
_ROWS_SHOWN = 20


class Series:
    """Compares predictions as time series."""

    def __init__(self, settings: CompareSettings) -> None:
        self._scale = settings.scale
        self._tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """A fault for the arm whose prediction is no series of numbers."""
        series = [(incumbent.in_one_row(), candidate.in_one_row()) for incumbent, candidate in pairs]
        found = [not_alike(incumbent, candidate, _shape) for incumbent, candidate in series]
        alike = [place for place, finding in enumerate(found) if finding is None]
        for stack in stacked(series, alike):
            errors = scaled_errors(stack.incumbent, stack.candidate, self._scale)
            for place, rows, start in zip(stack.places, stack.rows, stack.starts.tolist(), strict=True):
                equal = pairs[place][0] is pairs[place][1]
                found[place] = self._finding(errors[start : start + rows], equal)
        return [finding for finding in found if finding is not None]

    def describe(self, prediction: Prediction) -> object:
        """The steps of the series, or a list of such lists. Raises Unreadable."""
        prediction = prediction.in_one_row()
        numbers, width = [presentable(value) for value in prediction.real()], prediction.width
        rows: list[object] = [
            shortened(numbers[at : at + width], _STEPS_SHOWN) for at in range(0, len(numbers), width)
        ]
        return rows[0] if len(rows) == 1 else shortened(rows, _ROWS_SHOWN)

    def _finding(self, errors: Values, equal: bool) -> Divergence:
        by_row = np.minimum(errors, 1.0).mean(axis=1)
        beyond = errors > self._tolerance
        flips = beyond.sum(axis=1) > 0
        score = min(1.0, float(by_row.mean()))
        findings: tuple[RowFinding, ...] = ()
        if len(errors) > 1:
            findings = tuple(map(RowFinding, by_row.tolist(), flips.tolist()))
        if equal:
            return Divergence(0.0, False, EQUAL_BYTES, rows=findings)
        row, worst = divmod(int(errors.argmax()), errors.shape[1])
        which = f" of series {row}" if len(errors) > 1 else ""
        most = f"at most {number(float(errors[row, worst]))} steps off at step {worst + 1}{which}"
        reason = f"mean scaled error {number(float(errors.mean()))}, {most}"
        if flips.any():
            first = int(beyond.any(axis=0).argmax())
            told = f"the tolerance {number(self._tolerance)}"
            reason = f"beyond {told} from step {first + 1} of {errors.shape[1]}, {most}"
        return Divergence(score, bool(flips.any()), reason, rows=findings)


def scaled_errors(trusted: Values, tried: Values, scale: float | None) -> Values:
    """|Δ| by the incumbent's mean step, or by `scale`; shape (series, steps). 0/0 is 0."""
    errors = differences(trusted, tried)
    if scale is not None:
        with np.errstate(over="ignore"):
            return errors / scale
    finite = np.where(np.isfinite(trusted), trusted, np.nan)
    with np.errstate(all="ignore"):
        steps = np.abs(np.diff(finite, axis=1))
        step = _mean_known(steps)
        size = _mean_known(np.abs(finite))
        scaled: Values = errors / np.maximum(step, LEAST_STEP * size)[:, None]
    scaled[errors == 0.0] = 0.0
    return scaled


def _mean_known(values: Values) -> Values:
    """The mean of each row over what is not NaN; 0 where nothing is known."""
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=1), 1)
    mean: Values = np.minimum(np.where(known, values, 0.0).sum(axis=1) / count, np.finfo(np.float64).max)
    return mean


def _shape(prediction: Prediction) -> str:
    return f"{prediction.rows} series of {counted(prediction.width, 'step')}"
