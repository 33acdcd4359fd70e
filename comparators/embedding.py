"""How far two embeddings are apart: the cosine distance, 1 − cos, of each row's vectors.

It is 0 for vectors of the same direction, whatever their lengths; it is 1 for orthogonal ones, and what is
more than that (opposite vectors have 2) counts as 1. Two zero vectors are equal; a zero vector has no
direction, so it is as far as can be from any other. The pair is a flip when the distance of any row is
beyond the tolerance.

A candidate's vector that holds NaN or an infinity, or that has another dimension, is as wrong as can be:
score 1 and a flip. An incumbent's with NaN leaves nothing to compare with: a fault.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comparators.kind import EQUAL_BYTES, Finding, PredictionPair, not_alike
from comparators.prediction import Prediction, Values
from comparators.stacking import Stack, stacked
from comparators.wording import counted, number, presentable
from domain.errors import ComparatorFault
from domain.observation import Divergence, RowFinding
from domain.routing import Arm
from settings.schema import CompareSettings

TOLERANCE = 0.1

_NUMBERS_SHOWN = 10
_ROWS_SHOWN = 20


class Embedding:
    """Compares predictions as vectors."""

    def __init__(self, settings: CompareSettings) -> None:
        self._tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """A fault for the arm whose prediction is no vector of numbers."""
        vectors = [(incumbent.in_one_row(), candidate.in_one_row()) for incumbent, candidate in pairs]
        found = [not_alike(incumbent, candidate, _shape) for incumbent, candidate in vectors]
        alike = [place for place, finding in enumerate(found) if finding is None]
        for stack in stacked(vectors, alike):
            distances = cosine_distances(stack.incumbent, stack.candidate)
            finite = np.isfinite(stack.incumbent), np.isfinite(stack.candidate)
            for place, rows, start in zip(stack.places, stack.rows, stack.starts.tolist(), strict=True):
                part = slice(start, start + rows)
                if not finite[0][part].all():
                    reason = f"{pairs[place][0].name} holds a number that is not finite"
                    found[place] = ComparatorFault(reason, Arm.INCUMBENT)
                elif not finite[1][part].all():
                    reason = f"the candidate's {pairs[place][1].name} holds a number that is not finite"
                    found[place] = Divergence(1.0, True, reason)
                else:
                    equal = pairs[place][0] is pairs[place][1]
                    found[place] = self._finding(stack, part, distances[part], equal)
        return [finding for finding in found if finding is not None]

    def describe(self, prediction: Prediction) -> object:
        """`{dimensions, length, first}`, or a list of them. Raises Unreadable."""
        values = prediction.in_one_row().values
        with np.errstate(all="ignore"):
            described: list[object] = [
                {
                    "dimensions": len(row),
                    "length": presentable(float(np.linalg.norm(row))),
                    "first": [presentable(value) for value in row[:_NUMBERS_SHOWN].tolist()],
                }
                for row in values[:_ROWS_SHOWN]
            ]
        if len(values) > _ROWS_SHOWN:
            described.append(f"… {len(values) - _ROWS_SHOWN} more")
        return described[0] if len(described) == 1 else described

    def _finding(self, stack: Stack, part: slice, distances: Values, equal: bool) -> Divergence:
        rows = distances.tolist()
        flips = [distance > self._tolerance for distance in rows]
        findings = tuple(map(RowFinding, rows, flips)) if len(rows) > 1 else ()
        score = min(1.0, float(distances.mean()))
        if equal:
            return Divergence(0.0, False, EQUAL_BYTES, rows=findings)
        side = "beyond" if any(flips) else "within"
        told = f"the tolerance {number(self._tolerance)}"
        if len(rows) > 1:
            reason = f"{sum(flips)} of {len(rows)} vectors beyond {told}, mean cosine distance {score:.2g}"
            return Divergence(score, any(flips), reason, rows=findings)
        reason = f"cosine distance {score:.2g} {side} {told}"
        first, second = stack.incumbent[part], stack.candidate[part]
        if first.any() != second.any():
            reason = f"the {'candidate' if first.any() else 'incumbent'}'s vector is zero"
        return Divergence(score, any(flips), reason)


def cosine_distances(trusted: Values, tried: Values) -> Values:
    """1 − cos of each row of two arrays of shape (rows, width), cut to [0, 1]."""
    with np.errstate(all="ignore"):
        a = trusted / np.abs(trusted).max(axis=1, keepdims=True)  # so that no square overflows
        b = tried / np.abs(tried).max(axis=1, keepdims=True)
        cosines = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        found: Values = np.clip(1.0 - cosines, 0.0, 1.0)
    found[np.isnan(found)] = 1.0
    found[(trusted == tried).all(axis=1)] = 0.0
    return found


def _shape(prediction: Prediction) -> str:
    return f"{counted(prediction.rows, 'vector')} of {counted(prediction.width, 'dimension')}"
