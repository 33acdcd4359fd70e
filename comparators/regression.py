"""How far two numeric predictions are apart, in units of a scale that the operator chose.

The distance of two numbers is |Δ| / scale. A missing number (NaN, null) equals a missing number and is
infinitely far from any other; an infinity equals only itself. The score is the mean of min(1, distance)
over all numbers, and the pair is a flip when any distance is beyond the tolerance, so one wild row in a
batch is not averaged away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from comparators.prediction import SMALL, Prediction, Unreadable
from comparators.wording import number, presentable, shortened
from domain.errors import ComparatorFault
from domain.observation import Divergence
from domain.routing import Arm
from settings.schema import CompareSettings

_ROWS_SHOWN = 20
_NUMBERS_SHOWN = 50


class Regression:
    """Compares predictions as numbers."""

    def __init__(self, settings: CompareSettings) -> None:
        self._scale = settings.scale
        self._tolerance = settings.tolerance

    def alone(self, incumbent: Prediction) -> Divergence:
        """The finding when the candidate's answer is the same, byte for byte."""
        _numbers(incumbent, Arm.INCUMBENT)
        return Divergence(0.0, False, "equal bytes")

    def compare(self, incumbent: Prediction, candidate: Prediction) -> Divergence:
        """Raises ComparatorFault for the arm whose prediction is text."""
        trusted = _numbers(incumbent, Arm.INCUMBENT)
        tried = _numbers(candidate, Arm.CANDIDATE)
        if (incumbent.rows, incumbent.width) != (candidate.rows, candidate.width):
            shapes = f"{incumbent.rows} × {incumbent.width} numbers → {candidate.rows} × {candidate.width}"
            return Divergence(1.0, True, f"the shapes differ: {shapes}")
        summarize = _summarize if len(trusted) <= SMALL else _summarize_large
        score, beyond, worst, distance = summarize(trusted, tried, self._scale, self._tolerance)
        change = f"{number(trusted[worst])} → {number(tried[worst])}"
        if len(trusted) == 1:
            place = "beyond" if beyond else "within"
            reason = f"{change}, distance {number(distance)} {place} the tolerance {number(self._tolerance)}"
        else:
            part = f"{beyond} of {len(trusted)} numbers beyond the tolerance {number(self._tolerance)}"
            reason = f"{part}, at most {change}, mean distance {number(score)}"
        return Divergence(score, beyond > 0, reason)

    def describe(self, prediction: Prediction) -> object:
        """A number, a list of them, or a list of rows; texts where JSON has no word for a number."""
        numbers = [presentable(value) for value in _numbers(prediction, Arm.INCUMBENT)]
        if len(numbers) == 1:
            return numbers[0]
        if prediction.rows == 1 or prediction.width == 1:
            return shortened(numbers, _NUMBERS_SHOWN)
        width = prediction.width
        starts = range(0, len(numbers), width)
        rows: list[object] = [shortened(numbers[at : at + width], _NUMBERS_SHOWN) for at in starts]
        return shortened(rows, _ROWS_SHOWN)


def _numbers(prediction: Prediction, arm: Arm) -> tuple[float, ...]:
    try:
        return prediction.real()
    except Unreadable as error:
        raise ComparatorFault(error.reason, arm) from None


_Summary = tuple[float, int, int, float]  # score, how many are beyond, index of the worst, its distance


def _summarize(trusted: Sequence[float], tried: Sequence[float], scale: float, tolerance: float) -> _Summary:
    distances = [_distance(a, b, scale) for a, b in zip(trusted, tried, strict=True)]
    score = sum(min(1.0, distance) for distance in distances) / len(distances)
    worst = max(range(len(distances)), key=distances.__getitem__)
    beyond = sum(distance > tolerance for distance in distances)
    return min(1.0, score), beyond, worst, distances[worst]


def _distance(trusted: float, tried: float, scale: float) -> float:
    if trusted == tried:
        return 0.0
    distance = abs(trusted - tried) / scale
    if not math.isnan(distance):
        return distance
    return 0.0 if math.isnan(trusted) and math.isnan(tried) else math.inf


def _summarize_large(
    trusted: Sequence[float], tried: Sequence[float], scale: float, tolerance: float
) -> _Summary:
    """The same as `_summarize`, for many numbers."""
    a = np.array(trusted, dtype=np.float64)
    b = np.array(tried, dtype=np.float64)
    with np.errstate(all="ignore"):
        distances = np.abs(a - b) / scale
    distances[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    distances[np.isnan(distances)] = math.inf
    score = float(np.minimum(distances, 1.0).mean())
    worst = int(distances.argmax())
    return min(1.0, score), int((distances > tolerance).sum()), worst, float(distances[worst])
