"""A label held against a prediction: what it means there, and why it may mean nothing. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from monitoring.log.record import Value

CLASSES, NUMBERS, TEXTS = "classification", "regression", "text"
MOST_ROWS = 1024
"""Predictions of one record: of a longer batch the labels of the first so many rows count."""
MOST_NAMED = 8

Truth = str | float
"""A class, or a number."""


class Unfit(Exception):  # noqa: N818 - a finding about a label, not a mistake of ours
    """A label cannot be held against the prediction it names."""


class Kind(NamedTuple):
    """What an endpoint predicts: CLASSES, NUMBERS or TEXTS; `names` of its classes by index, if configured.

    `cohorts` are its sources, such as `header:x-country`, in order; `guarded`: its accuracy is guarded.
    """

    kind: str
    names: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()
    guarded: bool = False


class Rows(NamedTuple):
    """The rows of one prediction that a label speaks of, as columns of one length.

    `confidences` are those of the predicted classes, in [0, 1]; None where it is not known.
    """

    truths: list[Truth]
    predictions: list[Truth]
    confidences: list[float | None]


def class_of(label: object, names: Sequence[str]) -> str:
    """The class that `label` means: its name, or its index where the classes have names. Raises Unfit."""
    if isinstance(label, str) and (label in names or not names):
        return label
    if isinstance(label, bool):
        label = int(label)
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int) and 0 <= label < len(names):
        return names[label]
    if names and label not in names:
        more = f" or {len(names) - MOST_NAMED} others" if len(names) > MOST_NAMED else ""
        listed = ", ".join(names[:MOST_NAMED])
        raise Unfit(f"the label {_shown(label)} is none of its classes; use {listed}{more}, or an index")
    return str(label)


def number_of(label: object) -> float:
    """The number that `label` is. Raises Unfit."""
    if isinstance(label, bool) or not isinstance(label, int | float) or not math.isfinite(label):
        raise Unfit(f"the label {_shown(label)} is no number, and numbers are predicted; give a number")
    return float(label)


def truth_of(label: object, kind: Kind) -> Truth:
    """What `label` means for a row of an endpoint of that kind. Raises Unfit."""
    if kind.kind == NUMBERS:
        return number_of(label)
    return class_of(label, kind.names if kind.kind == CLASSES else ())


def held(label: object, predictions: Sequence[Value], confidence: float | None, kind: Kind) -> Rows:
    """`label` (of a batch a list) beside the predictions that a record has. Raises Unfit.

    `confidence` is that of the first row. Rows without a prediction are left out; without any it is unfit.
    """
    if not predictions:
        raise Unfit("there is no prediction to hold it against: the answer could not be read, or failed")
    if len(predictions) == 1 and not isinstance(label, list) and kind.kind == CLASSES:
        (only,) = predictions
        if isinstance(only, str):  # nearly every record of classes is this
            return Rows([class_of(label, kind.names)], [only], [confidence])
    labels = list(label) if isinstance(label, list) else [label]
    if len(labels) > MOST_ROWS == len(predictions):
        labels = labels[:MOST_ROWS]
    if len(labels) != len(predictions):
        raise Unfit(f"{_many(len(labels), 'label')} for a prediction of {_many(len(predictions), 'row')}")
    rows = Rows([], [], [])
    for place, (one, predicted) in enumerate(zip(labels, predictions, strict=True)):
        truth = truth_of(one, kind)
        if predicted is None:
            continue
        if kind.kind == NUMBERS and isinstance(predicted, str):
            raise Unfit("its prediction is a class, and numbers are configured; the label says nothing of it")
        rows.truths.append(truth)
        rows.predictions.append(predicted if kind.kind == NUMBERS else _class(predicted))
        rows.confidences.append(confidence if place == 0 and kind.kind == CLASSES else None)
    if not rows.truths:
        raise Unfit("its prediction is no number in any row, so that no label can be held against it")
    return rows


def right(rows: Rows) -> list[bool]:
    """Of each row whether the prediction is the truth."""
    return [truth == predicted for truth, predicted in zip(rows.truths, rows.predictions, strict=True)]


def _class(predicted: Value) -> str:
    if isinstance(predicted, float) and predicted.is_integer():
        return str(int(predicted))
    return str(predicted)


def _shown(label: object) -> str:
    return repr(label)[:60]


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
