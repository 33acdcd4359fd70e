"""How far two numeric predictions are apart, in units of a scale that the operator chose.

The distance of two numbers is |Δ| / scale. A missing number (NaN, null) equals a missing number and is
infinitely far from any other; an infinity equals only itself. The score is the mean of min(1, distance)
over all numbers, and the pair is a flip when any distance is beyond the tolerance, so one wild row in a
batch is not averaged away. In a batch, each row has a score and a flip of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from comparators.kind import EQUAL_BYTES, Finding, PredictionPair, mean, not_numeric
from comparators.prediction import Prediction, Values
from comparators.stacking import Stack, alone, stacked, sum_of_few
from comparators.wording import number, presentable, shortened
from domain.observation import Divergence, RowFinding
from settings.schema import CompareSettings

TOLERANCE = 0.1
SCALE = 1.0

_ROWS_SHOWN = 20
_NUMBERS_SHOWN = 50


class Regression:
    """Compares predictions as numbers."""

    def __init__(self, settings: CompareSettings) -> None:
        self._scale = SCALE if settings.scale is None else settings.scale
        self._tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance
        self._told_tolerance = f"the tolerance {number(self._tolerance)}"

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """A fault for the arm whose prediction is text."""
        found: list[Finding | None] = [_unlike(incumbent, candidate) for incumbent, candidate in pairs]
        if found == [None] and alone(pairs):
            return [self._alone(pairs[0])]
        numeric = [place for place, finding in enumerate(found) if finding is None]
        for stack in stacked(pairs, numeric):
            for place, finding in zip(stack.places, self._judged(stack, pairs), strict=True):
                found[place] = finding
        return [finding for finding in found if finding is not None]

    def describe(self, prediction: Prediction) -> object:
        """A number, a list of them, or a list of rows; texts where JSON has no word for a number."""
        numbers = [presentable(value) for value in prediction.real()]
        if len(numbers) == 1:
            return numbers[0]
        if prediction.rows == 1 or prediction.width == 1:
            return shortened(numbers, _NUMBERS_SHOWN)
        width = prediction.width
        starts = range(0, len(numbers), width)
        rows: list[object] = [shortened(numbers[at : at + width], _NUMBERS_SHOWN) for at in starts]
        return shortened(rows, _ROWS_SHOWN)

    def _judged(self, stack: Stack, pairs: Sequence[PredictionPair]) -> list[Divergence]:
        distances = differences(stack.incumbent, stack.candidate)
        with np.errstate(over="ignore"):
            distances /= self._scale
        columns = distances.argmax(axis=1)
        every = np.arange(len(columns))
        table = _Table(
            np.minimum(np.minimum(distances, 1.0).mean(axis=1), 1.0).tolist(),
            (distances > self._tolerance).sum(axis=1).tolist(),
            distances[every, columns].tolist(),
            stack.incumbent[every, columns].tolist(),
            stack.candidate[every, columns].tolist(),
        )
        width = distances.shape[1]
        if len(table.scores) == len(stack.rows):
            singles = zip(stack.places, *table, strict=True)
            return [self._single(pairs[place], width, *row) for place, *row in singles]
        judged = []
        for place, rows, start in zip(stack.places, stack.rows, stack.starts.tolist(), strict=True):
            judged.append(self._several(pairs[place], width, table.part(start, start + rows)))
        return judged

    def _alone(self, pair: PredictionPair) -> Divergence:
        """One pair of one short row each: what a batch of it would say."""
        trusted, tried = pair[0].real(), pair[1].real()
        distances = [difference(a, b) / self._scale for a, b in zip(trusted, tried, strict=True)]
        worst = max(distances)
        at = distances.index(worst)
        score = min(sum_of_few([min(distance, 1.0) for distance in distances]) / len(distances), 1.0)
        beyond = sum(distance > self._tolerance for distance in distances)
        return self._single(pair, len(distances), score, beyond, worst, trusted[at], tried[at])

    def _single(
        self, pair: PredictionPair, width: int, score: float, beyond: int, distance: float, a: float, b: float
    ) -> Divergence:
        """One row, whose numbers are farthest apart where the incumbent says `a` and the candidate `b`."""
        if pair[0] is pair[1]:
            return Divergence(0.0, False, EQUAL_BYTES)
        if width == 1:
            side = "beyond" if beyond else "within"
            reason = f"{number(a)} → {number(b)}, distance {number(distance)} {side} {self._told_tolerance}"
        else:
            reason = self._reason(beyond, width, a, b, score)
        return Divergence(score, beyond > 0, reason)

    def _several(self, pair: PredictionPair, width: int, table: _Table) -> Divergence:
        if len(table.scores) == 1:
            (row,) = zip(*table, strict=True)
            return self._single(pair, width, *row)
        rows = tuple(map(RowFinding, table.scores, [beyond > 0 for beyond in table.beyond]))
        if pair[0] is pair[1]:
            return Divergence(0.0, False, EQUAL_BYTES, rows=rows)
        worst = max(range(len(rows)), key=table.distances.__getitem__)
        score, beyond = mean(table.scores), sum(table.beyond)
        reason = self._reason(beyond, width * len(rows), table.trusted[worst], table.tried[worst], score)
        return Divergence(score, beyond > 0, reason, rows=rows)

    def _reason(self, beyond: int, count: int, a: float, b: float, score: float) -> str:
        part = f"{beyond} of {count} numbers beyond {self._told_tolerance}"
        return f"{part}, at most {number(a)} → {number(b)}, mean distance {number(score)}"


class _Table(NamedTuple):
    """The rows of a stack, column by column; the last three are of the row's worst number.

    Attributes:
        scores: the mean of min(1, distance) over the row.
        beyond: how many of the row's numbers are beyond the tolerance.
    """

    scores: list[float]
    beyond: list[int]
    distances: list[float]
    trusted: list[float]
    tried: list[float]

    def part(self, start: int, end: int) -> _Table:
        """The rows from `start` to before `end`."""
        scores, beyond, distances, trusted, tried = self
        at = slice(start, end)
        return _Table(scores[at], beyond[at], distances[at], trusted[at], tried[at])


def differences(trusted: Values, tried: Values) -> Values:
    """|Δ| by element: 0 for two missing numbers or the same infinity, infinite for one missing."""
    with np.errstate(all="ignore"):
        found: Values = np.abs(trusted - tried)
    strange = np.isnan(found)
    if strange.any():
        same = (trusted == tried) | (np.isnan(trusted) & np.isnan(tried))
        found[strange] = np.where(same[strange], 0.0, math.inf)
    return found


def difference(trusted: float, tried: float) -> float:
    """The same for two numbers."""
    found = abs(trusted - tried)
    if not math.isnan(found):
        return found
    same = trusted == tried or (math.isnan(trusted) and math.isnan(tried))
    return 0.0 if same else math.inf


def _unlike(incumbent: Prediction, candidate: Prediction) -> Finding | None:
    """The finding in a pair whose numbers cannot be held against each other."""
    if fault := not_numeric(incumbent, candidate):
        return fault
    if incumbent.rows == candidate.rows and incumbent.width == candidate.width:
        return None
    shapes = f"{incumbent.rows} × {incumbent.width} numbers → {candidate.rows} × {candidate.width}"
    return Divergence(1.0, True, f"the shapes differ: {shapes}")
