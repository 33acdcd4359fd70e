"""How far two class predictions are apart.

Probabilities: the distance of two rows is their total variation, ½ Σ|p − q|: the largest difference in
probability that the two give to any set of classes (Levin, Peres & Wilmer, Markov Chains and Mixing Times,
§4.1). The score is its mean over the rows; the pair is a flip when any row changes its class. The class of
a row is its largest probability; where a row is one number, the probability of class 1, the threshold
decides. A row's confidence is the probability of its class.

Labels (whole numbers, booleans, text): the score is the share of rows that differ, any of them is a flip,
and there is no confidence.

A candidate whose probabilities are none (negative, not summing to 1, NaN) is as wrong as can be: score 1 and
a flip. An incumbent's leave nothing to compare with: a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub
from typing import NamedTuple

import numpy as np

from comparators.prediction import SMALL, Prediction, Unreadable
from comparators.wording import clipped, counted, number, plainly
from domain.errors import ComparatorFault
from domain.observation import Divergence
from domain.routing import Arm
from settings.schema import CompareSettings

SUM_SLACK = 1e-3
"""How far from 1 a row of probabilities may sum: half-precision floats over many classes get this far."""

RANGE_SLACK = 1e-6
"""How far below 0 or above 1 rounding may push one probability."""

_ROWS_SHOWN = 20
_CLASSES_SHOWN = 50


class _Classes(NamedTuple):
    """What rows of probabilities decide: each row's class, by index, and the probability it has."""

    indexes: list[int]
    confidences: list[float]

    @property
    def confidence(self) -> float:
        confidences = self.confidences
        mean = confidences[0] if len(confidences) == 1 else sum(confidences) / len(confidences)
        return mean if mean <= 1.0 else 1.0


class Classification:
    """Compares predictions as classes."""

    def __init__(self, settings: CompareSettings) -> None:
        self._names = settings.labels
        self._told_names = tuple(map(plainly, settings.labels))
        self._threshold = settings.threshold

    def alone(self, incumbent: Prediction) -> Divergence:
        """The finding when the candidate's answer is the same, byte for byte."""
        if incumbent.labels is not None:
            label = self._one_label(incumbent)
            return Divergence(0.0, False, "equal bytes", None, None, label, label)
        classes = self._trusted(self._arranged(incumbent))
        label, confidence = self._one_class(classes), classes.confidence
        return Divergence(0.0, False, "equal bytes", confidence, confidence, label, label)

    def compare(self, incumbent: Prediction, candidate: Prediction) -> Divergence:
        """Raises ComparatorFault(INCUMBENT) when the incumbent's probabilities are none."""
        if incumbent.labels is not None and candidate.labels is not None:
            return self._compare_labels(incumbent, candidate)
        if incumbent.labels is not None:
            incumbent = _certain(incumbent)
        elif candidate.labels is not None:
            candidate = _certain(candidate)
        if incumbent.labels is not None:
            reason = "the incumbent answers with labels, the candidate with probabilities"
            return Divergence(1.0, True, reason, incumbent_label=self._one_label(incumbent))
        if len(self._names) > 2:
            incumbent, candidate = self._arranged(incumbent), self._arranged(candidate)
        return self._compare_probabilities(incumbent, self._trusted(incumbent), candidate)

    def describe(self, prediction: Prediction) -> object:
        """A label or `{label, confidence, probabilities}`, or a list of them. Raises Unreadable."""
        described: list[object]
        if prediction.labels is not None:
            rows = len(prediction.labels)
            described = [self._label(prediction, at) for at in range(min(rows, _ROWS_SHOWN))]
        else:
            prediction = self._arranged(prediction)
            classes, rows = self._classes(prediction), prediction.rows
            shown = range(min(rows, _ROWS_SHOWN))
            described = [self._describe_row(prediction, classes, row) for row in shown]
        if rows > _ROWS_SHOWN:
            described.append(f"… {rows - _ROWS_SHOWN} more")
        return described[0] if rows == 1 else described

    def _describe_row(self, prediction: Prediction, classes: _Classes, row: int) -> dict[str, object]:
        width = prediction.width
        values = prediction.real()[row * width : (row + 1) * width]
        if width == 1:
            values = (1.0 - values[0], values[0])
        likeliest = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:_CLASSES_SHOWN]
        described: dict[str, object] = {
            "label": self._name(classes.indexes[row]),
            "confidence": classes.confidences[row],
            "probabilities": {self._name(index): values[index] for index in sorted(likeliest)},
        }
        if len(values) > _CLASSES_SHOWN:
            described["omitted"] = f"{len(values) - _CLASSES_SHOWN} less likely classes"
        return described

    def _compare_labels(self, incumbent: Prediction, candidate: Prediction) -> Divergence:
        trusted, tried = incumbent.labels or (), candidate.labels or ()
        labels = (self._one_label(incumbent), self._one_label(candidate))
        if len(trusted) != len(tried):
            reason = f"{counted(len(trusted), 'label')} → {counted(len(tried), 'label')}"
            return Divergence(1.0, True, reason, None, None, *labels)
        changed = [at for at, (a, b) in enumerate(zip(trusted, tried, strict=True)) if a != b]
        if not changed:
            reason = "same label" if len(trusted) == 1 else f"same labels in {len(trusted)} rows"
            return Divergence(0.0, False, reason, None, None, *labels)
        first = changed[0]
        change = f"{plainly(self._label(incumbent, first))} → {plainly(self._label(candidate, first))}"
        if len(trusted) == 1:
            reason = f"label {change}"
        else:
            reason = f"{len(changed)} of {len(trusted)} labels differ, first {change}"
        return Divergence(len(changed) / len(trusted), True, reason, None, None, *labels)

    def _compare_probabilities(
        self, incumbent: Prediction, trusted: _Classes, candidate: Prediction
    ) -> Divergence:
        confidence, label = trusted.confidence, self._one_class(trusted)
        if candidate.labels is not None:
            reason = "the incumbent answers with probabilities, the candidate with labels"
            return Divergence(1.0, True, reason, confidence, None, label, self._one_label(candidate))
        try:
            tried = _classes(candidate, self._threshold)
        except Unreadable as error:
            return Divergence(1.0, True, f"the candidate's {error.reason}", confidence, None, label)
        if (incumbent.rows, incumbent.width) != (candidate.rows, candidate.width):
            reason = f"{_shape(incumbent)} → {_shape(candidate)}"
            return Divergence(1.0, True, reason, confidence, tried.confidence, label, None)
        variation = _mean_variation(incumbent, candidate)
        flip, reason = trusted.indexes != tried.indexes, self._reason(trusted, tried, variation)
        other = self._one_class(tried)
        return Divergence(variation, flip, reason, confidence, tried.confidence, label, other)

    def _reason(self, trusted: _Classes, tried: _Classes, variation: float) -> str:
        rows = len(trusted.indexes)
        if rows == 1:
            distance = f"total variation {variation:.2g}"
            if trusted.indexes == tried.indexes:
                return f"same class, {distance}"
            return f"class {self._told(trusted, 0)} → {self._told(tried, 0)}, {distance}"
        distance = f"mean total variation {variation:.2g}"
        changed = [at for at in range(rows) if trusted.indexes[at] != tried.indexes[at]]
        if not changed:
            return f"same classes in {rows} rows, {distance}"
        change = f"{self._told(trusted, changed[0])} → {self._told(tried, changed[0])}"
        return f"{len(changed)} of {rows} rows change class, first {change}, {distance}"

    def _told(self, classes: _Classes, row: int) -> str:
        index = classes.indexes[row]
        name = self._told_names[index] if self._told_names else str(index)
        return f"{name} {classes.confidences[row]:.2f}"

    def _trusted(self, incumbent: Prediction) -> _Classes:
        try:
            return self._classes(incumbent)
        except Unreadable as error:
            raise ComparatorFault(error.reason, Arm.INCUMBENT) from None

    def _classes(self, prediction: Prediction) -> _Classes:
        """The classes of `prediction`. Raises Unreadable also when the configuration names others."""
        classes = prediction.width if prediction.width > 1 else 2
        if self._names and classes != len(self._names):
            names = counted(len(self._names), "label")
            raise Unreadable(f"{prediction.name} has {classes} classes; {names} are configured")
        return _classes(prediction, self._threshold)

    def _arranged(self, prediction: Prediction) -> Prediction:
        """One column of n numbers is one row of n classes, if n > 2 labels are configured."""
        names = len(self._names)
        if names > 2 and prediction.width == 1 and prediction.rows == names:
            return prediction._replace(rows=1, width=prediction.rows)
        return prediction

    def _name(self, index: int) -> str:
        return self._names[index] if self._names else str(index)

    def _label(self, prediction: Prediction, at: int) -> str:
        """The label at `at`: a configured name where it is the number of one."""
        numbers, labels = prediction.numbers, prediction.labels or ()
        if numbers is not None and 0 <= numbers[at] < len(self._names):
            return self._names[int(numbers[at])]
        return clipped(labels[at])

    def _one_label(self, prediction: Prediction) -> str | None:
        """The label of all rows; None when they have several."""
        return self._label(prediction, 0) if len(set(prediction.labels or ())) == 1 else None

    def _one_class(self, classes: _Classes) -> str | None:
        """The class of all rows; None when they have several."""
        indexes = classes.indexes
        if len(indexes) > 1 and len(set(indexes)) > 1:
            return None
        return self._name(indexes[0])


def _shape(prediction: Prediction) -> str:
    return f"{counted(prediction.rows, 'row')} of {max(2, prediction.width)} classes"


def _certain(prediction: Prediction) -> Prediction:
    """Untyped whole numbers as the probabilities that they must be, beside an arm that has probabilities."""
    numbers, width = prediction.numbers, prediction.width
    if not prediction.untyped or numbers is None or not set(numbers) <= {0.0, 1.0}:
        return prediction
    if width > 1 and any(sum(numbers[at : at + width]) != 1.0 for at in range(0, len(numbers), width)):
        return prediction
    return prediction._replace(labels=None)


def _classes(prediction: Prediction, threshold: float) -> _Classes:
    """Each row's class and confidence. Raises Unreadable for rows that are no probabilities."""
    numbers, width = prediction.real(), prediction.width
    if len(numbers) > SMALL:
        return _classes_large(prediction, threshold)
    if prediction.rows == 1:
        index, confidence = _class_of(numbers, threshold, prediction, 0)
        return _Classes([index], [confidence])
    starts = range(0, len(numbers), width)
    found = [_class_of(numbers[at : at + width], threshold, prediction, at // width) for at in starts]
    return _Classes([index for index, _ in found], [confidence for _, confidence in found])


def _class_of(
    values: tuple[float, ...], threshold: float, prediction: Prediction, row: int
) -> tuple[int, float]:
    """The class of one row, and its probability. NaN is refused, because no comparison with it holds."""
    if len(values) == 1:
        (value,) = values
        if -RANGE_SLACK <= value <= 1.0 + RANGE_SLACK:
            return (1, value) if value >= threshold else (0, 1.0 - value)
    elif abs(sum(values) - 1.0) <= SUM_SLACK and min(values) >= -RANGE_SLACK:
        largest = max(values)
        return values.index(largest), largest
    raise _no_distribution(prediction, row, values)


def _classes_large(prediction: Prediction, threshold: float) -> _Classes:
    """The same as `_classes`, for many numbers."""
    values = prediction.values
    with np.errstate(all="ignore"):
        if prediction.width == 1:
            fine = (values[:, 0] >= -RANGE_SLACK) & (values[:, 0] <= 1.0 + RANGE_SLACK)
        else:
            fine = (np.abs(values.sum(axis=1) - 1.0) <= SUM_SLACK) & (values.min(axis=1) >= -RANGE_SLACK)
    if not fine.all():
        row = int(fine.argmin())
        raise _no_distribution(prediction, row, values[row].tolist())
    if prediction.width == 1:
        column = values[:, 0]
        ones = column >= threshold
        return _Classes(ones.astype(int).tolist(), np.where(ones, column, 1.0 - column).tolist())
    return _Classes(values.argmax(axis=1).tolist(), values.max(axis=1).tolist())


def _no_distribution(prediction: Prediction, row: int, values: Sequence[float]) -> Unreadable:
    place = "" if prediction.rows == 1 else f"row {row} of "
    what = f"{place}{prediction.name} is no distribution"
    if len(values) == 1:
        return Unreadable(f"{what}: {number(values[0])} is not a probability")
    negative = next((value for value in values if value < -RANGE_SLACK), None)
    if negative is not None:
        return Unreadable(f"{what}: it has a probability of {number(negative)}")
    return Unreadable(f"{what}: it sums to {number(sum(values))}, not 1")


def _mean_variation(trusted: Prediction, tried: Prediction) -> float:
    """Mean total variation of the rows; a row (p) stands for (1 − p, p)."""
    a, b = trusted.real(), tried.real()
    if len(a) > SMALL:
        total = float(np.abs(trusted.values - tried.values).sum())
    else:
        total = sum(map(abs, map(sub, a, b)))
    half = 1.0 if trusted.width == 1 else 0.5
    return min(1.0, half * total / trusted.rows)
