"""How far two class predictions are apart.

Probabilities: the score is the mean total variation of the rows; the pair is a flip when any row changes its
class. The class of a row is its largest probability; where a row is one number, the probability of class 1,
the threshold decides. A row's confidence is the probability of its class.

Labels (whole numbers, booleans, text): the score is the share of rows that differ, any of them is a flip,
and there is no confidence.

A candidate whose probabilities are none (negative, not summing to 1, NaN) is as wrong as can be: score 1 and
a flip. An incumbent's leave nothing to compare with: a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from comparators.distributions import (
    Decided,
    decided,
    decided_one,
    decided_row,
    variation,
    variations,
)
from comparators.kind import EQUAL_BYTES, Finding, PredictionPair, mean
from comparators.labels import Labels
from comparators.prediction import Prediction, Unreadable
from comparators.stacking import Stack, alone, stacked
from comparators.wording import counted, plainly
from domain.errors import ComparatorFault
from domain.observation import Divergence, RowFinding
from domain.routing import Arm
from settings.schema import CompareSettings

_ROWS_SHOWN = 20
_CLASSES_SHOWN = 50


class Classification:
    """Compares predictions as classes."""

    def __init__(self, settings: CompareSettings) -> None:
        self._names = settings.labels
        self._told_names = tuple(map(plainly, settings.labels))
        self._threshold = settings.threshold
        self._labels = Labels(settings.labels)

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """A fault of the incumbent when its probabilities are none."""
        found: list[Finding | None] = []
        tables: list[PredictionPair] = []
        for given in pairs:
            pair = given
            if (pair[0].labels is None) != (pair[1].labels is None):
                pair = _alike(pair, _certain)
            if len(self._names) > 2:
                pair = _alike(pair, self._arranged)
            found.append(None if self._fits(*pair) else self._unlike(*pair))
            tables.append(pair)
        if found == [None] and alone(tables):
            return [self._alone(tables[0])]
        likely = [place for place, finding in enumerate(found) if finding is None]
        for stack in stacked(tables, likely):
            for place, finding in zip(stack.places, self._judged(stack, tables), strict=True):
                found[place] = finding
        return [finding for finding in found if finding is not None]

    def describe(self, prediction: Prediction) -> object:
        """A label or `{label, confidence, probabilities}`, or a list of them. Raises Unreadable."""
        described: list[object]
        if prediction.labels is not None:
            rows = len(prediction.labels)
            described = [self._labels.label(prediction, at) for at in range(min(rows, _ROWS_SHOWN))]
        else:
            prediction = self._arranged(prediction)
            classes, rows = self._decided(prediction), prediction.rows
            shown = range(min(rows, _ROWS_SHOWN))
            described = [self._describe_row(prediction, classes, row) for row in shown]
        if rows > _ROWS_SHOWN:
            described.append(f"… {rows - _ROWS_SHOWN} more")
        return described[0] if rows == 1 else described

    def _describe_row(self, prediction: Prediction, classes: Decided, row: int) -> dict[str, object]:
        width = prediction.width
        values = prediction.real()[row * width : (row + 1) * width]
        if width == 1:
            values = (1.0 - values[0], values[0])
        likeliest = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:_CLASSES_SHOWN]
        described: dict[str, object] = {
            "label": self._name(int(classes.classes[row])),
            "confidence": float(classes.confidences[row]),
            "probabilities": {self._name(index): values[index] for index in sorted(likeliest)},
        }
        if len(values) > _CLASSES_SHOWN:
            described["omitted"] = f"{len(values) - _CLASSES_SHOWN} less likely classes"
        return described

    def _fits(self, incumbent: Prediction, candidate: Prediction) -> bool:
        """Whether the two are tables of numbers of the same shape, for the classes that are configured."""
        width, classes = incumbent.width, len(self._names)
        return (
            incumbent.labels is candidate.labels is None
            and incumbent.has_numbers
            and candidate.has_numbers
            and incumbent.rows == candidate.rows
            and width == candidate.width
            and (not classes or classes == width or (classes == 2 and width == 1))
        )

    def _unlike(self, incumbent: Prediction, candidate: Prediction) -> Finding:
        """The finding in a pair that is not two tables of the same shape."""
        if incumbent.labels is not None:
            if candidate.labels is not None:
                return self._labels.compare(incumbent, candidate)
            reason = "the incumbent answers with labels, the candidate with probabilities"
            return Divergence(1.0, True, reason, incumbent_label=self._labels.shared(incumbent))
        try:
            trusted = self._decided(incumbent)
        except Unreadable as error:
            return ComparatorFault(error.reason, Arm.INCUMBENT)
        confidence, label = mean(trusted.confidences.tolist()), self._shared(trusted.classes.tolist())
        if candidate.labels is not None:
            reason = "the incumbent answers with probabilities, the candidate with labels"
            return Divergence(1.0, True, reason, confidence, None, label, self._labels.shared(candidate))
        try:
            tried = decided_one(candidate, self._threshold)
        except Unreadable as error:
            return Divergence(1.0, True, f"the candidate's {error.reason}", confidence, None, label)
        reason = f"{_shape(incumbent)} → {_shape(candidate)}"
        return Divergence(1.0, True, reason, confidence, mean(tried.confidences.tolist()), label, None)

    def _judged(self, stack: Stack, pairs: Sequence[PredictionPair]) -> list[Finding]:
        trusted = decided(stack.incumbent, self._threshold)
        tried = decided(stack.candidate, self._threshold)
        table = _Table(
            (trusted.fine & tried.fine).tolist(),
            variations(stack.incumbent, stack.candidate).tolist(),
            trusted.classes.tolist(),
            tried.classes.tolist(),
            np.minimum(trusted.confidences, 1.0).tolist(),
            np.minimum(tried.confidences, 1.0).tolist(),
        )
        if len(table.fine) == len(stack.rows):
            singles = zip(stack.places, *table, strict=True)
            return [self._single(pairs[place], *row) for place, *row in singles]
        judged = []
        for place, rows, start in zip(stack.places, stack.rows, stack.starts.tolist(), strict=True):
            judged.append(self._several(pairs[place], table.part(start, start + rows)))
        return judged

    def _alone(self, pair: PredictionPair) -> Finding:
        """One pair of one short row each: what a batch of it would say."""
        trusted, tried = pair[0].real(), pair[1].real()
        fine, a, p = decided_row(trusted, self._threshold)
        other_fine, b, q = decided_row(tried, self._threshold)
        return self._single(
            pair, fine and other_fine, variation(trusted, tried), a, b, min(p, 1.0), min(q, 1.0)
        )

    def _single(
        self, pair: PredictionPair, fine: bool, distance: float, a: int, b: int, p: float, q: float
    ) -> Finding:
        """One row: the incumbent's class `a` with confidence `p`, the candidate's `b` with `q`."""
        if not fine:
            return self._no_distribution(*pair)
        if pair[0] is pair[1]:
            reason = EQUAL_BYTES
        elif a == b:
            reason = f"same class, total variation {distance:.2g}"
        else:
            reason = f"class {self._told(a, p)} → {self._told(b, q)}, total variation {distance:.2g}"
        return Divergence(distance, a != b, reason, p, q, self._name(a), self._name(b))

    def _several(self, pair: PredictionPair, table: _Table) -> Finding:
        if len(table.fine) == 1:
            (row,) = zip(*table, strict=True)
            return self._single(pair, *row)
        if not all(table.fine):
            return self._no_distribution(*pair)
        columns = zip(
            table.distances,
            (a != b for a, b in zip(table.known, table.other, strict=True)),
            table.sure,
            table.surer,
            map(self._name, table.known),
            map(self._name, table.other),
            strict=True,
        )
        rows = tuple(map(RowFinding._make, columns))
        score = mean(table.distances)
        changed = [at for at, row in enumerate(rows) if row.flip]
        told = f"mean total variation {score:.2g}"
        if pair[0] is pair[1]:
            reason = EQUAL_BYTES
        elif changed:
            first = changed[0]
            before = self._told(table.known[first], table.sure[first])
            after = self._told(table.other[first], table.surer[first])
            reason = f"{len(changed)} of {len(rows)} rows change class, first {before} → {after}, {told}"
        else:
            reason = f"same classes in {len(rows)} rows, {told}"
        return Divergence(
            score,
            bool(changed),
            reason,
            mean(table.sure),
            mean(table.surer),
            self._shared(table.known),
            self._shared(table.other),
            rows,
        )

    def _no_distribution(self, incumbent: Prediction, candidate: Prediction) -> Finding:
        """The finding in a pair of one shape of which one, or both, holds a row that is no distribution."""
        try:
            trusted = decided_one(incumbent, self._threshold)
        except Unreadable as error:
            return ComparatorFault(error.reason, Arm.INCUMBENT)
        confidence, label = mean(trusted.confidences.tolist()), self._shared(trusted.classes.tolist())
        try:
            decided_one(candidate, self._threshold)
        except Unreadable as error:
            return Divergence(1.0, True, f"the candidate's {error.reason}", confidence, None, label)
        raise AssertionError("both are distributions")

    def _decided(self, prediction: Prediction) -> Decided:
        """What `prediction` decides. Raises Unreadable also when the configuration names other classes."""
        classes = prediction.width if prediction.width > 1 else 2
        if self._names and classes != len(self._names) and prediction.has_numbers:
            names = counted(len(self._names), "label")
            raise Unreadable(f"{prediction.name} has {classes} classes; {names} are configured")
        return decided_one(prediction, self._threshold)

    def _arranged(self, prediction: Prediction) -> Prediction:
        """One column of n numbers is one row of n classes, if n > 2 labels are configured."""
        names = len(self._names)
        if names > 2 and prediction.width == 1 and prediction.rows == names and prediction.labels is None:
            return prediction.reshaped(1, prediction.rows)
        return prediction

    def _told(self, index: int, confidence: float) -> str:
        name = self._told_names[index] if self._told_names else str(index)
        return f"{name} {confidence:.2f}"

    def _name(self, index: int) -> str:
        return self._names[index] if self._names else str(index)

    def _shared(self, classes: Sequence[int]) -> str | None:
        """The class of all rows; None when they have several."""
        return self._name(classes[0]) if len(set(classes)) == 1 else None


class _Table(NamedTuple):
    """The rows of a stack, column by column."""

    fine: list[bool]
    distances: list[float]
    known: list[int]
    other: list[int]
    sure: list[float]
    surer: list[float]

    def part(self, start: int, end: int) -> _Table:
        """The rows from `start` to before `end`."""
        fine, distances, known, other, sure, surer = self
        at = slice(start, end)
        return _Table(fine[at], distances[at], known[at], other[at], sure[at], surer[at])


def _alike(pair: PredictionPair, change: Callable[[Prediction], Prediction]) -> PredictionPair:
    """Both predictions changed; equal ones stay one and the same object."""
    incumbent, candidate = pair
    changed = change(incumbent)
    return changed, changed if candidate is incumbent else change(candidate)


def _certain(prediction: Prediction) -> Prediction:
    """Untyped whole numbers as the probabilities that they must be, beside an arm that has probabilities."""
    numbers, width = prediction.numbers, prediction.width
    if not prediction.untyped or numbers is None or not set(numbers) <= {0.0, 1.0}:
        return prediction
    if width > 1 and any(sum(numbers[at : at + width]) != 1.0 for at in range(0, len(numbers), width)):
        return prediction
    return prediction._replace(labels=None)


def _shape(prediction: Prediction) -> str:
    return f"{counted(prediction.rows, 'row')} of {max(2, prediction.width)} classes"
