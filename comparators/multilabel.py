"""How far two sets of labels are apart: several classes may hold at once.

A row of numbers gives each class a probability of its own; the classes from the threshold on are its set. A
row of texts, or of whole numbers other than 0 and 1, is the set itself. The distance of two rows is
1 − Σ min(p, q) / Σ max(p, q), the Jaccard distance of the sets when the numbers are 0 and 1 (Ružička 1958):
unlike a mean over all classes it does not vanish when a thousand classes are absent from both. A row is a
flip when its set changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from comparators.distributions import RANGE_SLACK
from comparators.kind import Finding, PredictionPair, RowDistance, compare_rows, mean
from comparators.prediction import Prediction, Unreadable
from comparators.readers.scalars import noun
from comparators.wording import clipped, number, plainly
from domain.errors import ComparatorFault
from domain.observation import Divergence, RowFinding
from settings.schema import CompareSettings

NO_CLASS = "none"

_ROWS_SHOWN = 20
_CLASSES_SHOWN = 50
_CHANGES_TOLD = 3


_Row = dict[str, float]
"""The probability of each class that has one above 0; the classes of a row of texts have 1."""


class MultiLabel:
    """Compares predictions as sets of classes."""

    def __init__(self, settings: CompareSettings) -> None:
        self._names = settings.labels
        self._threshold = settings.threshold

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """A fault for the arm whose numbers are no probabilities."""
        return [self._compare(pair) for pair in pairs]

    def describe(self, prediction: Prediction) -> object:
        """`{labels, probabilities}`, or a list of them. Raises Unreadable."""
        rows = self._rows(prediction)
        described: list[object] = [self._describe_row(row) for row in rows[:_ROWS_SHOWN]]
        if len(rows) > _ROWS_SHOWN:
            described.append(f"… {len(rows) - _ROWS_SHOWN} more")
        return described[0] if len(rows) == 1 else described

    def _compare(self, pair: PredictionPair) -> Finding:
        found = compare_rows(pair, "row", self._rows, self._distance)
        if isinstance(found, ComparatorFault):
            return found
        incumbent, candidate = (self._rows(prediction) for prediction in pair)
        trusted, tried = self._confidence(pair[0], incumbent), self._confidence(pair[1], candidate)
        known, other = self._shared(incumbent), self._shared(candidate)
        rows = (
            tuple(
                RowFinding(row.score, row.flip, None, None, self._label(a), self._label(b))
                for row, a, b in zip(found.rows, incumbent, candidate, strict=True)
            )
            if found.rows
            else ()
        )
        return Divergence(found.score, found.flip, found.reason, trusted, tried, known, other, rows)

    def _rows(self, prediction: Prediction) -> list[_Row]:
        """Raises Unreadable for numbers that are no probabilities, and values that are no labels."""
        numbers = prediction.real() if prediction.has_numbers else None
        labels, width = prediction.labels, prediction.width
        if numbers is not None and (labels is None or set(numbers) <= {0.0, 1.0}):
            return [
                self._of_numbers(prediction, numbers[at : at + width]) for at in range(0, len(numbers), width)
            ]
        if labels is not None:
            named = [self._label_at(prediction, at) for at in range(len(labels))]
            return [dict.fromkeys(named[at : at + width], 1.0) for at in range(0, len(named), width)]
        return _of_structure(prediction)

    def _of_numbers(self, prediction: Prediction, numbers: Sequence[float]) -> _Row:
        if self._names and len(numbers) != len(self._names):
            raise Unreadable(
                f"{prediction.name} has {len(numbers)} classes; {len(self._names)} labels are configured"
            )
        row: _Row = {}
        for index, value in enumerate(numbers):
            if not -RANGE_SLACK <= value <= 1.0 + RANGE_SLACK:
                raise Unreadable(f"{prediction.name} holds {number(value)}, which is not a probability")
            if value > 0.0:
                row[self._names[index] if self._names else str(index)] = min(1.0, value)
        return row

    def _label_at(self, prediction: Prediction, at: int) -> str:
        numbers, labels = prediction.numbers, prediction.labels or ()
        if numbers is not None and 0 <= numbers[at] < len(self._names):
            return self._names[int(numbers[at])]
        return labels[at]

    def _distance(self, incumbent: _Row, candidate: _Row) -> RowDistance:
        trusted, tried = self._set(incumbent), self._set(candidate)
        lost, gained = sorted(trusted - tried), sorted(tried - trusted)
        score = ruzicka(incumbent, candidate)
        if not lost and not gained:
            return RowDistance(score, False, f"same classes, distance {score:.2g}")
        changes = [f"−{plainly(clipped(name))}" for name in lost] + [
            f"+{plainly(clipped(name))}" for name in gained
        ]
        told = " ".join(changes[:_CHANGES_TOLD])
        if len(changes) > _CHANGES_TOLD:
            told += f" and {len(changes) - _CHANGES_TOLD} more"
        return RowDistance(score, True, f"classes {told}, distance {score:.2g}")

    def _set(self, row: _Row) -> set[str]:
        return {name for name, probability in row.items() if probability >= self._threshold}

    def _label(self, row: _Row) -> str:
        return clipped(" + ".join(sorted(self._set(row))) or NO_CLASS)

    def _shared(self, rows: Sequence[_Row]) -> str | None:
        labels = {self._label(row) for row in rows}
        return labels.pop() if len(labels) == 1 else None

    def _confidence(self, prediction: Prediction, rows: Sequence[_Row]) -> float | None:
        """Mean probability of each class being in the set or out of it, as decided; None for labels."""
        if prediction.labels is not None or not prediction.has_numbers:
            return None
        width, threshold = prediction.width, self._threshold
        sure = []
        for row in rows:
            present = sum(p if p >= threshold else 1.0 - p for p in row.values())
            sure.append((present + width - len(row)) / width)
        return mean(sure)

    def _describe_row(self, row: _Row) -> dict[str, object]:
        likeliest = sorted(row, key=lambda name: (-row[name], name))[:_CLASSES_SHOWN]
        return {
            "labels": [clipped(name) for name in sorted(self._set(row))[:_CLASSES_SHOWN]],
            "probabilities": {clipped(name): row[name] for name in likeliest},
        }


def ruzicka(trusted: Mapping[str, float], tried: Mapping[str, float]) -> float:
    """1 − Σ min / Σ max over all classes; 0 for two empty rows. What is absent has probability 0."""
    union = trusted.keys() | tried.keys()  # in no order, so the sums must not depend on it
    most = math.fsum(max(trusted.get(name, 0.0), tried.get(name, 0.0)) for name in union)
    least = math.fsum(min(trusted.get(name, 0.0), tried.get(name, 0.0)) for name in union)
    return min(1.0, max(0.0, 1.0 - least / most)) if most else 0.0


def _of_structure(prediction: Prediction) -> list[_Row]:
    """Lists of texts or whole numbers, of any length each."""
    value = prediction.structure
    rows = value if prediction.rows > 1 or _is_nested(value) else [value]
    if not isinstance(rows, list):
        raise Unreadable(f"{prediction.name} is {noun(value)}, not a list of labels")
    found = []
    for row in rows:
        if not isinstance(row, list) or not all(type(label) in (str, int) for label in row):
            raise Unreadable(f"{prediction.name} holds {noun(row)} where a list of labels is needed")
        found.append(dict.fromkeys(map(str, row), 1.0))
    return found


def _is_nested(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, list) for row in value)
